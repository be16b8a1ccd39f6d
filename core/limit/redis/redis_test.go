package redis_test

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/limit/limittest"
	"github.com/pigeonry/pigeonry/core/limit/local"
	"github.com/pigeonry/pigeonry/core/limit/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fresh are options for keys that no other test has.
func fresh(tb testing.TB) redis.Options {
	tb.Helper()
	return redis.Options{
		Prefix: fmt.Sprintf("test:%s:%d:", tb.Name(), time.Now().UnixNano()),
		Lease:  time.Second, Beat: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	}
}

func open(tb testing.TB, client *goredis.Client, o redis.Options) *redis.Limiter {
	tb.Helper()
	l := redis.New(client, o)
	tb.Cleanup(l.Close)
	return l
}

func TestLimiter(t *testing.T) {
	client := connect(t, nil)
	limittest.Run(t, limittest.Suite{
		Open: func(t *testing.T) limit.Limiter {
			t.Helper()
			return open(t, client, fresh(t))
		},
		Peer: func(t *testing.T, l limit.Limiter) limit.Limiter {
			t.Helper()
			p := l.(*redis.Limiter).Peer()
			t.Cleanup(p.Close)
			return p
		},
		Lease:     time.Second,
		RealClock: true,
	})
}

func ask(kind limit.Type, most float64, n int) limit.Request {
	r := limit.Request{Rule: limit.Rule{Resource: "r", Type: kind, Max: most}, Key: "k", N: n}
	if kind == limit.SlidingWindow {
		r.Rule.Window = time.Minute
	}
	return r
}

func allow(tb testing.TB, l limit.Limiter, requests ...limit.Request) limit.Decision {
	tb.Helper()
	d, err := l.Allow(tb.Context(), requests...)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

func TestCountersExpire(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	l := open(t, client, o)
	allow(t, l, ask(limit.QPS, 1, 1), ask(limit.SlidingWindow, 1, 1), ask(limit.Concurrent, 1, 1))
	eventually(t, "the sign of life", func() bool { return client.Exists(t.Context(), o.Prefix+"instances").Val() == 1 })
	keys, err := client.Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, key := range keys {
		if len(key) < len(o.Prefix) || key[:len(o.Prefix)] != o.Prefix {
			continue
		}
		found++
		if left := client.PTTL(t.Context(), key).Val(); left <= 0 || left > time.Minute+time.Second {
			t.Errorf("%s expires in %v", key, left)
		}
	}
	if found != 4 {
		t.Errorf("%d keys, want one for each counter and one for the instances", found)
	}
}

func TestAHighRateIsExact(t *testing.T) {
	l := open(t, connect(t, nil), fresh(t))
	for _, most := range []float64{7.7, 999_999, 3e6} {
		r := ask(limit.QPS, most, int(most))
		r.Key = fmt.Sprint(most)
		if !allow(t, l, r).Allowed {
			t.Fatalf("a burst of %v was refused", most)
		}
		d := allow(t, l, r)
		if want := time.Duration(float64(r.N) / most * float64(time.Second)); d.Allowed || d.RetryAfter < want-200*time.Millisecond || d.RetryAfter > want {
			t.Errorf("ask again after %v, want a little less than %v", d.RetryAfter, want)
		}
	}
}

func TestNoBound(t *testing.T) {
	l := open(t, connect(t, nil), fresh(t))
	for _, kind := range []limit.Type{limit.QPS, limit.SlidingWindow, limit.Concurrent} {
		for range 10 {
			if !allow(t, l, ask(kind, math.Inf(1), 1000)).Allowed {
				t.Errorf("an infinite max of %s refused", kind)
			}
		}
	}
}

func TestInstancesAreCounted(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	one := open(t, client, o)
	two := open(t, client, o)
	eventually(t, "two instances", func() bool { return one.Instances() == 2 && two.Instances() == 2 })
	two.Close()
	eventually(t, "one instance after the other has left", func() bool { return one.Instances() == 1 })
}

func TestIdleInstancesAreNotCounted(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	idle := o
	idle.Idle = true
	api := open(t, client, idle)
	open(t, client, idle)
	one, two := open(t, client, o), open(t, client, o)
	eventually(t, "two instances", func() bool { return one.Instances() == 2 && two.Instances() == 2 && api.Instances() == 2 })
	one.Close()
	two.Close()
	eventually(t, "none", func() bool { return api.Instances() == 1 })
}

func TestCheck(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	l := open(t, client, o)
	for range 200 { // more than its window has grains
		if err := l.Check(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"limit:q:5:probe:", "limit:w1000000:5:probe:"} {
		if left := client.PTTL(t.Context(), o.Prefix+key).Val(); left == -1 || left > 2*time.Second { // -1: never; it may have expired by now
			t.Errorf("%s expires in %v", key, left)
		}
	}
}

func TestAnInstanceThatDiedCountsNoMore(t *testing.T) {
	o, n := fresh(t), &network{}
	one, two := open(t, connect(t, nil), o), open(t, connect(t, n), o)
	eventually(t, "two instances", func() bool { return one.Instances() == 2 && two.Instances() == 2 })
	n.cut.Store(true)
	eventually(t, "one instance", func() bool { return one.Instances() == 1 })
	if two.Instances() != 2 {
		t.Errorf("without Redis %d instances are known, want the last number", two.Instances())
	}
}

func TestNobodyWaitsLongForARedisThatHangs(t *testing.T) {
	n := &network{}
	l := open(t, connect(t, n), fresh(t))
	held := allow(t, l, ask(limit.Concurrent, 1, 1))
	n.hung.Store(true)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if d, err := l.Allow(ctx, ask(limit.QPS, 1, 1)); err == nil || d.Allowed || d.Release == nil {
		t.Errorf("Allow = %+v, %v; want an error", d, err)
	}
	held.Release()
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("Allow and Release took %v", took)
	}
	if l.Check(ctx) == nil {
		t.Error("Check says that Redis answers")
	}
}

func TestAPlaceIsGivenBackWhenRedisIsBack(t *testing.T) {
	n, o := &network{}, fresh(t)
	o.Lease = time.Hour
	l := open(t, connect(t, n), o)
	held := allow(t, l, ask(limit.Concurrent, 1, 1))
	n.cut.Store(true)
	held.Release()
	n.cut.Store(false)
	eventually(t, "the place", func() bool { return allow(t, l, ask(limit.Concurrent, 1, 1)).Allowed })
}

// An answer that does not come leaves open whether Redis has counted.
func TestAPlaceThatNobodyHeardOfIsGivenBack(t *testing.T) {
	n, o := &network{}, fresh(t)
	o.Lease = time.Hour
	l := open(t, connect(t, n), o)
	allow(t, l, ask(limit.Concurrent, 2, 1)).Release() // connects
	n.deaf.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Allow(ctx, ask(limit.Concurrent, 2, 2)); err == nil {
		t.Fatal("an answer came although nothing can be read")
	}
	n.deaf.Store(false)
	eventually(t, "both places", func() bool { return allow(t, l, ask(limit.Concurrent, 2, 2)).Allowed })
}

func TestTooManyPlacesAtOnce(t *testing.T) {
	l := open(t, connect(t, nil), fresh(t))
	if d, err := l.Allow(t.Context(), ask(limit.Concurrent, 1e9, 1e8)); err == nil || d.Allowed {
		t.Errorf("Allow = %+v, %v; want ErrNever", d, err)
	}
}

// eventually waits for what another goroutine or Redis does.
func eventually(tb testing.TB, what string, holds func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	for tick := time.NewTicker(5 * time.Millisecond); !holds(); {
		select {
		case <-tick.C:
		case <-ctx.Done():
			tb.Fatalf("%s did not come", what)
		}
	}
}

func BenchmarkAllow(b *testing.B) {
	l := open(b, connect(b, nil), fresh(b))
	qps, window, places := ask(limit.QPS, 1e9, 1), ask(limit.SlidingWindow, 1e9, 1), ask(limit.Concurrent, 1e9, 1)
	for name, requests := range map[string][]limit.Request{
		"qps": {qps}, "window": {window}, "concurrent": {places}, "three rules": {qps, window, places},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					d, err := l.Allow(b.Context(), requests...)
					if err != nil {
						b.Error(err)
						return
					}
					d.Release()
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
		})
	}
}

// A gateway goes on limiting while Redis is cut off or hangs, and comes back to it.
func TestFailover(t *testing.T) {
	n := &network{}
	l := open(t, connect(t, n), fresh(t))
	f := limit.NewFailover(limit.FailoverOptions{
		Shared: l, Local: local.New(local.Options{}), Instances: l.Instances,
		Pause: 50 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	for name, fault := range map[string]*atomic.Bool{"cut": &n.cut, "hung": &n.hung} {
		r := ask(limit.SlidingWindow, 2, 1)
		r.Key = name
		fault.Store(true)
		begin := time.Now()
		passed := 0
		for range 20 {
			if allow(t, f, r).Allowed {
				passed++
			}
		}
		if took := time.Since(begin); passed != 2 || !f.Degraded() || took > 5*time.Second {
			t.Errorf("%s: %d of 2 passed in %v; degraded: %t", name, passed, took, f.Degraded())
		}
		fault.Store(false)
		eventually(t, "the end of the outage", func() bool { allow(t, f, r); return !f.Degraded() })
	}
}
