package local_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/lock"
	"github.com/pigeonry/pigeonry/core/lock/local"
	"github.com/pigeonry/pigeonry/core/lock/locktest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(*testing.T) lock.Locker { return local.New() }

func lose(_ *testing.T, l lock.Locker, name string) { l.(*local.Locker).StopRenewing(name) }

func TestLocker(t *testing.T) {
	locktest.Run(t, locktest.Suite{Open: open, Lose: lose, InOrder: true})
}

// The suite must also hold on a real clock, where the technologies that share locks will run it.
func TestLockerOnARealClock(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	locktest.Run(t, locktest.Suite{Open: open, Lose: lose, InOrder: true, RealClock: true})
}

func TestALostLeaseLastsAsLongAsItWasRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		locker, start := local.New(), time.Now()
		l, err := locker.TryLock(t.Context(), "sweep", lock.Options{Lease: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		pass(50 * time.Second) // renewed at 20 s and 40 s
		locker.StopRenewing("sweep")
		<-l.Lost()
		if after := time.Since(start); after != 100*time.Second {
			t.Errorf("lost after %v, want 1m40s", after)
		}
	})
}

func TestNothingIsKeptOfAFreeLock(t *testing.T) {
	locker := local.New()
	for i := range 1000 {
		l, err := locker.Lock(t.Context(), fmt.Sprint(i), lock.Options{Owner: "me"})
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Unlock(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if n := locker.Names(); n != 0 {
		t.Errorf("%d names are kept", n)
	}
}

func TestFencesGrowFromOneProcessToTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		last := int64(0)
		for range 3 {
			locker := local.New()
			for range 100 {
				l, err := locker.TryLock(t.Context(), "sweep", lock.Options{})
				if err != nil {
					t.Fatal(err)
				}
				if l.Fence() <= last {
					t.Fatalf("fence %d after %d", l.Fence(), last)
				}
				last = l.Fence()
				_ = l.Unlock(t.Context())
			}
			pass(time.Second) // no process starts sooner
		}
	})
}

func TestShortLease(t *testing.T) {
	if _, err := local.New().TryLock(t.Context(), "sweep", lock.Options{Lease: time.Microsecond}); err == nil {
		t.Error("a lease that no watchdog can renew was taken")
	}
}

func TestUnlockWorksAfterItsContext(t *testing.T) {
	locker := local.New()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := locker.TryLock(ctx, "sweep", lock.Options{})
	cancel()
	if err = errors.Join(err, l.Unlock(ctx)); err != nil {
		t.Errorf("Unlock: %v", err)
	}
}

func BenchmarkLock(b *testing.B) {
	locker, ctx := local.New(), context.Background()
	b.ReportAllocs()
	for b.Loop() {
		l, _ := locker.TryLock(ctx, "sweep", lock.Options{})
		_ = l.Unlock(ctx)
	}
}

// pass lets the time of a bubble go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // a bubble's time is not waited for
}
