package local_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
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

func TestLimiter(t *testing.T) {
	limittest.Run(t, limittest.Suite{
		Open:  func(*testing.T) limit.Limiter { return local.New(local.Options{}) },
		Lease: local.DefaultLease,
	})
}

// The suite must also hold on a real clock, where the technologies that share counters will run it.
func TestLimiterOnARealClock(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	limittest.Run(t, limittest.Suite{
		Open:      func(*testing.T) limit.Limiter { return local.New(local.Options{Lease: time.Second}) },
		Lease:     time.Second,
		RealClock: true,
	})
}

func allowed(tb testing.TB, l *local.Limiter, r limit.Request) bool {
	tb.Helper()
	d, err := l.Allow(tb.Context(), r)
	if err != nil {
		tb.Fatal(err)
	}
	return d.Allowed
}

func rate(key string) limit.Request {
	return limit.Request{Rule: limit.Rule{Resource: "r", Type: limit.QPS, Max: 1}, Key: key, N: 1}
}

func TestASmallWindowIsExactToTheNanosecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := local.New(local.Options{})
		r := limit.Request{Rule: limit.Rule{Resource: "code", Type: limit.SlidingWindow, Max: 1, Window: time.Minute}, Key: "k", N: 1}
		for range 100 {
			if !allowed(t, l, r) {
				t.Fatal("refused after a whole window")
			}
			pass(time.Minute - 1)
			if allowed(t, l, r) {
				t.Fatal("passed a nanosecond too early")
			}
			pass(1)
		}
	})
}

func TestAHighRateIsExactToo(t *testing.T) {
	for _, most := range []float64{3, 7.7, 999_999, 3e6, 7e8} {
		synctest.Test(t, func(t *testing.T) {
			l := local.New(local.Options{})
			n := max(1, int(most/100))
			r := limit.Request{Rule: limit.Rule{Resource: "r", Type: limit.QPS, Max: most}, Key: "k", N: n}
			for allowed(t, l, r) { // the burst
			}
			begin, passed := time.Now(), 0
			for time.Since(begin) < 20*time.Second {
				d, err := l.Allow(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				if d.Allowed {
					passed += n
				}
				pass(d.RetryAfter)
			}
			if got := float64(passed) / 20; math.Abs(got/most-1) > 0.01 && math.Abs(got-most) > 0.1 {
				t.Errorf("%v events a second passed, want %v", got, most)
			}
		})
	}
}

func TestNoNumberNoLimit(t *testing.T) {
	l := local.New(local.Options{})
	r := rate("k")
	r.Rule.Max = math.NaN()
	if _, err := l.Allow(t.Context(), r); err == nil {
		t.Error("a max that is not a number was taken")
	}
	r.Rule.Max = math.Inf(1)
	for range 1000 {
		if r.N *= 2; !allowed(t, l, r) {
			t.Fatal("an infinite max refused")
		}
		r.N = min(r.N, 1<<40)
	}
}

func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestMemoryIsBounded(t *testing.T) {
	const counters = 50_000
	l := local.New(local.Options{Counters: counters})
	before := heap()
	for i := range 4 * counters { // all at once, so that none is idle
		allowed(t, l, rate(fmt.Sprintf("192.0.2.1-%d", i)))
	}
	if used := heap() - before; used > 300*counters {
		t.Errorf("%d counters take %d bytes each", counters, used/counters)
	}
	runtime.KeepAlive(l)
}

func TestIdleCountersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := local.New(local.Options{})
		before := heap()
		for range 200 {
			for i := range 1000 {
				allowed(t, l, rate(fmt.Sprintf("%d-%d", time.Now().UnixNano(), i)))
			}
			pass(2 * time.Second)
		}
		if after := heap(); after > before+64*256*2*300 {
			t.Errorf("%d KB are left of 200,000 idle counters", (after-before)>>10)
		}
		runtime.KeepAlive(l)
	})
}

func TestAFloodOfKeysForgetsWhatMattersLeast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := local.New(local.Options{Counters: 64 * 100})
		day := limit.Request{Rule: limit.Rule{Resource: "day", Type: limit.SlidingWindow, Max: 1, Window: 24 * time.Hour}, N: 1}
		for i := range 100 {
			day.Key = fmt.Sprint(i)
			allowed(t, l, day)
		}
		for i := range 50_000 {
			allowed(t, l, rate(fmt.Sprint(i)))
		}
		kept := 0
		for i := range 100 {
			if day.Key = fmt.Sprint(i); !allowed(t, l, day) {
				kept++
			}
		}
		if kept < 95 {
			t.Errorf("a flood of short-lived counters left %d of 100 long-lived ones", kept)
		}
	})
}

func BenchmarkAllow(b *testing.B) {
	rules := map[string]limit.Rule{
		"qps":        {Resource: "api:/messages/send", Type: limit.QPS, Max: 1e12},
		"concurrent": {Resource: "api:/messages/send", Type: limit.Concurrent, Max: 1e12},
		"window":     {Resource: "api:/messages/send", Type: limit.SlidingWindow, Max: 1e12, Window: time.Minute},
	}
	for name, rule := range rules {
		b.Run(name, func(b *testing.B) {
			l, ctx := local.New(local.Options{}), context.Background()
			b.ReportAllocs()
			for b.Loop() {
				d, _ := l.Allow(ctx, limit.Request{Rule: rule, Key: "account-1", N: 1})
				d.Release()
			}
		})
	}
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("198.51.100.%d", i)
	}
	b.Run("three rules of many keys in parallel", func(b *testing.B) {
		l, ctx := local.New(local.Options{}), context.Background()
		var seed atomic.Uint64
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			random := rand.New(rand.NewPCG(seed.Add(1), 1))
			for pb.Next() {
				key := keys[random.IntN(len(keys))]
				d, _ := l.Allow(ctx,
					limit.Request{Rule: rules["qps"], Key: key, N: 1},
					limit.Request{Rule: rules["window"], Key: key, N: 1},
					limit.Request{Rule: rules["concurrent"], Key: key, N: 1})
				d.Release()
			}
		})
	})
}

// pass lets the time of a bubble go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // a bubble's time is not waited for
}
