package pool_test

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start makes a pool that the test stops at its end.
func start(tb testing.TB, o pool.Options) *pool.Pool {
	tb.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	p, err := pool.New(o)
	if err != nil {
		tb.Fatalf("New: %v", err)
	}
	tb.Cleanup(func() {
		if err := p.Stop(context.Background()); err != nil {
			tb.Errorf("Stop: %v", err)
		}
	})
	return p
}

func submit(tb testing.TB, p *pool.Pool, task func(context.Context)) {
	tb.Helper()
	if err := p.Submit(tb.Context(), task); err != nil {
		tb.Fatalf("Submit: %v", err)
	}
}

// gate is a task that waits until the test opens it.
type gate chan struct{}

func (g gate) task(context.Context) { <-g }

// workers fails unless the pool has so many, once all is quiet.
func workers(t *testing.T, p *pool.Pool, want int, when string) {
	t.Helper()
	synctest.Wait()
	if got := p.Stats().Workers; got != want {
		t.Errorf("%d workers %s, want %d", got, when, want)
	}
}

func TestEveryTaskRunsOnce(t *testing.T) {
	p := start(t, pool.Options{Name: "sender", Core: 4, Max: 16, QueueSize: 10})
	const submitters, tasks = 8, 2000
	var counts [submitters * tasks]atomic.Int32
	var wg sync.WaitGroup
	for s := range submitters {
		wg.Go(func() {
			for i := range tasks {
				if err := p.Submit(t.Context(), func(context.Context) { counts[s*tasks+i].Add(1) }); err != nil {
					t.Errorf("Submit: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if err := p.Stop(t.Context()); err != nil {
		t.Fatalf("Stop: %v", err)
	}
	for i := range counts {
		if n := counts[i].Load(); n != 1 {
			t.Fatalf("task %d ran %d times", i, n)
		}
	}
	if s := p.Stats(); s.CompletedTasks != submitters*tasks || s.Workers != 0 || s.ActiveCount != 0 || s.QueueSize != 0 {
		t.Errorf("Stats after the stop = %+v", s)
	}
}

func TestGrowsWhenTheQueueIsHigh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "p", Core: 2, Max: 4, QueueSize: 10})
		open := make(gate)
		defer close(open)
		workers(t, p, 2, "at the start")
		for range 2 + 7 { // two run, seven of ten wait
			submit(t, p, open.task)
		}
		workers(t, p, 2, "at 70 %")
		submit(t, p, open.task)
		workers(t, p, 3, "at 80 %") // and the new one takes a task
		submit(t, p, open.task)
		workers(t, p, 4, "at 80 % again")
		for range 3 {
			submit(t, p, open.task)
		}
		workers(t, p, 4, "above Max")
		want := pool.Stats{Name: "p", Core: 2, Max: 4, Workers: 4, ActiveCount: 4, QueueSize: 10, QueueCapacity: 10}
		if got := p.Stats(); got != want {
			t.Errorf("Stats = %+v, want %+v", got, want)
		}
	})
}

// grown makes a pool of core 1 that has grown to 4 busy workers and has 6 of 10 tasks waiting.
func grown(t *testing.T, open gate) *pool.Pool {
	t.Helper()
	p := start(t, pool.Options{Name: "p", Core: 1, Max: 4, QueueSize: 10, Idle: time.Minute})
	submit(t, p, open.task)
	synctest.Wait() // so that what follows waits in the queue
	for range 9 + 3 {
		if err := p.TrySubmit(open.task); err != nil && !errors.Is(err, pool.ErrFull) {
			t.Fatal(err)
		}
		synctest.Wait()
	}
	workers(t, p, 4, "when it has grown")
	return p
}

func TestIdleWorkersEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(gate)
		p := grown(t, open)
		close(open)
		synctest.Wait()
		pass(time.Minute - time.Millisecond)
		workers(t, p, 4, "just before Idle")
		pass(time.Millisecond)
		workers(t, p, 1, "after Idle")
		pass(time.Hour)
		workers(t, p, 1, "an hour later: Core stays")
	})
}

func TestOneWorkerOfManyStaysBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(gate)
		p := grown(t, open)
		close(open)
		synctest.Wait()
		for range 10 { // work for one: the others get nothing, and end
			submit(t, p, func(context.Context) {})
			synctest.Wait()
			pass(10 * time.Second)
		}
		workers(t, p, 1, "after light work")
	})
}

func TestBusyWorkersEndOneByOneWhileTheQueueIsLow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		open := make(gate)
		p := grown(t, open)
		// Each step ends one task and then brings one, so that at most two wait and all workers are busy.
		for p.Stats().QueueSize > 2 {
			open <- struct{}{}
			synctest.Wait()
		}
		workers(t, p, 4, "as the queue gets low")
		step := func() {
			open <- struct{}{}
			synctest.Wait()
			if err := p.TrySubmit(open.task); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		pass(30 * time.Second)
		step()
		workers(t, p, 4, "after half of Idle")
		pass(30 * time.Second)
		open <- struct{}{}
		open <- struct{}{}
		workers(t, p, 3, "when two tasks ended after Idle")
		for range 2 {
			if err := p.TrySubmit(open.task); err != nil {
				t.Fatal(err)
			}
		}
		if waiting := p.Stats().QueueSize; waiting != 3 {
			t.Fatalf("%d tasks wait, want 3", waiting)
		}
		pass(time.Hour)
		step()
		workers(t, p, 3, "while the queue is between the shares")
		close(open)
	})
}

func TestSubmitWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "p", Core: 1, Max: 1, QueueSize: 1})
		open := make(gate)
		submit(t, p, open.task)
		submit(t, p, open.task)
		if err := p.TrySubmit(open.task); !errors.Is(err, pool.ErrFull) {
			t.Errorf("TrySubmit: %v, want ErrFull", err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin := time.Now()
		if err := p.Submit(ctx, open.task); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("Submit: %v after %v, want DeadlineExceeded after 1s", err, time.Since(begin))
		}
		if err := p.Submit(ctx, open.task); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Submit with an ended context: %v", err)
		}
		submitted := make(chan error, 1)
		go func() { submitted <- p.Submit(t.Context(), open.task) }()
		synctest.Wait()
		open <- struct{}{}
		if err := <-submitted; err != nil {
			t.Errorf("Submit after a task ended: %v", err)
		}
		close(open)
		synctest.Wait()
		if s := p.Stats(); s.CompletedTasks != 3 {
			t.Errorf("%d tasks ran, want 3", s.CompletedTasks)
		}
	})
}

func TestPanicCostsOneTask(t *testing.T) {
	var log strings.Builder
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "fragile", Core: 1, Max: 1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		ran := false
		submit(t, p, func(context.Context) { panic("spilled") })
		submit(t, p, func(context.Context) { runtime.Goexit() })
		submit(t, p, func(context.Context) { ran = true })
		synctest.Wait()
		if s := p.Stats(); !ran || s.Panics != 1 || s.CompletedTasks != 3 || s.Workers != 1 || s.ActiveCount != 0 {
			t.Errorf("ran %t, Stats = %+v", ran, s)
		}
	})
	for _, want := range []string{"spilled", "fragile", "pool_test.go"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q: %s", want, log.String())
		}
	}
}

func TestAverageDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "p", Core: 2, Max: 2})
		for _, took := range []time.Duration{10 * time.Millisecond, 20 * time.Millisecond} {
			submit(t, p, func(context.Context) { pass(took) })
		}
		pass(time.Second)
		if got := p.Stats().AvgTaskDurationMS; got != 15 {
			t.Errorf("AvgTaskDurationMS = %v, want 15", got)
		}
	})
}

func TestStopDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "p", Core: 1, Max: 1, QueueSize: 2})
		canceled := 0
		task := func(ctx context.Context) {
			pass(time.Second)
			if ctx.Err() != nil {
				canceled++
			}
		}
		for range 3 {
			submit(t, p, task)
			synctest.Wait()
		}
		blocked := make(chan error, 1)
		go func() { blocked <- p.Submit(t.Context(), task) }()
		synctest.Wait()
		begin := time.Now()
		if err := p.Stop(t.Context()); err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("Stop: %v after %v, want 3s", err, time.Since(begin))
		}
		if err := <-blocked; !errors.Is(err, pool.ErrStopped) {
			t.Errorf("Submit that waited: %v, want ErrStopped", err)
		}
		if s := p.Stats(); s.CompletedTasks != 3 || canceled != 0 {
			t.Errorf("%d tasks ran and %d of them canceled, want 3 and 0", s.CompletedTasks, canceled)
		}
		for what, err := range map[string]error{
			"Submit":    p.Submit(t.Context(), task),
			"TrySubmit": p.TrySubmit(task),
			"Resize":    p.Resize(pool.Settings{Core: 1, Max: 1}),
		} {
			if !errors.Is(err, pool.ErrStopped) {
				t.Errorf("%s after the stop: %v, want ErrStopped", what, err)
			}
		}
	})
}

func TestStopCancelsWhenItsContextEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "p", Core: 1, Max: 1})
		var ran, canceled int
		for range 3 {
			submit(t, p, func(ctx context.Context) {
				<-ctx.Done()
				ran++
				pass(time.Second) // what a task does to end in order
				canceled++
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := time.Now()
		err := p.Stop(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Minute+3*time.Second {
			t.Errorf("Stop: %v after %v, want DeadlineExceeded after 1m3s", err, time.Since(begin))
		}
		if ran != 3 || canceled != 3 {
			t.Errorf("%d of 3 tasks ran, %d to their end: none may be dropped", ran, canceled)
		}
	})
}

func TestResize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := start(t, pool.Options{Name: "p", Core: 2, Max: 2, QueueSize: 1})
		open := make(gate)
		resize := func(s pool.Settings) {
			t.Helper()
			if err := p.Resize(s); err != nil {
				t.Fatalf("Resize: %v", err)
			}
		}
		for range 3 {
			submit(t, p, open.task)
			synctest.Wait()
		}
		blocked := make(chan error, 1)
		go func() { blocked <- p.Submit(t.Context(), open.task) }()
		synctest.Wait()
		resize(pool.Settings{Core: 2, Max: 2, QueueSize: 5})
		if err := <-blocked; err != nil {
			t.Errorf("Submit after the queue grew: %v", err)
		}
		resize(pool.Settings{Core: 6, Max: 8, QueueSize: 1})
		workers(t, p, 6, "with a larger Core")
		if s := p.Stats(); s.ActiveCount != 4 || s.QueueSize != 0 {
			t.Errorf("Stats = %+v, want 4 active tasks", s)
		}
		resize(pool.Settings{Core: 1, Max: 3})
		workers(t, p, 4, "at once with a smaller Max: the busy ones stay")
		open <- struct{}{}
		workers(t, p, 3, "when a task has ended")
		close(open)
		workers(t, p, 3, "when all is done")
		pass(pool.DefaultIdle)
		workers(t, p, 1, "after Idle")
		resize(pool.Settings{Core: 2, Max: 2})
		workers(t, p, 2, "with a larger Core again")
	})
}

func TestWrongSettings(t *testing.T) {
	good := pool.Settings{Core: 1, Max: 2, QueueSize: 1, ScaleUp: 0.8, ScaleDown: 0.2, Idle: time.Second}
	p := start(t, pool.Options{Name: "p", Core: 1, Max: 1})
	tests := []struct {
		field string
		spoil func(*pool.Settings)
	}{
		{"/core_size", func(s *pool.Settings) { s.Core = 0 }},
		{"/max_size", func(s *pool.Settings) { s.Max = 0 }},
		{"/max_size", func(s *pool.Settings) { s.Max = pool.MaxWorkers + 1 }},
		{"/scale_up_threshold", func(s *pool.Settings) { s.ScaleUp = 1.1 }},
		{"/scale_down_threshold", func(s *pool.Settings) { s.ScaleDown = 0.8 }},
		{"/scale_down_threshold", func(s *pool.Settings) { s.ScaleDown = -0.1 }},
		{"/queue_size", func(s *pool.Settings) { s.QueueSize = -1 }},
		{"/idle", func(s *pool.Settings) { s.Idle = -time.Second }},
	}
	for _, test := range tests {
		s := good
		test.spoil(&s)
		e, ok := errors.AsType[*core.Error](p.Resize(s))
		if !ok || len(e.Fields) != 1 || e.Fields[0].Field != test.field || e.Kind != core.KindUnprocessable {
			t.Errorf("Resize(%+v): %v; want an error about %s", s, e, test.field)
		}
	}
	if _, err := pool.New(pool.Options{QueueSize: -1}); err == nil || !strings.Contains(err.Error(), "queue_size") ||
		!strings.Contains(err.Error(), "core_size") {
		t.Errorf("New: %v; want every wrong field named", err)
	}
	if got := p.Stats(); got.Max != 1 {
		t.Errorf("a refused Resize left %+v", got)
	}
	if err := p.TrySubmit(nil); err == nil {
		t.Error("the pool took a nil task")
	}
}

// Submits give up, tasks come and go, and sizes change: none is lost and none runs twice.
func TestUnderChange(t *testing.T) {
	p := start(t, pool.Options{Name: "p", Core: 1, Max: 4, QueueSize: 2, Idle: time.Microsecond})
	var ran, taken atomic.Int64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 2000 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				if p.Submit(ctx, func(context.Context) { ran.Add(1) }) == nil {
					taken.Add(1)
				}
				cancel()
			}
		})
	}
	for i := range 200 {
		if err := p.Resize(pool.Settings{Core: 1 + i%4, Max: 4 + i%7, QueueSize: 1 + i%5, Idle: time.Microsecond}); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	if err := p.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := p.Stats(); ran.Load() != taken.Load() || s.CompletedTasks != taken.Load() || s.Workers != 0 {
		t.Errorf("%d tasks taken, %d ran; Stats = %+v", taken.Load(), ran.Load(), s)
	}
}

func BenchmarkSubmit(b *testing.B) {
	p := start(b, pool.Options{Name: "p", Core: 4, Max: 4})
	b.ReportAllocs()
	for b.Loop() {
		submit(b, p, func(context.Context) {})
	}
}

// pass lets the time of a bubble go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // a bubble's time is not waited for
}
