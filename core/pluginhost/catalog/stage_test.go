package catalog_test

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// A copy is nobody's but the gateway's, cannot be written, and outlives what it was made of.
func TestStage(t *testing.T) {
	h := open(t, nil)
	h.put("1.0.0", script("hello"), plain)
	v := h.only()
	if says := h.run(v); says != "hello" {
		t.Fatalf("it says %q", says)
	}
	h.modes(v, 0o700, 0o500)
	h.put("1.0.0", script("changed"), nil) // in place, as an installation by hand does
	if says := h.run(v); says != "hello" {
		t.Errorf("after the source was changed it says %q", says)
	}
	h.must(os.RemoveAll(h.path("1.0.0")))
	if says := h.run(v); says != "hello" {
		t.Errorf("after the source is gone it says %q", says)
	}
}

// modes checks the modes of the store and of a copy.
func (h *house) modes(v catalog.Version, folder, file fs.FileMode) {
	h.t.Helper()
	for path, want := range map[string]fs.FileMode{
		h.store:                                 fs.ModeDir | folder,
		filepath.Join(h.store, v.SHA256):        fs.ModeDir | folder,
		filepath.Join(h.store, v.SHA256, "sms"): file,
	} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			h.t.Errorf("%s has %v, %v", path, info.Mode(), err)
		}
	}
}

// Other users may execute copies only as long as that is wanted.
func TestShared(t *testing.T) {
	h := open(t, nil)
	h.put("1.0.0", script("hello"), plain)
	v := h.only()
	for _, shared := range []bool{false, true, false} {
		h = reopen(t, h.dir, h.store, func(o *catalog.Options) { o.Shared = shared })
		if says := h.run(v); says != "hello" {
			t.Errorf("it says %q", says)
		}
		if shared {
			h.modes(v, 0o711, 0o555)
		} else {
			h.modes(v, 0o700, 0o500)
		}
	}
}

func TestStageRefuses(t *testing.T) {
	h := open(t, nil)
	h.put("1.0.0", script("hello"), plain)
	v := h.only()
	for name, test := range map[string]struct {
		change func(*catalog.Version)
		want   string
	}{
		"changed since the scan": {func(v *catalog.Version) { v.SHA256 = zeros }, "wrong checksum"},
		"no checksum":            {func(v *catalog.Version) { v.SHA256 = "" }, "unknown checksum"},
		"a path as a checksum":   {func(v *catalog.Version) { v.SHA256 = "../../../etc" }, "unknown checksum"},
		"a path as a name":       {func(v *catalog.Version) { v.Name = "../sms" }, "invalid plugin name"},
		"gone since the scan":    {func(v *catalog.Version) { v.Path += "x" }, "missing file"},
	} {
		changed := v
		test.change(&changed)
		if _, err := h.Stage(changed); fault(t, err).What != test.want {
			t.Errorf("%s: %v", name, err)
		}
		if left, _ := filepath.Glob(filepath.Join(h.store, "*", "*")); len(left) != 0 {
			t.Errorf("%s: the store has %v", name, left)
		}
	}
	write(t, h.path("1.0.0", "sms"), "no program", 0o755)
	v.SHA256 = sum("no program")
	if _, err := h.Stage(v); fault(t, err).What != "wrong architecture or format" {
		t.Errorf("what cannot be executed: %v", err)
	}
}

// A copy that is not what it should be is made anew, whatever happened to it and whenever.
func TestDamagedCopy(t *testing.T) {
	for name, damage := range map[string]func(h *house, path string){
		"other bytes": func(h *house, path string) { write(h.t, path, script("evil!"), 0o500) },
		"half of it":  func(h *house, path string) { write(h.t, path, "#!/bin/sh\n", 0o500) },
		"deleted":     func(h *house, path string) { h.must(os.Remove(path)) },
		"writable":    func(h *house, path string) { h.must(os.Chmod(path, 0o700)) },
		"a link": func(h *house, path string) {
			h.must(os.Remove(path))
			h.must(os.Symlink(h.path("1.0.0", "sms"), path))
		},
		"other bytes with the old times": func(h *house, path string) {
			info, err := os.Stat(path)
			h.must(err)
			write(h.t, path, script("evil!"), 0o500)
			h.must(os.Chtimes(path, info.ModTime(), info.ModTime()))
		},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restarted %v", name, restarted), func(t *testing.T) {
				h := open(t, nil)
				h.put("1.0.0", script("hello"), plain)
				v := h.only()
				h.run(v)
				path := filepath.Join(h.store, v.SHA256, "sms")
				h.outlive(path)
				h.must(os.Chmod(path, 0o700)) // only root may write it otherwise
				damage(h, path)
				if restarted {
					h = reopen(t, h.dir, h.store, nil)
				}
				if says := h.run(v); says != "hello" {
					t.Errorf("it says %q", says)
				}
				info, err := os.Lstat(path)
				if err != nil || info.Mode() != 0o500 {
					t.Errorf("the copy has %v, %v", info.Mode(), err)
				}
			})
		}
	}
}

// outlive returns when what changes from now on has another time than the file: clocks of file systems are coarse.
func (h *house) outlive(path string) {
	h.t.Helper()
	info, err := os.Lstat(path)
	h.must(err)
	for probe := filepath.Join(h.t.TempDir(), "probe"); ; {
		h.must(os.WriteFile(probe, nil, 0o600))
		now, err := os.Lstat(probe)
		h.must(err)
		if now.ModTime().After(info.ModTime()) && time.Since(info.ModTime()) > 20*time.Millisecond {
			return
		}
	}
}

// Versions with the same bytes share a copy, which stays until the last of them is removed; so does one that
// another plugin has.
func TestRemove(t *testing.T) {
	h := open(t, nil)
	content := script("same")
	h.put("1.0.0", content, plain)
	h.put("1.1.0", content, plain)
	write(t, filepath.Join(h.dir, "email", "1.0.0", "email"), content, 0o755)
	for _, v := range h.scan() {
		h.run(v)
	}
	copies := func() string {
		names, _ := filepath.Glob(filepath.Join(h.store, sum(content), "*"))
		for i := range names {
			names[i] = filepath.Base(names[i])
		}
		return strings.Join(names, " ")
	}
	for _, step := range []struct{ name, version, left string }{
		{"sms", "1.0.0", "email sms"},
		{"sms", "1.1.0", "email"},
		{"sms", "1.1.0", "email"}, // again
		{"email", "1.0.0", ""},
	} {
		h.must(h.Remove(step.name, step.version, sum(content)))
		if have := copies(); have != step.left {
			t.Errorf("after %s %s there are %q, want %q", step.name, step.version, have, step.left)
		}
		if _, err := os.Stat(filepath.Join(h.dir, step.name, step.version)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s %s is still there: %v", step.name, step.version, err)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(h.dir, "*", ".*")); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
	for _, bad := range [][3]string{{"..", "1.0.0", ""}, {"sms", "..", ""}, {"sms", "1.0.0", "../.."}, {"absent", "1.0.0", zeros}} {
		err := h.Remove(bad[0], bad[1], bad[2])
		if (err == nil) != (bad[0] == "absent") {
			t.Errorf("remove %q: %v", bad, err)
		}
	}
}

// What is removed through a link is the link.
func TestRemoveLink(t *testing.T) {
	h := open(t, nil)
	elsewhere := t.TempDir()
	write(t, filepath.Join(elsewhere, "sms"), script("x"), 0o755)
	h.must(os.MkdirAll(filepath.Join(h.dir, "sms"), 0o755))
	h.link(elsewhere, "1.0.0", "")
	v := h.only()
	h.must(h.Remove("sms", "1.0.0", v.SHA256))
	if _, err := os.Stat(filepath.Join(elsewhere, "sms")); err != nil || len(h.scan()) != 0 {
		t.Errorf("what the link led to: %v; installed: %v", err, h.scan())
	}
}

// A fresh copy can be executed at once, however many processes are being started meanwhile: none of them holds it
// open for writing.
func TestStagedIsNeverBusy(t *testing.T) {
	h := open(t, nil)
	const plugins, versions = 16, 12
	for v := range versions {
		for p := range plugins {
			name, version := fmt.Sprintf("p%d", p), fmt.Sprintf("1.%d.0", v)
			write(t, filepath.Join(h.dir, name, version, name), script(name+" "+version), 0o755)
		}
	}
	byPlugin := map[string][]catalog.Version{}
	for _, v := range h.scan() {
		byPlugin[v.Name] = append(byPlugin[v.Name], v)
	}
	var work sync.WaitGroup
	for _, list := range byPlugin {
		work.Go(func() {
			for _, v := range list {
				path, err := h.Stage(v)
				if err != nil {
					t.Error(err)
					return
				}
				if out, err := exec.Command(path).CombinedOutput(); err != nil {
					t.Errorf("%s %s: %v: %s", v.Name, v.Version, err, out)
				}
			}
		})
	}
	work.Wait()
}

func TestOpenRefuses(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "", 0o600)
	for name, o := range map[string]catalog.Options{
		"nothing":                         {},
		"no store":                        {Dir: t.TempDir()},
		"signatures that nobody can make": {Dir: t.TempDir(), Store: t.TempDir(), RequireSignature: true},
		"a file as store":                 {Dir: t.TempDir(), Store: file},
	} {
		if _, err := catalog.Open(o); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}

// What a crash has left in the store is swept, but not what another gateway may just be writing.
func TestSweep(t *testing.T) {
	h := open(t, nil)
	old, fresh := filepath.Join(h.store, zeros, ".tmp-1"), filepath.Join(h.store, zeros, ".tmp-2")
	write(t, old, "x", 0o600)
	write(t, fresh, "x", 0o600)
	past := time.Now().Add(-2 * time.Hour)
	h.must(os.Chtimes(old, past, past))
	reopen(t, h.dir, h.store, nil)
	if _, err := os.Stat(old); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old one: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("the fresh one: %v", err)
	}
}
