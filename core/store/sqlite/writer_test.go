package sqlite

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"

	"zombiezen.com/go/sqlite"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// What a caller hears whose context ends while its operation waits, runs, or never ends.
func TestWriterWhenTheContextEnds(t *testing.T) {
	c, err := sqlite.OpenConn(filepath.Join(t.TempDir(), "a.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	synctest.Test(t, func(t *testing.T) {
		w := startWriter(conn{c})
		disk := make(chan struct{})
		first, cancelFirst := context.WithCancel(t.Context())
		answers := [3]chan error{make(chan error, 1), make(chan error, 1), make(chan error, 1)}
		do := func(ctx context.Context, n int, run func(conn) error) {
			go func() { answers[n] <- w.do(ctx, "write", 1, run) }()
			synctest.Wait()
		}
		do(first, 0, func(conn) error { <-disk; return nil }) // the disk hangs
		second, cancelSecond := context.WithCancel(t.Context())
		do(second, 1, func(conn) error { t.Error("an operation ran that its caller had given up"); return nil })
		do(t.Context(), 2, func(conn) error { return nil })

		cancelSecond()
		if err := <-answers[1]; !errors.Is(err, context.Canceled) || errors.Is(err, store.ErrUnknown) {
			t.Errorf("the operation that waited: %v, want the context's error", err)
		}
		cancelFirst()
		if err := <-answers[0]; !errors.Is(err, store.ErrUnknown) || core.KindOf(err) != core.KindUnavailable {
			t.Errorf("the operation that hung: %v, want ErrUnknown", err)
		}
		close(disk)
		if err := <-answers[2]; err != nil {
			t.Errorf("the operation behind: %v", err)
		}
		w.stop()
		if err := w.do(t.Context(), "write", 1, nil); !errors.Is(err, errClosed) {
			t.Errorf("after the stop: %v", err)
		}
	})
}

func FuzzParseIDs(f *testing.F) {
	for _, seed := range []string{"[1,2,3]", "[1]", "[]", "", "[", "]", "[1,]", "[,]", "[-1]", "[1 ,2]", "[99999999999999999999]"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		ids, err := parseIDs(nil, text)
		if err != nil {
			return
		}
		again, err := parseIDs(nil, idsJSON(ids))
		if err != nil || len(again) != len(ids) || len(ids) == 0 {
			t.Errorf("%q was read as %v, and that as %v (%v)", text, ids, again, err)
		}
	})
}
