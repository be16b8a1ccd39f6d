package catalog_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// watcher is a catalog that is being watched.
type watcher struct {
	*house
	changed chan string // what was installed each time that Watch said so
}

// watch begins to watch. It returns after the first call, from which on nothing is missed.
func watch(t *testing.T, dir string, debounce, rescan time.Duration) *watcher {
	t.Helper()
	h := reopen(t, dir, filepath.Join(t.TempDir(), "store"), func(o *catalog.Options) { o.Debounce, o.Rescan = debounce, rescan })
	w := &watcher{h, make(chan string, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- h.Watch(ctx, func(versions []catalog.Version, err error) { w.changed <- installed(versions, err) })
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Watch ends with %v", err)
		}
	})
	w.next()
	return w
}

// installed lists the versions in short: those with a problem have its name instead of a version.
func installed(versions []catalog.Version, err error) string {
	if err != nil {
		return "none"
	}
	var b strings.Builder
	for _, v := range versions {
		if v.Problem != nil {
			v.Version = v.Problem.What
		}
		b.WriteString(v.Name + " " + v.Version + ";")
	}
	return b.String()
}

func (w *watcher) next() string {
	w.t.Helper()
	select {
	case s := <-w.changed:
		return s
	case <-time.After(20 * time.Second):
		w.t.Fatalf("no change; log: %s", w.log)
		return ""
	}
}

// await returns when Watch has told of a state.
func (w *watcher) await(want string) {
	w.t.Helper()
	for last := ""; last != want; {
		if last = w.next(); last != want {
			w.t.Logf("on the way: %s", last)
		}
	}
}

const (
	soon  = 20 * time.Millisecond
	never = time.Hour
)

// What happens in the folder is told by the system, in folders that appear too.
func TestWatch(t *testing.T) {
	w := watch(t, t.TempDir(), soon, never)
	install := func(version string) {
		if _, err := catalog.Install(w.dir, packed(t, version, script(version)), catalog.InstallOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	install("1.0.0")
	if have := w.next(); have != "sms 1.0.0;" { // never half of it
		t.Errorf("have %s", have)
	}
	install("1.1.0")
	if have := w.next(); have != "sms 1.0.0;sms 1.1.0;" {
		t.Errorf("have %s", have)
	}
	w.chmod("1.1.0", "sms", 0o644)
	w.await("sms 1.0.0;sms not executable;")
	w.chmod("1.1.0", "sms", 0o755)
	w.await("sms 1.0.0;sms 1.1.0;")
	write(t, w.path("1.1.0", "sms"), script("changed"), 0o755)
	w.await("sms 1.0.0;sms wrong checksum;")
	w.must(w.Remove("sms", "1.1.0", ""))
	w.await("sms 1.0.0;")
	write(t, filepath.Join(w.dir, "email", "2.0.0", "email"), script("mail"), 0o755)
	w.await("email 2.0.0;sms 1.0.0;")
	w.must(os.Rename(filepath.Join(w.dir, "email", "2.0.0"), filepath.Join(w.dir, "email", "2.1.0")))
	w.await("email 2.1.0;sms 1.0.0;")
	w.chmodFile(filepath.Join(w.dir, "email", "2.1.0", "email"), 0o644) // is it watched under its new name?
	w.await("email not executable;sms 1.0.0;")
	w.must(os.RemoveAll(filepath.Join(w.dir, "email")))
	w.await("sms 1.0.0;")
}

func (w *watcher) chmodFile(path string, mode os.FileMode) { w.must(os.Chmod(path, mode)) }

// A folder that is being filled is nobody's business until it is renamed.
func TestWatchIgnoresTheUnfinished(t *testing.T) {
	w := watch(t, t.TempDir(), soon, never)
	for _, unfinished := range []string{".tmp-1.0.0", "1.0.0.tmp"} {
		write(t, w.path(unfinished, "sms"), script("half"), 0o755)
	}
	w.must(os.Rename(w.path("1.0.0.tmp"), w.path("1.0.0")))
	if have := w.next(); have != "sms 1.0.0;" {
		t.Errorf("have %s", have)
	}
}

// Where the system tells nothing, changes are found all the same; and a folder that is not there yet, or is there
// again, is found too.
func TestRescan(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "plugins")
	w := watch(t, dir, never, soon)
	write(t, w.path("1.0.0", "sms"), script("x"), 0o755)
	w.await("sms 1.0.0;")
	w.must(os.Rename(dir, dir+"-away"))
	w.await("none")
	w.must(os.Rename(dir+"-away", dir))
	w.await("sms 1.0.0;")
	if log := w.log.String(); strings.Count(log, "cannot be watched") != 1 {
		t.Errorf("the log has %s", log)
	}
}

// Nothing is told twice.
func TestWatchTellsOfChangesAlone(t *testing.T) {
	w := watch(t, t.TempDir(), soon, soon)
	w.put("1.0.0", script("x"), nil)
	w.await("sms 1.0.0;")
	w.put("1.0.0", script("x"), nil) // the same again
	write(t, w.path("1.0.0", "notes.txt"), "no part of it", 0o644)
	w.put("1.1.0", script("y"), nil)
	for last := "sms 1.0.0;"; last != "sms 1.0.0;sms 1.1.0;"; {
		have := w.next()
		if have == last {
			t.Errorf("told twice of %s", have)
		}
		last = have
	}
}

func TestWatchEnds(t *testing.T) {
	h := open(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	calls := 0
	if err := h.Watch(ctx, func([]catalog.Version, error) { calls++ }); err != nil && !errors.Is(err, context.Canceled) || calls != 1 {
		t.Errorf("%d calls, then %v", calls, err)
	}
}
