package catalog

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// A file that has been touched is known, whatever its times say; so is one that was looked at so soon after a change
// that another might have the same time.
func TestStamp(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	write := func(content string) fs.FileInfo {
		t.Helper()
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return look(t, path)
	}
	first := write("one")
	if stampOf(first).still(first) {
		t.Error("a young stamp is believed")
	}
	if (stamp{}).still(first) {
		t.Error("no stamp is believed")
	}
	old := func(info fs.FileInfo) stamp {
		s := stampOf(info)
		s.at = s.changed.Add(2 * young)
		return s
	}
	s := old(first)
	if !s.still(look(t, path)) {
		t.Error("what is untouched is not known again")
	}
	write("two")
	for changeTime(look(t, path)).Equal(s.changed) { // until the file system's clock has moved
		if err := os.Chtimes(path, first.ModTime(), first.ModTime()); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(path, first.ModTime(), first.ModTime()); err != nil {
		t.Fatal(err)
	}
	second := look(t, path)
	if s.still(second) {
		t.Error("other bytes with the old time pass")
	}
	s = old(second)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if s.still(look(t, path)) {
		t.Error("another mode passes")
	}
	s = old(look(t, path))
	if err := os.Rename(path, path+"-away"); err != nil {
		t.Fatal(err)
	}
	if s.still(write("one")) {
		t.Error("another file passes")
	}
}

func look(t *testing.T, path string) fs.FileInfo {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

// What was copied is known to be right, so that its start need not read it again.
func TestCopyIsNotReadAgain(t *testing.T) {
	c, err := Open(Options{Dir: t.TempDir(), Store: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	source := filepath.Join(t.TempDir(), "sms")
	if err := os.WriteFile(source, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	m, fault := measureFile(source, noLink, measurement{})
	if fault != nil {
		t.Fatal(fault)
	}
	path, err := c.Stage(Version{Name: "sms", Version: "1.0.0", Path: source, SHA256: m.checksum})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || !c.staged[path].same(info) {
		t.Errorf("%s would be read again: %v", path, err)
	}
}
