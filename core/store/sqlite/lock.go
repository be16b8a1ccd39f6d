package sqlite

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// errLocked says that another gateway holds the lock file.
var errLocked = errors.New("the database is in use")

// fileLock is a lock between processes that ends with its process, however that ends.
type fileLock struct{ file *os.File }

// lockFile takes the lock or fails at once with errLocked. The file names the holder for people; the
// lock is on the open file, not on its content, and the file stays.
func lockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock file: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		holder := make([]byte, 32)
		n, _ := f.Read(holder) // only to name the holder
		_ = f.Close()
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		return nil, fmt.Errorf(
			"%w by another gateway (process %s, lock file %s); stop it or choose another data_dir",
			errLocked, strings.TrimSpace(string(holder[:n])), path)
	}
	if err := f.Truncate(0); err == nil {
		_, _ = fmt.Fprintln(f, os.Getpid())
	}
	return &fileLock{f}, nil
}

// unlock ends the lock.
func (l *fileLock) unlock() error { return l.file.Close() }
