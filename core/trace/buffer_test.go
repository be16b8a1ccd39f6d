package trace_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sink keeps what is written. It is read when the buffer is idle.
type sink struct {
	sizes []int
	times []time.Time
	lost  int // of each batch
}

func (s *sink) write(entries []trace.Entry) int {
	s.sizes = append(s.sizes, len(entries))
	s.times = append(s.times, time.Now())
	return s.lost
}

func TestEntriesGatherBeforeTheyAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, begin := &sink{}, time.Now()
		b := trace.NewBuffer(0, s.write)
		for range 10 {
			b.Record(trace.Entry{}, trace.Entry{})
			pass(time.Millisecond)
		}
		pass(time.Second)
		b.Close()
		if len(s.sizes) != 1 || s.sizes[0] != 20 || s.times[0].Sub(begin) != 50*time.Millisecond {
			t.Errorf("batches of %v at %v, want 20 entries after 50ms", s.sizes, s.times)
		}
	})
}

func TestARushIsWrittenInSeveralBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{lost: 1}
		b := trace.NewBuffer(0, s.write)
		for range 3 {
			b.Record(make([]trace.Entry, 15_000)...)
			pass(time.Second)
		}
		b.Close()
		sum := 0
		for _, n := range s.sizes {
			if sum += n; n > 2000 {
				t.Errorf("a batch of %d entries", n)
			}
		}
		if sum != 45_000 || b.Dropped() != int64(len(s.sizes)) {
			t.Errorf("%d entries were written and %d lost in %d batches", sum, b.Dropped(), len(s.sizes))
		}
	})
}

func TestAFullBufferDropsAndNobodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stuck := make(chan struct{})
		b := trace.NewBuffer(10, func([]trace.Entry) int { <-stuck; return 0 })
		for range 100 {
			b.Record(trace.Entry{})
		}
		if d := b.Dropped(); d != 90 {
			t.Errorf("%d entries were dropped, want 90", d)
		}
		close(stuck)
		b.Close()
		b.Record(trace.Entry{})
		if d := b.Dropped(); d != 91 {
			t.Errorf("%d entries were dropped after Close, want 91", d)
		}
	})
}

func TestTasksAreDoneOneAtATimeUntilClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &sink{}
		b := trace.NewBuffer(0, s.write)
		want := errors.New("of the task")
		if err := b.Do(t.Context(), func() error { return want }); !errors.Is(err, want) {
			t.Errorf("Do: %v, want the error of the task", err)
		}
		b.Record(trace.Entry{})
		if err := b.Flush(t.Context()); err != nil || len(s.sizes) != 1 {
			t.Errorf("Flush: %v after %d batches, want 1", err, len(s.sizes))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var done atomic.Bool
		err := b.Do(ctx, func() error { pass(time.Minute); done.Store(true); return nil })
		if !errors.Is(err, context.DeadlineExceeded) || done.Load() {
			t.Errorf("Do: %v, want DeadlineExceeded", err)
		}
		b.Close()
		if err := b.Do(t.Context(), func() error { return nil }); core.KindOf(err) != core.KindUnavailable || !done.Load() {
			t.Errorf("Do after Close: %v, want KindUnavailable", err)
		}
	})
}

// pass lets the time of a bubble go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // a bubble's time is not waited for
}
