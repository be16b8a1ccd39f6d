package catalog

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// maxExecutable bounds an executable in bytes, so that a wrong file does not fill the store.
const maxExecutable = 1 << 30

// Whether a symbolic link in the last place of a path is followed.
const (
	noLink = syscall.O_NOFOLLOW
	anyway = 0
)

// openFile opens a regular file to read it. It does not wait for the other end of a pipe, and what it has
// opened is what it has looked at.
func openFile(path string, link int) (*os.File, fs.FileInfo, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK|link, 0)
	switch {
	case errors.Is(err, syscall.ELOOP) && link == noLink:
		return nil, nil, notAFile(path, fs.ModeSymlink)
	case errors.Is(err, syscall.ENXIO): // a socket
		return nil, nil, notAFile(path, fs.ModeSocket)
	case err != nil:
		return nil, nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = notAFile(path, info.Mode())
	}
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	return f, info, nil
}

// readSmall reads a manifest, a signature or a key.
func readSmall(path string) ([]byte, error) {
	f, _, err := openFile(path, noLink)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readBounded(f, path, maxManifest)
}

// readBounded reads all of r, which is a fault if it is more than limit bytes.
func readBounded(r io.Reader, what string, limit int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(text)) > limit:
		return nil, oversize(what, limit)
	}
	return text, nil
}

// copyBounded copies all of r, which is a fault if it is more than limit bytes, and returns its checksum.
func copyBounded(w io.Writer, r io.Reader, what string, limit int64) (string, error) {
	h := sha256.New()
	n, err := io.Copy(io.MultiWriter(w, h), io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return "", err
	case n > limit:
		return "", oversize(what, limit)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// stamp tells a file from a later one, or from itself with other content, without reading it.
type stamp struct {
	info    fs.FileInfo
	changed time.Time // of its content or its mode, as the kernel saw it: nobody sets this one
	at      time.Time // when the stamp was taken
}

// young is how long after a change another one may have the same time: clocks of file systems are coarse.
const young = 2 * time.Second

func stampOf(info fs.FileInfo) stamp { return stamp{info, changeTime(info), time.Now()} }

// still says whether the file surely is what it was.
func (s stamp) still(info fs.FileInfo) bool { return s.same(info) && s.at.Sub(s.changed) > young }

// same says whether nothing tells the file from what it was.
func (s stamp) same(info fs.FileInfo) bool {
	return s.info != nil && os.SameFile(s.info, info) && s.info.Size() == info.Size() && s.info.Mode() == info.Mode() &&
		s.info.ModTime().Equal(info.ModTime()) && s.changed.Equal(changeTime(info))
}

// asFault gives any error of reading a file the form of a fault.
func asFault(path string, err error) *Fault {
	if fault, ok := errors.AsType[*Fault](err); ok {
		return fault
	}
	if errors.Is(err, fs.ErrNotExist) {
		return missingFile(path, err)
	}
	return unreadable(path, err)
}

// writeFile writes a new file and returns when its content will survive a crash.
func writeFile(path string, mode fs.FileMode, r io.Reader, limit int64) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = copyBounded(f, r, filepath.Base(path), limit)
	return errors.Join(err, f.Chmod(mode), f.Sync(), f.Close())
}

// remove deletes a file or an empty folder of ours that is in nobody's way if it stays.
func remove(path string) { _ = os.Remove(path) }

// syncFile makes the content of a file survive a crash.
func syncFile(path string) error {
	f, _, err := openFile(path, noLink)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// syncFolder makes the names in a folder survive a crash.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) { // some file systems cannot
		return fmt.Errorf("sync %s: %w", path, err)
	}
	return nil
}
