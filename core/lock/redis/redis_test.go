package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/lock"
	"github.com/pigeonry/pigeonry/core/lock/locktest"
	"github.com/pigeonry/pigeonry/core/lock/redis"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fresh are options for keys that no other test has.
func fresh(tb testing.TB) redis.Options {
	tb.Helper()
	return redis.Options{
		Prefix: fmt.Sprintf("test:%s:%d:", tb.Name(), time.Now().UnixNano()),
		Logger: slog.New(slog.DiscardHandler),
	}
}

func open(tb testing.TB, client *goredis.Client, o redis.Options) *redis.Locker {
	tb.Helper()
	l := redis.New(client, o)
	tb.Cleanup(func() {
		l.Close()
		// Fences outlive their locks by days.
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		keys, _ := client.Keys(ctx, o.Prefix+"fence:*").Result()
		client.Del(ctx, append(keys, "-")...)
	})
	return l
}

func TestLocker(t *testing.T) {
	client := connect(t, nil)
	for name, lose := range map[string]func(*testing.T, lock.Locker, string){
		"a holder that cannot renew": func(_ *testing.T, l lock.Locker, name string) { l.(*redis.Locker).Cut(name) },
		"Redis forgets": func(t *testing.T, l lock.Locker, name string) {
			t.Helper()
			client.Del(t.Context(), l.(*redis.Locker).Key(name))
		},
	} {
		t.Run(name, func(t *testing.T) {
			locktest.Run(t, locktest.Suite{
				Open: func(t *testing.T) lock.Locker {
					t.Helper()
					return open(t, client, fresh(t))
				},
				Peer: func(t *testing.T, l lock.Locker) lock.Locker {
					t.Helper()
					p := l.(*redis.Locker).Peer()
					t.Cleanup(p.Close)
					return p
				},
				Lose:      lose,
				RealClock: true,
			})
		})
	}
}

const lease = time.Second

func take(tb testing.TB, l *redis.Locker, name, owner string) lock.Lock {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), 10*time.Second)
	defer cancel()
	got, err := l.Lock(ctx, name, lock.Options{Lease: lease, Owner: owner})
	if err != nil {
		tb.Fatal(err)
	}
	return got
}

func TestAHolderWithoutRedisKnowsBeforeTheNextOne(t *testing.T) {
	for _, fault := range []string{"cut", "hung"} {
		t.Run(fault, func(t *testing.T) {
			n, o := &network{}, fresh(t)
			l, other := open(t, connect(t, n), o), open(t, connect(t, nil), o)
			first := take(t, l, "sweep", "")
			n.cut.Store(fault == "cut")
			n.hung.Store(fault == "hung")
			next := take(t, other, "sweep", "")
			select {
			case <-first.Lost():
			default:
				t.Error("two have the lock")
			}
			if next.Fence() <= first.Fence() {
				t.Errorf("fence %d after %d", next.Fence(), first.Fence())
			}
			if err := first.Unlock(t.Context()); !errors.Is(err, lock.ErrLost) {
				t.Errorf("Unlock: %v, want ErrLost", err)
			}
		})
	}
}

func TestAShortFaultLosesNoLock(t *testing.T) {
	n := &network{}
	l := open(t, connect(t, n), fresh(t))
	held := take(t, l, "sweep", "")
	n.cut.Store(true)
	pass(lease / 2)
	n.cut.Store(false)
	pass(lease)
	if err := held.Unlock(t.Context()); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

func TestAWaiterIsWokenAtOnceAndWithoutAMessageSoon(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	one, two := open(t, client, o), open(t, client, o)
	for _, x := range []struct {
		what    string
		release func(lock.Lock)
		most    time.Duration
	}{
		{"a release", func(l lock.Lock) { _ = l.Unlock(t.Context()) }, 500 * time.Millisecond},
		{"a lost message", func(lock.Lock) { client.Del(t.Context(), one.Key("sweep")) }, 1500 * time.Millisecond},
	} {
		held := take(t, one, "sweep", "")
		got := make(chan lock.Lock)
		go func() { got <- take(t, two, "sweep", "") }()
		pass(100 * time.Millisecond)
		begin := time.Now()
		x.release(held)
		next := <-got
		if took := time.Since(begin); took > x.most {
			t.Errorf("after %s the waiter had the lock after %v", x.what, took)
		}
		_ = next.Unlock(t.Context())
	}
}

func TestFencesGrowWhenRedisHasForgotten(t *testing.T) {
	client := connect(t, nil)
	l := open(t, client, fresh(t))
	for last := int64(0); last == 0; {
		held := take(t, l, "sweep", "")
		last = held.Fence()
		_ = held.Unlock(t.Context())
		client.Del(t.Context(), strings.Replace(l.Key("sweep"), "lock:", "fence:", 1))
		if next := take(t, l, "sweep", ""); next.Fence() <= last {
			t.Errorf("fence %d after %d", next.Fence(), last)
		}
	}
}

func TestCloseGivesBackAndEndsWaits(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	l, other := open(t, client, o), open(t, client, o)
	held := take(t, l, "sweep", "")
	ended := make(chan error)
	go func() {
		_, err := l.Lock(t.Context(), "sweep", lock.Options{})
		ended <- err
	}()
	pass(50 * time.Millisecond)
	l.Close()
	if err := <-ended; core.KindOf(err) != core.KindUnavailable {
		t.Errorf("Lock: %v, want KindUnavailable", err)
	}
	select {
	case <-held.Lost():
	default:
		t.Error("a holder was not told of the Close")
	}
	if _, err := other.TryLock(t.Context(), "sweep", lock.Options{}); err != nil {
		t.Errorf("TryLock: %v", err)
	}
	if _, err := l.TryLock(t.Context(), "another", lock.Options{}); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("TryLock after Close: %v, want KindUnavailable", err)
	}
}

func TestUnlockWorksAfterItsContext(t *testing.T) {
	l := open(t, connect(t, nil), fresh(t))
	ctx, cancel := context.WithCancel(t.Context())
	held, err := l.TryLock(ctx, "sweep", lock.Options{})
	cancel()
	if err = errors.Join(err, held.Unlock(ctx)); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

func TestNobodyWaitsLongForARedisThatHangs(t *testing.T) {
	n := &network{}
	l := open(t, connect(t, n), fresh(t))
	held := take(t, l, "sweep", "")
	n.hung.Store(true)
	begin := time.Now()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := l.TryLock(ctx, "sweep", lock.Options{}); err == nil || errors.Is(err, lock.ErrHeld) {
		t.Errorf("TryLock: %v, want an error of the network", err)
	}
	if err := held.Unlock(ctx); err == nil {
		t.Error("Unlock says that it has released the lock")
	}
	if took := time.Since(begin); took > 3*time.Second {
		t.Errorf("TryLock and Unlock took %v", took)
	}
}

func TestShortLease(t *testing.T) {
	l := open(t, connect(t, nil), fresh(t))
	if _, err := l.TryLock(t.Context(), "sweep", lock.Options{Lease: time.Millisecond}); err == nil {
		t.Error("a lease that no watchdog can renew was taken")
	}
}

func BenchmarkLock(b *testing.B) {
	l, ctx := open(b, connect(b, nil), fresh(b)), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		held, err := l.TryLock(ctx, "sweep", lock.Options{})
		if err != nil {
			b.Fatal(err)
		}
		_ = held.Unlock(ctx)
	}
}

// pass lets time go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // time itself is what the test needs
}
