package catalog

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// Stage returns the path of a copy of the version's executable that has the version's checksum, nobody but the
// gateway can change and this machine can execute. It makes the copy if there is none; then the checksum is taken
// of the bytes as they are copied. A copy that is there is read again when this process first uses it, and
// whenever its file has been touched since. Stage needs a Version as Scan gave it: its SHA256 is what a signature
// vouched for. An error that concerns the version is a *Fault.
func (c *Catalog) Stage(v Version) (string, error) {
	switch {
	case v.Problem != nil:
		return "", v.Problem
	case !ValidName(v.Name):
		return "", invalidName(v.Name)
	case !digest.MatchString(v.SHA256):
		return "", &Fault{
			What: "unknown checksum", Expected: "a SHA-256 in 64 hexadecimal digits", Found: fmt.Sprintf("%q", v.SHA256),
			Remedy: "look for installed plugins first", Permanent: true,
		}
	}
	c.staging.Lock()
	defer c.staging.Unlock()
	path := c.stored(v.Name, v.SHA256)
	if c.intact(path, v.SHA256) {
		return path, executableHere(path)
	}
	if err := c.copy(v, path); err != nil {
		return "", err
	}
	return path, nil
}

// stored is where the copy of an executable is.
func (c *Catalog) stored(plugin, checksum string) string {
	return filepath.Join(c.store, checksum, plugin)
}

// fileMode is that of every copy: nobody writes it, the gateway included.
func fileMode(shared bool) os.FileMode {
	if shared {
		return 0o555 // an interpreter has to read a script
	}
	return 0o500
}

// folderMode is that of the store and its folders.
func folderMode(shared bool) os.FileMode {
	if shared {
		return 0o711
	}
	return 0o700
}

// intact says whether a copy is there and is what it should be.
func (c *Catalog) intact(path, checksum string) bool {
	f, info, err := openFile(path, noLink)
	if err != nil {
		return false
	}
	defer f.Close()
	switch {
	case info.Mode().Perm() != fileMode(c.shared):
		return false
	case c.staged[path].same(info): // nobody but the gateway writes here, so that even a young one is to be trusted
		return true
	}
	found, err := copyBounded(io.Discard, f, "executable", maxExecutable)
	if err != nil || found != checksum {
		c.log.Warn("a stored plugin was damaged and is copied anew", "path", path, "expected", checksum, "found", found, "error", err)
		return false
	}
	c.staged[path] = stampOf(info)
	return true
}

// executableHere says whether this machine can still execute a copy: its interpreter may have gone.
func executableHere(path string) error {
	f, info, err := openFile(path, noLink)
	if err != nil {
		return asFault(path, err)
	}
	defer f.Close()
	if fault := runnable(f, info.Size()); fault != nil {
		return fault
	}
	return nil
}

// copy brings the executable into the store.
func (c *Catalog) copy(v Version, path string) error {
	source, _, err := openFile(v.Path, anyway)
	if err != nil {
		return asFault(v.Path, err)
	}
	defer source.Close()
	folder := filepath.Dir(path)
	if err := os.Mkdir(folder, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("store plugin %s %s: %w", v.Name, v.Version, err)
	}
	if err := os.Chmod(folder, folderMode(c.shared)); err != nil {
		return fmt.Errorf("store plugin %s %s: %w", v.Name, v.Version, err)
	}
	temporary, err := c.storeFile(folder, source, v.SHA256)
	if err != nil {
		return err
	}
	if err := errors.Join(os.Rename(temporary, path), syncFolder(folder), syncFolder(c.store)); err != nil {
		remove(temporary)
		return fmt.Errorf("store plugin %s %s: %w", v.Name, v.Version, err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("store plugin %s %s: %w", v.Name, v.Version, err)
	}
	c.staged[path] = stampOf(info)
	return nil
}

// storeFile copies the source into a temporary file of the folder if its checksum is right and this machine can
// execute it.
func (c *Catalog) storeFile(folder string, source io.Reader, checksum string) (string, error) {
	path, found, err := writeCopy(folder, source, fileMode(c.shared))
	if err == nil && found != checksum {
		err = wrongChecksum(checksum, found)
	}
	if err == nil {
		err = executableHere(path)
	}
	if err == nil {
		err = syncFile(path)
	}
	if err != nil {
		remove(path)
		return "", err
	}
	return path, nil
}

// writeCopy writes a temporary file while this program starts no process. One that was being started would inherit
// the file, open for writing, and until it has closed it nobody could execute the copy
// (https://github.com/golang/go/issues/22315).
func writeCopy(folder string, source io.Reader, mode os.FileMode) (path, checksum string, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	f, err := os.CreateTemp(folder, ".tmp-")
	if err != nil {
		return "", "", fmt.Errorf("store a plugin: %w", err)
	}
	checksum, err = copyBounded(f, source, "executable", maxExecutable)
	return f.Name(), checksum, errors.Join(err, f.Chmod(mode), f.Close())
}
