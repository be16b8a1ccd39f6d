package catalog

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"testing"
)

// Whatever is in an archive, reading it ends, with plain names, the manifest first and each once, within the
// bounds; or with a fault. Install adds to that only what TestBadArchives looks at.
func FuzzArchive(f *testing.F) {
	const limit = 1 << 20
	for _, names := range [][]string{
		{"plugin.hcl", "sms"}, {"./plugin.hcl", "./plugin.hcl.sig", "./sms"}, {"sms"}, {"plugin.hcl", "../sms"}, {"plugin.hcl", "/sms"}, {"plugin.hcl", "sms", "sms"},
	} {
		f.Add(archiveOf(f, names...))
	}
	f.Fuzz(func(t *testing.T, archive []byte) {
		p := readPacked(bytes.NewReader(archive), io.NopCloser(nil), limit)
		seen, total := map[string]bool{}, int64(0)
		for {
			file, r, err := p.next()
			if err == nil {
				var n int64
				n, err = io.Copy(io.Discard, io.LimitReader(r, limit+1))
				total += n
				if len(seen) == 0 && file != ManifestFile || seen[file] || !plainFile.MatchString(file) {
					t.Fatalf("%q after %v", file, seen)
				}
				seen[file] = true
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				if _, ok := errors.AsType[*Fault](err); !ok {
					t.Fatalf("want a fault, have %v", err)
				}
				break
			}
		}
		if total > (maxFiles+1)*limit || len(seen) > maxFiles {
			t.Errorf("%d bytes in %d files", total, len(seen))
		}
	})
}

func archiveOf(f *testing.F, names ...string) []byte {
	f.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		if err := w.WriteHeader(&tar.Header{Name: n, Typeflag: tar.TypeReg, Size: 3}); err != nil {
			f.Fatal(err)
		}
		if _, err := w.Write([]byte("abc")); err != nil {
			f.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		f.Fatal(err)
	}
	return b.Bytes()
}
