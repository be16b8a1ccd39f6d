package limit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/limit/limittest"
	"github.com/pigeonry/pigeonry/core/limit/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shared is a limiter that can be gone.
type shared struct {
	limit.Limiter
	gone, hangs atomic.Bool
	asked       atomic.Int64
}

var errGone = errors.New("connection refused")

func (s *shared) Allow(ctx context.Context, requests ...limit.Request) (limit.Decision, error) {
	s.asked.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return limit.Undecided(), ctx.Err()
	}
	if s.gone.Load() {
		return limit.Undecided(), errGone
	}
	return s.Limiter.Allow(ctx, requests...)
}

// bench is a Failover of several instances and what is behind it.
type bench struct {
	*limit.Failover
	shared *shared
	log    *bytes.Buffer
}

func failover(instances int) bench {
	b := bench{shared: &shared{Limiter: local.New(local.Options{})}, log: &bytes.Buffer{}}
	b.Failover = limit.NewFailover(limit.FailoverOptions{
		Shared: b.shared, Local: local.New(local.Options{}), Instances: func() int { return instances },
		Logger: slog.New(slog.NewTextHandler(b.log, nil)),
	})
	return b
}

func TestFailoverIsALimiter(t *testing.T) {
	for _, gone := range []bool{false, true} {
		limittest.Run(t, limittest.Suite{
			Open: func(*testing.T) limit.Limiter {
				b := failover(1)
				b.shared.gone.Store(gone)
				return b
			},
			Lease: local.DefaultLease,
		})
	}
}

// Whatever is asked for, the share decides as a limiter must, apart from its numbers.
func TestASharePassesWhatTheWholePasses(t *testing.T) {
	for _, kind := range []limit.Type{limit.QPS, limit.Concurrent, limit.SlidingWindow} {
		for _, x := range []struct {
			most  float64
			n     int
			never bool
		}{{0.1, 1, kind != limit.QPS}, {1, 1, false}, {10, 10, false}, {10, 11, true}, {2.5, 2, false}, {0, 1, true}, {math.Inf(1), 1000, false}} {
			synctest.Test(t, func(t *testing.T) {
				b := failover(7)
				b.shared.gone.Store(true)
				r := ask(kind, x.most, x.n)
				d, err := b.Allow(t.Context(), r)
				if d.Allowed == x.never || errors.Is(err, limit.ErrNever) != (x.never && x.n > 1) {
					t.Errorf("%d of %s %v: %+v, %v; want never: %t", x.n, kind, x.most, d, err, x.never)
				}
			})
		}
	}
}

func ask(kind limit.Type, most float64, n int) limit.Request {
	r := limit.Request{Rule: limit.Rule{Resource: "r", Type: kind, Max: most}, Key: "k", N: n}
	if kind == limit.SlidingWindow {
		r.Rule.Window = time.Minute
	}
	return r
}

// pressed asks for n at a time for a while, as often as it may be worth it, and returns what passed.
func (b bench) pressed(t *testing.T, r limit.Request, lasting time.Duration) (passed int) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < lasting; {
		d, err := b.Allow(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if d.Allowed {
			passed += r.N
		} else {
			pass(max(d.RetryAfter, time.Nanosecond))
		}
	}
	return passed
}

func TestARateIsSharedExactlyForAnyBurst(t *testing.T) {
	for _, n := range []int{1, 10, 25, 26, 99, 100} {
		synctest.Test(t, func(t *testing.T) {
			b := failover(4)
			b.shared.gone.Store(true)
			got := b.pressed(t, ask(limit.QPS, 100, n), 100*time.Second)
			if most := 2500 + 100; got > most || got < 2500-100 {
				t.Errorf("%d events passed in 100s by %d, want 2500", got, n)
			}
		})
	}
}

func TestAWindowAndPlacesAreShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := failover(4)
		b.shared.gone.Store(true)
		if got := b.pressed(t, ask(limit.SlidingWindow, 100, 1), 10*time.Minute-1); got != 250 {
			t.Errorf("%d events passed in ten windows, want 250", got)
		}
		held := 0
		for ; ; held++ {
			d, err := b.Allow(t.Context(), ask(limit.Concurrent, 10, 1))
			if err != nil {
				t.Fatal(err)
			}
			if !d.Allowed {
				break
			}
		}
		if held != 2 {
			t.Errorf("%d places were taken, want 2", held)
		}
	})
}

// What is not divided is kept in full, whatever else one call asks for, so that an outage refuses nothing more.
func TestWhatIsNotDividedIsKeptInFull(t *testing.T) {
	gone := &shared{}
	gone.gone.Store(true)
	f := limit.NewFailover(limit.FailoverOptions{
		Shared: gone, Local: local.New(local.Options{}), Instances: func() int { return 7 },
		Divided: func(r limit.Rule) bool { return r.Resource == "provider" }, Logger: slog.New(slog.DiscardHandler),
	})
	api, provider := ask(limit.SlidingWindow, 70, 1), ask(limit.SlidingWindow, 70, 1)
	provider.Rule.Resource = "provider"
	for _, c := range []struct {
		requests []limit.Request
		passed   int
	}{{[]limit.Request{api, provider}, 10}, {[]limit.Request{api}, 60}, {[]limit.Request{provider}, 0}} {
		passed := 0
		for range 100 {
			d, err := f.Allow(t.Context(), c.requests...)
			if err != nil {
				t.Fatal(err)
			}
			if d.Allowed {
				passed++
			}
		}
		if passed != c.passed {
			t.Errorf("%d of %+v passed, want %d", passed, c.requests, c.passed)
		}
	}
}

// Readiness tells what is, although nobody asks for limits.
func TestCheckNoticesAnOutageAndItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := failover(2)
		check := func(want error) {
			t.Helper()
			if err := b.Check(t.Context()); !errors.Is(err, want) {
				t.Errorf("Check = %v, want %v", err, want)
			}
		}
		check(nil)
		b.shared.gone.Store(true)
		check(errGone)
		check(errGone) // without asking
		pass(limit.DefaultPause)
		check(errGone)
		b.shared.gone.Store(false)
		pass(limit.DefaultPause)
		check(nil)
		if asked := b.shared.asked.Load(); asked != 4 {
			t.Errorf("the shared limiter was asked %d times, want 4", asked)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Check(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Check of a caller who is gone = %v", err)
		}
	})
}

func TestAnOutageIsRememberedAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := failover(2), ask(limit.QPS, 1e9, 1)
		b.pressedOnce(t, r)
		b.shared.gone.Store(true)
		for range 1000 {
			b.pressedOnce(t, r)
			pass(10 * time.Millisecond)
		}
		if asked := b.shared.asked.Load(); asked < 10 || asked > 13 {
			t.Errorf("the shared limiter was asked %d times in ten seconds without it", asked)
		}
		if !b.Degraded() {
			t.Error("not degraded without the shared limiter")
		}
		b.shared.gone.Store(false)
		pass(limit.DefaultPause)
		b.pressedOnce(t, r)
		if b.Degraded() {
			t.Error("degraded although the shared limiter answers")
		}
		if lines := strings.Count(b.log.String(), "\n"); lines != 2 {
			t.Errorf("%d lines in the log, want one each way:\n%s", lines, b.log)
		}
	})
}

func (b bench) pressedOnce(t *testing.T, r limit.Request) {
	t.Helper()
	if d, err := b.Allow(t.Context(), r); err != nil || !d.Allowed {
		t.Fatalf("Allow = %+v, %v", d, err)
	}
}

func TestNobodyWaitsLongForASharedLimiterThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, r := failover(2), ask(limit.QPS, 1e9, 1)
		b.shared.hangs.Store(true)
		waited := 0
		for range 200 {
			begin := time.Now()
			b.pressedOnce(t, r)
			switch took := time.Since(begin); took {
			case 0:
			case limit.DefaultTimeout:
				waited++
			default:
				t.Fatalf("a request waited %v", took)
			}
			pass(10 * time.Millisecond)
		}
		if waited > 3 {
			t.Errorf("%d requests in two seconds waited", waited)
		}
	})
}

func TestACallersOwnEndIsNoOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := failover(2)
		b.shared.hangs.Store(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		if d, err := b.Allow(ctx, ask(limit.QPS, 1, 1)); !errors.Is(err, context.DeadlineExceeded) || d.Allowed {
			t.Errorf("Allow = %+v, %v; want DeadlineExceeded", d, err)
		}
		b.shared.hangs.Store(false)
		if _, err := b.Allow(t.Context(), ask(limit.QPS, 1, 0)); err == nil {
			t.Error("no event was asked for, and there was no error")
		}
		if b.Degraded() {
			t.Error("degraded by a caller's own end or fault")
		}
	})
}

func TestPlacesAreReleasedWhereTheyWereTaken(t *testing.T) {
	b, r := failover(1), ask(limit.Concurrent, 1, 1)
	d, err := b.Allow(t.Context(), r)
	if err != nil || !d.Allowed {
		t.Fatalf("Allow = %+v, %v", d, err)
	}
	b.shared.gone.Store(true)
	b.pressedOnce(t, r) // of the local limiter, and kept
	d.Release()
	if d, err := b.shared.Limiter.Allow(t.Context(), r); err != nil || !d.Allowed {
		t.Errorf("the shared limiter's place is still taken: %+v, %v", d, err)
	}
}

// pass lets the time of a bubble go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // a bubble's time is not waited for
}
