package catalog

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"strings"
)

// packed is a version in a .tar.gz. It comes from somebody else: nothing in it is believed.
type packed struct {
	archive *tar.Reader
	file    io.Closer
	limit   int64
	seen    map[string]bool
}

// maxFiles bounds the entries of an archive.
const maxFiles = 64

func newPacked(r io.Reader, file io.Closer, limit int64) (*packed, error) {
	raw, err := gzip.NewReader(r)
	if err != nil {
		return nil, badArchive("a file that gzip does not know", err)
	}
	return readPacked(raw, file, limit), nil
}

// readPacked reads an archive that is no longer compressed. Headers and what is skipped count too, so that an endless
// archive comes to an end.
func readPacked(r io.Reader, file io.Closer, limit int64) *packed {
	bounded := &boundedReader{r: r, left: limit + maxFiles*maxManifest, limit: limit}
	return &packed{archive: tar.NewReader(bounded), file: file, limit: limit, seen: map[string]bool{}}
}

func badArchive(found string, cause error) *Fault {
	return &Fault{
		What: "bad archive", Expected: "a .tar.gz with " + ManifestFile + " as its first file, and the files that it names",
		Found: found, Remedy: "make it with `pigeonry plugin pack`", Permanent: true, Cause: cause,
	}
}

func (p *packed) next() (string, io.Reader, error) {
	for {
		h, err := p.archive.Next()
		switch {
		case errors.Is(err, io.EOF):
			return "", nil, io.EOF
		case err != nil:
			return "", nil, archiveError(err)
		}
		name := strings.TrimPrefix(h.Name, "./")
		if h.Typeflag == tar.TypeDir && (name == "" || name == ".") {
			continue
		}
		if fault := p.check(h, name); fault != nil {
			return "", nil, fault
		}
		return name, archiveReader{p.archive}, nil
	}
}

// check refuses whatever is not a plain file in the folder of the version.
func (p *packed) check(h *tar.Header, name string) *Fault {
	switch {
	case h.Typeflag != tar.TypeReg:
		return badArchive(fmt.Sprintf("%q, which is %s", h.Name, entryType(h.Typeflag)), nil)
	case !plainFile.MatchString(name):
		return badArchive(fmt.Sprintf("a file called %q, which is not a plain name", h.Name), nil)
	case p.seen[name]:
		return badArchive(fmt.Sprintf("%q twice", h.Name), nil)
	case h.Size > p.limit:
		return oversize("archive", p.limit)
	case len(p.seen) == 0 && name != ManifestFile:
		return badArchive(fmt.Sprintf("%q as its first file", h.Name), nil)
	case len(p.seen) == maxFiles:
		return badArchive(fmt.Sprintf("more than %d files", maxFiles), nil)
	}
	p.seen[name] = true
	return nil
}

// entryType names a kind of entry that has no place in an archive of a plugin.
func entryType(flag byte) string {
	switch flag {
	case tar.TypeSymlink:
		return "a symbolic link"
	case tar.TypeLink:
		return "a hard link"
	case tar.TypeDir:
		return "a folder"
	case tar.TypeChar, tar.TypeBlock:
		return "a device"
	case tar.TypeFifo:
		return "a named pipe"
	default:
		return fmt.Sprintf("an entry of type %q", flag)
	}
}

// Close closes the archive's file.
func (p *packed) Close() error { return p.file.Close() }

// archiveReader gives what is wrong with an archive the form of a fault.
type archiveReader struct{ r io.Reader }

func (a archiveReader) Read(b []byte) (int, error) {
	n, err := a.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = archiveError(err)
	}
	return n, err
}

func archiveError(err error) error {
	if fault, ok := errors.AsType[*Fault](err); ok {
		return fault
	}
	return badArchive("a damaged one: "+err.Error(), err)
}

// boundedReader ends with a fault where an archive is larger than any plugin.
type boundedReader struct {
	r     io.Reader
	left  int64
	limit int64
}

func (b *boundedReader) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, oversize("archive", b.limit)
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
