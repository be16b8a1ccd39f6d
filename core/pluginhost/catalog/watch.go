package catalog

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Watch calls changed with what Scan answers whenever that is something else than before, and once at the beginning, so
// that nothing is missed between an earlier Scan and the moment from which it watches. It calls from one goroutine,
// after the folder has been quiet for Options.Debounce; where the system does not tell of changes they are found
// within Options.Rescan. It blocks until ctx ends, and then returns nil.
func (c *Catalog) Watch(ctx context.Context, changed func([]Version, error)) error {
	w := &watch{catalog: c}
	w.start()
	defer w.stop()
	w.look(changed)
	rescan := time.NewTicker(c.rescan)
	defer rescan.Stop()
	quiet := time.NewTimer(c.debounce)
	quiet.Stop()
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-w.events:
			quiet.Reset(c.debounce)
		case err := <-w.errors: // events were lost
			c.log.Warn("a change of the plugins folder may have been missed", "error", err)
			quiet.Reset(c.debounce)
		case <-quiet.C:
			w.look(changed)
		case <-rescan.C:
			w.look(changed)
		}
	}
}

// watch is one call of Watch.
type watch struct {
	catalog *Catalog
	watcher *fsnotify.Watcher // nil: the system has none for us
	events  <-chan fsnotify.Event
	errors  <-chan error
	seen    string // what the latest scan found
	warned  bool
}

func (w *watch) start() {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		w.warn(w.catalog.dir, err)
		return
	}
	w.watcher, w.events, w.errors = watcher, watcher.Events, watcher.Errors
}

func (w *watch) stop() {
	if w.watcher != nil {
		_ = w.watcher.Close() // nothing is written
	}
}

// warn says once that changes are found by looking alone.
func (w *watch) warn(path string, err error) {
	if !w.warned {
		w.catalog.log.Warn("the plugins folder cannot be watched and is looked at from time to time",
			"path", path, "every", w.catalog.rescan, "error", err)
	}
	w.warned = true
}

// look watches the folders that have appeared, scans, and says if something has changed.
func (w *watch) look(changed func([]Version, error)) {
	w.follow()
	versions, err := w.catalog.Scan()
	found := describe(versions, err)
	if found != w.seen {
		w.seen = found
		changed(versions, err)
	}
}

// follow watches every folder that there is. It comes before the scan, so that what appears in a folder is either
// scanned or heard of. To watch a folder again is nothing to the system.
func (w *watch) follow() {
	if w.watcher == nil {
		return
	}
	c := w.catalog
	w.add(c.dir)
	names, _ := folders(c.dir) // an error is the scan's to report
	for _, n := range names {
		folder := filepath.Join(c.dir, n)
		w.add(folder)
		versions, _ := folders(folder)
		for _, v := range versions {
			w.add(filepath.Join(folder, v))
		}
	}
}

func (w *watch) add(folder string) {
	if err := w.watcher.Add(folder); err != nil {
		w.warn(folder, err)
	}
}

// describe tells one state of the folder from another.
func describe(versions []Version, err error) string {
	var b strings.Builder
	fmt.Fprintln(&b, err)
	for _, v := range versions {
		problem := ""
		if v.Problem != nil {
			problem = v.Problem.Error()
		}
		fmt.Fprintf(&b, "%q %q %q %q %q %v %v %q\n", v.Name, v.Version, v.Path, v.SHA256, v.Channels, v.Plaintext, v.Signed, problem)
	}
	return b.String()
}
