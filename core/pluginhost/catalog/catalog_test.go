package catalog_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a plugins folder with its catalog.
type house struct {
	*catalog.Catalog
	t     *testing.T
	dir   string
	store string
	log   *bytes.Buffer
}

// open opens a catalog over an empty folder.
func open(t *testing.T, change func(*catalog.Options)) *house {
	t.Helper()
	return reopen(t, t.TempDir(), filepath.Join(t.TempDir(), "store"), change)
}

// reopen opens a catalog as a gateway that starts again does.
func reopen(t *testing.T, dir, store string, change func(*catalog.Options)) *house {
	t.Helper()
	h := &house{t: t, dir: dir, store: store, log: &bytes.Buffer{}}
	o := catalog.Options{Dir: h.dir, Store: h.store, Logger: slog.New(slog.NewTextHandler(h.log, nil))}
	if change != nil {
		change(&o)
	}
	c, err := catalog.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	h.Catalog = c
	return h
}

// script is an executable that says what it is.
func script(says string) string { return "#!/bin/sh\necho " + says + "\n" }

func sum(content string) string {
	s := sha256.Sum256([]byte(content))
	return hex.EncodeToString(s[:])
}

// write writes a file and the folders above it.
func write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // whatever the umask
		t.Fatal(err)
	}
}

// path is a place in the folder of a version of the plugin sms.
func (h *house) path(version string, rest ...string) string {
	return filepath.Join(append([]string{h.dir, "sms", version}, rest...)...)
}

// put installs a version of the plugin sms by hand, with a manifest unless that is nil.
func (h *house) put(version, content string, manifest func(*catalog.Manifest)) {
	h.t.Helper()
	write(h.t, h.path(version, "sms"), content, 0o755)
	if manifest == nil {
		return
	}
	m := catalog.Manifest{Name: "sms", Version: version, SHA256: sum(content)}
	manifest(&m)
	write(h.t, h.path(version, catalog.ManifestFile), string(m.Encode()), 0o644)
}

func plain(*catalog.Manifest) {}

// scan lists what is installed.
func (h *house) scan() []catalog.Version {
	h.t.Helper()
	versions, err := h.Scan()
	if err != nil {
		h.t.Fatal(err)
	}
	return versions
}

// only is the one version that is installed.
func (h *house) only() catalog.Version {
	h.t.Helper()
	versions := h.scan()
	if len(versions) != 1 {
		h.t.Fatalf("want one version, have %+v", versions)
	}
	versions[0].InstalledAt = time.Time{} // what installs it does not know
	return versions[0]
}

// A version is installed when its folder gets its place, however old what is in it is.
func TestInstalledAt(t *testing.T) {
	h := open(t, nil)
	began := time.Now().Add(-time.Second) // clocks of file systems are coarse
	old := began.Add(-24 * time.Hour)
	work, place := filepath.Join(h.dir, "sms", "1.0.0.tmp"), filepath.Join(h.dir, "sms", "1.0.0")
	write(t, filepath.Join(work, "sms"), script("x"), 0o755)
	h.must(os.Chtimes(filepath.Join(work, "sms"), old, old))
	h.must(os.Chtimes(work, old, old))
	h.must(os.Rename(work, place))
	if found := h.scan(); len(found) != 1 || found[0].InstalledAt.Before(began) {
		t.Errorf("found %+v, want it installed since %s", found, began)
	}
}

// run stages a version and returns what it says when it is executed.
func (h *house) run(v catalog.Version) string {
	h.t.Helper()
	path, err := h.Stage(v)
	if err != nil {
		h.t.Fatalf("stage %s %s: %v", v.Name, v.Version, err)
	}
	if want := filepath.Join(h.store, v.SHA256, v.Name); path != want {
		h.t.Errorf("staged at %s, want %s", path, want)
	}
	says, err := exec.Command(path).Output()
	if err != nil {
		h.t.Fatal(err)
	}
	return strings.TrimSpace(string(says))
}

// fault is the fault in an error, or the end of the test.
func fault(t *testing.T, err error) *catalog.Fault {
	t.Helper()
	f, ok := errors.AsType[*catalog.Fault](err)
	if !ok {
		t.Fatalf("want a fault, have %v", err)
	}
	return f
}

func TestScanOrdersVersions(t *testing.T) {
	h := open(t, nil)
	for _, v := range []string{"1.10.0", "1.9.0", "1.10.0-rc.1", "1.9.0+b2", "0.1.0"} {
		h.put(v, script(v), plain)
	}
	write(t, filepath.Join(h.dir, "email", "2.0.0", "email"), script("mail"), 0o755)
	for _, unfinished := range []string{"1.0.0.tmp", ".tmp-1.0.0", ".hidden"} {
		write(t, h.path(unfinished, "sms"), "half", 0o755)
	}
	write(t, filepath.Join(h.dir, ".tmp-push", "1.0.0", "push"), "half", 0o755)
	write(t, filepath.Join(h.dir, "README.md"), "a file is no plugin", 0o644)
	var found []string
	for _, v := range h.scan() {
		if v.Problem != nil {
			t.Errorf("%s %s: %v", v.Name, v.Version, v.Problem)
		}
		found = append(found, v.Name+" "+v.Version)
	}
	want := []string{"email 2.0.0", "sms 0.1.0", "sms 1.9.0", "sms 1.9.0+b2", "sms 1.10.0-rc.1", "sms 1.10.0"}
	if !slices.Equal(found, want) {
		t.Errorf("found %q, want %q", found, want)
	}
}

func TestScanTellsWhatTheManifestSays(t *testing.T) {
	h := open(t, nil)
	h.put("1.0.0", script("hello"), func(m *catalog.Manifest) {
		m.Channels, m.Plaintext, m.Executable = []string{"sms", "mms"}, true, "run.sh"
	})
	if err := os.Rename(h.path("1.0.0", "sms"), h.path("1.0.0", "run.sh")); err != nil {
		t.Fatal(err)
	}
	v := h.only()
	if v.Problem != nil || !slices.Equal(v.Channels, []string{"sms", "mms"}) || !v.Plaintext || v.Signed ||
		v.SHA256 != sum(script("hello")) || v.Path != h.path("1.0.0", "run.sh") {
		t.Errorf("have %+v", v)
	}
	if says := h.run(v); says != "hello" {
		t.Errorf("it says %q", says)
	}
}

func TestWithoutManifest(t *testing.T) {
	h := open(t, nil)
	h.put("1.0.0", script("bare"), nil)
	v := h.only()
	if v.Problem != nil || v.Channels != nil || v.SHA256 != sum(script("bare")) {
		t.Errorf("have %+v", v)
	}
	if says := h.run(v); says != "bare" {
		t.Errorf("it says %q", says)
	}
}

func TestWayOfAPlugin(t *testing.T) {
	h := open(t, nil)
	work := t.TempDir()
	write(t, filepath.Join(work, "sms"), script("packed"), 0o755)
	archive := filepath.Join(t.TempDir(), "sms-1.0.0.tar.gz")
	m, err := catalog.Pack(work, catalog.PackOptions{Manifest: catalog.Manifest{Name: "sms", Version: "1.0.0", Channels: []string{"sms"}}, Archive: archive})
	if err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{archive, work} { // the second finds it installed
		v, err := catalog.Install(h.dir, source, catalog.InstallOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if found := h.only(); fmt.Sprintf("%+v", found) != fmt.Sprintf("%+v", v) || v.SHA256 != m.SHA256 {
			t.Errorf("installed %+v, found %+v", v, found)
		}
	}
	v := h.only()
	if says := h.run(v); says != "packed" {
		t.Errorf("it says %q", says)
	}
	if err := h.Remove(v.Name, v.Version, v.SHA256); err != nil {
		t.Fatal(err)
	}
	if left := h.scan(); len(left) != 0 {
		t.Errorf("left are %+v", left)
	}
	if _, err := os.Stat(filepath.Join(h.store, v.SHA256)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the copy is left: %v", err)
	}
}
