package catalog_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// packed makes a folder with a packed version of the plugin sms, signed if somebody signs it.
func packed(t *testing.T, version, content string, by ...signer) string {
	t.Helper()
	folder := t.TempDir()
	write(t, filepath.Join(folder, "sms"), content, 0o755)
	if _, err := catalog.Pack(folder, catalog.PackOptions{Manifest: catalog.Manifest{Name: "sms", Version: version}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range by {
		if _, err := catalog.Sign(filepath.Join(folder, catalog.ManifestFile), s.path, ""); err != nil {
			t.Fatal(err)
		}
	}
	return folder
}

// archived packs a folder once more, into an archive.
func archived(t *testing.T, folder string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sms.tar.gz")
	if _, err := catalog.Pack(folder, catalog.PackOptions{Archive: path}); err != nil {
		t.Fatal(err)
	}
	return path
}

// leftovers are the temporary files in a plugins folder.
func leftovers(t *testing.T, dir string) []string {
	t.Helper()
	var left []string
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if strings.HasPrefix(filepath.Base(path), ".") {
			left = append(left, path)
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return left
}

func TestInstallSources(t *testing.T) {
	by := newSigner(t)
	folder := packed(t, "1.0.0", script("hello"), by)
	executable := filepath.Join(t.TempDir(), "sms-linux-amd64")
	write(t, executable, script("hello"), 0o755)
	link := filepath.Join(t.TempDir(), "latest")
	if err := os.Symlink(executable, link); err != nil {
		t.Fatal(err)
	}
	manifest := catalog.Manifest{Name: "sms", Version: "1.0.0", Channels: []string{"sms"}, Plaintext: true}
	for name, test := range map[string]struct {
		source string
		o      catalog.InstallOptions
	}{
		"folder":                {folder, catalog.InstallOptions{}},
		"archive":               {archived(t, folder), catalog.InstallOptions{}},
		"signed archive":        {archived(t, folder), catalog.InstallOptions{RequireSignature: true, TrustedKeys: []catalog.Key{by.Key}}},
		"the version asked for": {folder, catalog.InstallOptions{Manifest: catalog.Manifest{Name: "sms", Version: "1.0.0"}}},
		"executable":            {executable, catalog.InstallOptions{Manifest: manifest}},
		"link to it":            {link, catalog.InstallOptions{Manifest: manifest}},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, func(o *catalog.Options) { o.TrustedKeys = test.o.TrustedKeys })
			for range 2 { // the second time nothing is left to do
				v, err := catalog.Install(h.dir, test.source, test.o)
				if err != nil {
					t.Fatal(err)
				}
				if found := h.only(); fmt.Sprintf("%+v", found) != fmt.Sprintf("%+v", v) {
					t.Errorf("installed %+v, found %+v", v, found)
				}
			}
			v := h.only()
			if says := h.run(v); says != "hello" {
				t.Errorf("it says %q", says)
			}
			if v.Signed != test.o.RequireSignature || v.Plaintext != (test.source != folder && test.o.Manifest.Plaintext) {
				t.Errorf("have %+v", v)
			}
			if left := leftovers(t, h.dir); len(left) != 0 {
				t.Errorf("left are %v", left)
			}
			if info, err := os.Stat(h.path("1.0.0")); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("the folder has %v, %v", info.Mode(), err)
			}
		})
	}
}

// A name and a version never mean other bytes, and an installed version is not half replaced.
func TestInstallTaken(t *testing.T) {
	by := newSigner(t)
	h := open(t, nil)
	install := func(source string) error {
		_, err := catalog.Install(h.dir, source, catalog.InstallOptions{})
		return err
	}
	h.must(install(packed(t, "1.0.0", script("first"))))
	if err := install(packed(t, "1.0.0", script("second"))); fault(t, err).What != "version is taken" {
		t.Errorf("other bytes: %v", err)
	}
	if err := install(packed(t, "1.0.0", script("first"), by)); fault(t, err).What != "version is installed otherwise" {
		t.Errorf("with a signature: %v", err)
	}
	h.delete("1.0.0", "sms")
	if err := install(packed(t, "1.0.0", script("first"))); fault(t, err).What != "version is taken" {
		t.Errorf("in the place of a broken one: %v", err)
	}
	h.must(h.Remove("sms", "1.0.0", ""))
	h.must(install(packed(t, "1.0.0", script("first"), by)))
	if says := h.run(h.only()); says != "first" {
		t.Errorf("it says %q", says)
	}
	if left := leftovers(t, h.dir); len(left) != 0 {
		t.Errorf("left are %v", left)
	}
}

// Every row is a source that is not installed, with what is said about it.
func TestInstallRefuses(t *testing.T) {
	by := newSigner(t)
	good := packed(t, "1.0.0", script("x"))
	executable := filepath.Join(good, "sms")
	broken := func(change func(folder string) error) string {
		folder := packed(t, "1.0.0", script("x"))
		if err := change(folder); err != nil {
			t.Fatal(err)
		}
		return folder
	}
	for name, test := range map[string]struct {
		source, want string
		o            catalog.InstallOptions
	}{
		"nothing":                            {filepath.Join(good, "absent"), "no such file", catalog.InstallOptions{}},
		"a folder that is no plugin":         {t.TempDir(), "no such file", catalog.InstallOptions{}},
		"a nameless executable":              {executable, "give its name and version", catalog.InstallOptions{}},
		"an executable with a bad name":      {executable, `"S M S" is not possible here`, catalog.InstallOptions{Manifest: catalog.Manifest{Name: "S M S", Version: "1.0.0"}}},
		"an executable as large as no other": {executable, "oversize executable: expected at most 5 bytes", catalog.InstallOptions{Manifest: catalog.Manifest{Name: "sms", Version: "1.0.0"}, MaxBytes: 5}},
		"another plugin":                     {good, "expected email 1.0.0, as it was asked for, found sms 1.0.0; ask for", catalog.InstallOptions{Manifest: catalog.Manifest{Name: "email"}}},
		"another version":                    {good, "expected sms 2.0.0, as it was asked for, found sms 1.0.0; ask for", catalog.InstallOptions{Manifest: catalog.Manifest{Version: "2.0.0"}}},
		"an unsigned one":                    {good, "unsigned plugin", catalog.InstallOptions{RequireSignature: true, TrustedKeys: []catalog.Key{by.Key}}},
		"too large":                          {good, "oversize sms: expected at most 5 bytes", catalog.InstallOptions{MaxBytes: 5}},
		"changed executable": {broken(func(folder string) error {
			return os.WriteFile(filepath.Join(folder, "sms"), []byte(script("y")), 0o755)
		}), "wrong checksum", catalog.InstallOptions{}},
		"missing executable": {broken(func(folder string) error { return os.Remove(filepath.Join(folder, "sms")) }), "missing file", catalog.InstallOptions{}},
		"executable elsewhere": {broken(func(folder string) error {
			return errors.Join(os.Remove(filepath.Join(folder, "sms")), os.Symlink("/bin/sh", filepath.Join(folder, "sms")))
		}), "not a file", catalog.InstallOptions{}},
		"signature elsewhere": {broken(func(folder string) error {
			return os.Symlink("/etc/passwd", filepath.Join(folder, "plugin.hcl.sig"))
		}), "not a file", catalog.InstallOptions{}},
		"for another machine": {packed(t, "1.0.0", machoFile), "wrong architecture or format", catalog.InstallOptions{}},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, nil)
			if _, err := catalog.Install(h.dir, test.source, test.o); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q, have %v", test.want, err)
			}
			if found := h.scan(); len(found) != 0 {
				t.Errorf("installed is %+v", found)
			}
			if left := leftovers(t, h.dir); len(left) != 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// entry is one in an archive that Pack did not make.
type entry struct {
	tar.Header
	content string
}

func regular(name, content string) entry {
	return entry{tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: 0o755}, content}
}

// tarball makes an archive.
func tarball(t *testing.T, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		e.Size = int64(len(e.content))
		if err := w.WriteHeader(&e.Header); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipped(t *testing.T, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Nothing in an archive is believed.
func TestBadArchives(t *testing.T) {
	content := script("x")
	manifest := regular("plugin.hcl", string(catalog.Manifest{Name: "sms", Version: "1.0.0", SHA256: sum(content)}.Encode()))
	executable := regular("sms", content)
	linked := func(kind byte, name string) entry {
		return entry{tar.Header{Name: name, Typeflag: kind, Linkname: "/etc/passwd"}, ""}
	}
	good := tarball(t, manifest, executable)
	for name, test := range map[string]struct {
		archive []byte
		want    string
	}{
		"empty":                   {zipped(t, nil), "bad archive: expected a .tar.gz with plugin.hcl as its first file, and the files that it names, found an empty one; make it with `pigeonry plugin pack`"},
		"no tar":                  {zipped(t, bytes.Repeat([]byte("x"), 1024)), "found a damaged one: "},
		"no gzip":                 {append([]byte{0x1f, 0x8b}, good...), "found a file that gzip does not know"},
		"half of it":              {zipped(t, good)[:150], "found a damaged one: "},
		"half a tar":              {zipped(t, good[:1540]), "found a damaged one: "},
		"manifest last":           {zipped(t, tarball(t, executable, manifest)), `found "sms" as its first file`},
		"no executable":           {zipped(t, tarball(t, manifest)), "missing file: "},
		"traversal":               {zipped(t, tarball(t, manifest, executable, regular("../evil", "x"))), `found a file called "../evil", which is not a plain name`},
		"absolute path":           {zipped(t, tarball(t, manifest, executable, regular("/tmp/evil", "x"))), `found a file called "/tmp/evil"`},
		"folder inside":           {zipped(t, tarball(t, manifest, executable, regular("lib/x", "x"))), `found a file called "lib/x"`},
		"traversal in a manifest": {zipped(t, tarball(t, regular("plugin.hcl", strings.Replace(manifest.content, `"sms"`, `"../sms"`, 1)), executable)), `"../sms" is not possible here`},
		"symbolic link":           {zipped(t, tarball(t, manifest, linked(tar.TypeSymlink, "sms"))), `found "sms", which is a symbolic link`},
		"hard link":               {zipped(t, tarball(t, manifest, linked(tar.TypeLink, "sms"))), `found "sms", which is a hard link`},
		"device":                  {zipped(t, tarball(t, manifest, linked(tar.TypeChar, "sms"))), `found "sms", which is a device`},
		"pipe":                    {zipped(t, tarball(t, manifest, linked(tar.TypeFifo, "sms"))), `found "sms", which is a named pipe`},
		"folder":                  {zipped(t, tarball(t, manifest, linked(tar.TypeDir, "sms/"))), `found "sms/", which is a folder`},
		"twice":                   {zipped(t, tarball(t, manifest, executable, executable)), `found "sms" twice`},
		"twice in other words":    {zipped(t, tarball(t, manifest, executable, regular("./sms", content))), `found "./sms" twice`},
		"hidden file":             {zipped(t, tarball(t, manifest, executable, regular(".profile", "x"))), `found a file called ".profile"`},
		"too many":                {zipped(t, tarball(t, append([]entry{manifest}, many(100)...)...)), "found more than 64 files"},
		"oversize executable":     {zipped(t, tarball(t, manifest, regular("sms", strings.Repeat("x", limit+1)))), "oversize archive: expected at most 1048576 bytes"},
		"oversize manifest":       {zipped(t, tarball(t, regular("plugin.hcl", strings.Repeat("\n", 100_000)))), "oversize plugin.hcl: expected at most 65536 bytes"},
		"oversize signature":      {zipped(t, tarball(t, manifest, regular("plugin.hcl.sig", strings.Repeat("x", 100_000)), executable)), "oversize plugin.hcl.sig: expected at most 65536 bytes"},
		"bomb in what is skipped": {zipped(t, tarball(t, append([]entry{manifest, executable}, large(8)...)...)), "oversize archive: expected at most 1048576 bytes"},
		"sparse bomb":             {zipped(t, sparse(tarball(t, manifest), 1<<40)), "oversize archive: expected at most 1048576 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			h := open(t, nil)
			source := h.file("sms.tar.gz", string(test.archive))
			_, err := catalog.Install(h.dir, source, catalog.InstallOptions{MaxBytes: limit})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("want %q\nhave %v", test.want, err)
			}
			if found := h.scan(); len(found) != 0 {
				t.Errorf("installed is %+v", found)
			}
			if left := leftovers(t, h.dir); len(left) != 0 {
				t.Errorf("left are %v", left)
			}
		})
	}
}

// limit is the largest executable of the tests.
const limit = 1 << 20

func many(n int) []entry {
	entries := make([]entry, n)
	for i := range entries {
		entries[i] = regular("f"+strings.Repeat("x", i), "")
	}
	return entries
}

func large(n int) []entry {
	entries := many(n)
	for i := range entries {
		entries[i].content = strings.Repeat("\x00", limit)
	}
	return entries
}

// sparse adds a file to an archive that is a hole of the given size, in the format of PAX.
func sparse(archive []byte, size int) []byte {
	record := func(key, value string) string {
		n := len(key) + len(value) + 3
		for len(strconv.Itoa(n))+len(key)+len(value)+3 != n {
			n++
		}
		return fmt.Sprintf("%d %s=%s\n", n, key, value)
	}
	block := func(kind byte, content string) []byte {
		b := make([]byte, 1024)
		copy(b, "sms")
		copy(b[100:], "0000755\x000000000\x000000000\x00"+fmt.Sprintf("%011o\x00%011o\x00        %c", len(content), 0, kind))
		copy(b[257:], "ustar\x0000")
		sum := 0
		for _, c := range b[:512] {
			sum += int(c)
		}
		copy(b[148:], fmt.Sprintf("%06o\x00 ", sum))
		copy(b[512:], content)
		return b
	}
	hole := "1\n" + strconv.Itoa(size) + "\n0\n"
	return slices.Concat(archive[:len(archive)-1024],
		block(tar.TypeXHeader, record("GNU.sparse.major", "1")+record("GNU.sparse.minor", "0")+record("GNU.sparse.name", "sms")+record("GNU.sparse.realsize", strconv.Itoa(size))),
		block(tar.TypeReg, hole+strings.Repeat("\x00", 512-len(hole))),
		make([]byte, 1024))
}

// An archive that somebody has made with tar(1) is as good.
func TestArchiveByHand(t *testing.T) {
	content := script("by hand")
	manifest := string(catalog.Manifest{Name: "sms", Version: "1.0.0", SHA256: sum(content)}.Encode())
	h := open(t, nil)
	source := h.file("sms.tgz", string(zipped(t, tarball(t,
		entry{tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700}, ""},
		regular("./plugin.hcl", manifest), regular("./LICENSE", "free"), regular("./sms", content)))))
	if _, err := catalog.Install(h.dir, source, catalog.InstallOptions{}); err != nil {
		t.Fatal(err)
	}
	if says := h.run(h.only()); says != "by hand" {
		t.Errorf("it says %q", says)
	}
	if exists(h.path("1.0.0", "LICENSE")) {
		t.Error("what the manifest does not name is installed")
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// Equal contents make equal archives, whenever and by whomever they are made.
func TestPackIsReproducible(t *testing.T) {
	var archives [2]string
	for i := range archives {
		text, err := os.ReadFile(archived(t, packed(t, "1.0.0", script("x"))))
		if err != nil {
			t.Fatal(err)
		}
		archives[i] = string(text)
	}
	if archives[0] != archives[1] {
		t.Error("they differ")
	}
}

// A draft of the manifest is completed; one that is right stays as it is, with its signatures; one that is not goes
// with them.
func TestPackAgain(t *testing.T) {
	by := newSigner(t)
	folder := t.TempDir()
	path := func(file string) string { return filepath.Join(folder, file) }
	write(t, path("sms.sh"), script("x"), 0o755)
	write(t, path("plugin.hcl"), "# ours\nname = \"sms\"\nversion = \"1.0.0\"\nexecutable = \"sms.sh\"\nplaintext = true\nchannels = [\"sms\"]\n", 0o644)
	want := catalog.Manifest{Name: "sms", Version: "1.0.0", Channels: []string{"sms"}, Executable: "sms.sh", Plaintext: true, SHA256: sum(script("x"))}
	pack := func(o catalog.PackOptions) catalog.Manifest {
		t.Helper()
		m, err := catalog.Pack(folder, o)
		if err != nil {
			t.Fatal(err)
		}
		if read, err := catalog.ReadManifest(path("plugin.hcl")); err != nil || !reflect.DeepEqual(read, m) {
			t.Errorf("packed %+v, read %+v, %v", m, read, err)
		}
		return m
	}
	if m := pack(catalog.PackOptions{}); !reflect.DeepEqual(m, want) {
		t.Errorf("want %+v, have %+v", want, m)
	}
	write(t, path("plugin.hcl"), "# ours\n"+string(want.Encode()), 0o644)
	if _, err := catalog.Sign(path("plugin.hcl"), by.path, ""); err != nil {
		t.Fatal(err)
	}
	pack(catalog.PackOptions{})
	text, err := os.ReadFile(path("plugin.hcl"))
	if err != nil || !strings.HasPrefix(string(text), "# ours") || !exists(path("plugin.hcl.minisig")) {
		t.Errorf("what was right was changed: %s, %v", text, err)
	}
	write(t, path("sms.sh"), script("y"), 0o755)
	if m := pack(catalog.PackOptions{Manifest: catalog.Manifest{Version: "1.1.0"}}); m.SHA256 != sum(script("y")) || m.Version != "1.1.0" || m.Name != "sms" {
		t.Errorf("have %+v", m)
	}
	if exists(path("plugin.hcl.minisig")) {
		t.Error("a signature over another manifest is left")
	}
}

func TestPackRefuses(t *testing.T) {
	folder := t.TempDir()
	executable := filepath.Join(folder, "my sms")
	write(t, executable, script("x"), 0o755)
	write(t, filepath.Join(folder, "sms"), script("x"), 0o644)
	manifest := catalog.Manifest{Name: "sms", Version: "1.0.0"}
	for name, test := range map[string]struct {
		source, want string
		m            catalog.Manifest
	}{
		"nothing":            {filepath.Join(folder, "absent"), "no such file", manifest},
		"a nameless one":     {folder, `the executable cannot be called ""`, catalog.Manifest{}},
		"blanks in the name": {executable, `the executable cannot be called "my sms"`, manifest},
		"not executable":     {folder, "not executable", manifest},
		"no executable":      {folder, "missing file", catalog.Manifest{Name: "email", Version: "1.0.0"}},
	} {
		if _, err := catalog.Pack(test.source, catalog.PackOptions{Manifest: test.m}); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: want %q, have %v", name, test.want, err)
		}
	}
	write(t, filepath.Join(folder, "sms"), script("x"), 0o755)
	_, err := catalog.Pack(folder, catalog.PackOptions{Manifest: catalog.Manifest{Name: "sms", Version: "v1", Channels: []string{"S"}}})
	if found, ok := errors.AsType[catalog.ManifestError](err); !ok || len(found) != 2 {
		t.Errorf("a bad manifest gives %v", err)
	}
}
