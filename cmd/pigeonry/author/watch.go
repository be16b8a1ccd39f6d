package author

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// sources is a folder whose files are watched, without what is built or written by others.
type sources struct {
	dir    string   // absolute
	others []string // folders in it that are not sources; absolute
}

// isSource says whether what has a path may be a source.
func (s *sources) isSource(path string) bool {
	if path == s.dir {
		return true
	}
	name := filepath.Base(path)
	switch {
	case strings.HasPrefix(name, "."), strings.HasSuffix(name, "~"), strings.HasSuffix(name, ".tmp"), strings.HasSuffix(name, ".log"):
		return false
	case slices.Contains([]string{"node_modules", "__pycache__", "dist", "bin"}, name):
		return false
	}
	return !slices.Contains(s.others, path)
}

// walk calls f with every source and every folder of sources.
func (s *sources) walk(f func(path string, d fs.DirEntry) error) error {
	return filepath.WalkDir(s.dir, func(path string, d fs.DirEntry, err error) error {
		switch {
		case errors.Is(err, fs.ErrNotExist) && path != s.dir:
			return nil // gone meanwhile
		case err != nil:
			return err
		case s.isSource(path):
			return f(path, d)
		case d.IsDir():
			return fs.SkipDir
		}
		return nil
	})
}

// fingerprint tells one state of the sources from another.
func (s *sources) fingerprint() (string, error) {
	sum := sha256.New()
	err := s.read(func(path string, content io.Reader) error {
		fmt.Fprintf(sum, "\x00%s\x00", path)
		_, err := io.Copy(sum, content)
		return err
	})
	return string(sum.Sum(nil)), err
}

// linesWith is a fingerprint of the lines in which a text stands; "" if there are none.
func (s *sources) linesWith(text string) (string, error) {
	sum, found := sha256.New(), false
	err := s.read(func(path string, content io.Reader) error {
		all, err := io.ReadAll(content)
		for line := range bytes.Lines(all) {
			if bytes.Contains(line, []byte(text)) {
				found = true
				fmt.Fprintf(sum, "%s\x00%s", path, line)
			}
		}
		return err
	})
	if !found {
		return "", err
	}
	return string(sum.Sum(nil)), err
}

// read calls f with every source.
func (s *sources) read(f func(path string, content io.Reader) error) error {
	return s.walk(func(path string, d fs.DirEntry) error {
		if !d.Type().IsRegular() {
			return nil
		}
		file, err := os.Open(path)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		}
		defer file.Close()
		return f(path, file)
	})
}

// watch sends the time of a change when nothing has changed for as long as quiet says, until ctx ends.
func (s *sources) watch(ctx context.Context, quiet time.Duration) (<-chan time.Time, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watch %s: %w", s.dir, err)
	}
	if err := s.follow(watcher); err != nil {
		return nil, fmt.Errorf("watch %s: %w", s.dir, errors.Join(err, watcher.Close()))
	}
	changed := make(chan time.Time, 1)
	go func() {
		defer close(changed)
		defer func() { _ = watcher.Close() }() // nothing is written
		timer := time.NewTimer(quiet)
		timer.Stop()
		defer timer.Stop()
		var last time.Time
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-watcher.Events:
				if !s.isSource(e.Name) || e.Op == fsnotify.Chmod {
					continue
				}
				if e.Has(fsnotify.Create) {
					_ = s.follow(watcher) // a folder that cannot be watched is gone again, or nobody's source
				}
				last = time.Now()
				timer.Reset(quiet)
			case err := <-watcher.Errors:
				if err == nil {
					return // it was closed
				}
				last = time.Now() // events were lost
				timer.Reset(quiet)
			case <-timer.C:
				select {
				case changed <- last:
				default: // one is waiting that says the same
				}
			}
		}
	}()
	return changed, nil
}

// follow watches every folder of sources; to watch one again is nothing to the system.
func (s *sources) follow(watcher *fsnotify.Watcher) error {
	return s.walk(func(path string, d fs.DirEntry) error {
		if !d.IsDir() {
			return nil
		}
		return watcher.Add(path)
	})
}
