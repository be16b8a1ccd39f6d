// Package locktest is what every technology of package lock must pass. It sees a locker through the port
// alone and takes neither its locks nor its clock to be in this process.
package locktest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core/lock"
)

// Suite is a technology and what it differs in.
type Suite struct {
	// Open makes a locker that holds nothing. Tests on a real clock run at the same time, so each needs
	// names of its own.
	Open func(t *testing.T) lock.Locker
	// Lose makes the present holder of a name unable to renew its lease, as if it were gone. Later holders
	// renew as ever.
	Lose func(t *testing.T, l lock.Locker, name string)
	// Peer opens a second locker on the same locks, as a further gateway would; nil where locks belong to
	// one process.
	Peer func(t *testing.T, l lock.Locker) lock.Locker
	// InOrder says that waiters get a lock in the order of their coming.
	InOrder bool
	// RealClock says that the locker cannot live in a synctest bubble, because it talks over sockets. The
	// tests then take real seconds.
	RealClock bool
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	tests := []struct {
		name string
		run  func(bench)
	}{
		{"one owner holds a lock at a time", oneHolder},
		{"names are locked for themselves", namesApart},
		{"a lock is unlocked once", unlockedOnce},
		{"the fence grows with each holder", fenceGrows},
		{"an owner may take its lock again", reentrant},
		{"an unlock wakes who waits", unlockWakes},
		{"waiters of one owner get the lock together", ownersWaitTogether},
		{"waiters get the lock in order", inOrder},
		{"an ended context ends a wait", contextEndsWait},
		{"an ended context takes nothing", contextTakesNothing},
		{"waits that give up lose no lock", givingUp},
		{"a crowd takes turns", crowd},
		{"a lease is renewed while the lock is held", renewed},
		{"a lease that runs out is told", lost},
		{"a lease that runs out lets the next one in", lostToNext},
		{"what means nothing is an error", meaningless},
		{"two gateways share locks", peers},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := func(t *testing.T) {
				t.Helper()
				test.run(bench{T: t, Suite: s, locker: s.Open(t)})
			}
			if s.RealClock {
				t.Parallel()
				run(t)
			} else {
				synctest.Test(t, run)
			}
		})
	}
}

// bench is what a test works with.
type bench struct {
	*testing.T
	Suite
	locker lock.Locker
}

// patience is how long a test waits for what must happen, beyond a lease.
const patience = 20 * time.Second

// lease is long in a bubble, and bearable on a real clock.
func (b bench) lease() time.Duration {
	if b.RealClock {
		return time.Second
	}
	return 30 * time.Second
}

// as makes options for an owner.
func (b bench) as(owner string) lock.Options { return lock.Options{Lease: b.lease(), Owner: owner} }

// patient is a context for what must happen.
func (b bench) patient() context.Context {
	ctx, cancel := context.WithTimeout(b.Context(), patience+b.lease())
	b.Cleanup(cancel)
	return ctx
}

func (b bench) tryLock(name, owner string) lock.Lock {
	b.Helper()
	l, err := b.locker.TryLock(b.patient(), name, b.as(owner))
	if err != nil {
		b.Fatalf("TryLock(%q): %v", name, err)
	}
	return l
}

func (b bench) lock(name, owner string) lock.Lock {
	b.Helper()
	l, err := b.locker.Lock(b.patient(), name, b.as(owner))
	if err != nil {
		b.Fatalf("Lock(%q): %v", name, err)
	}
	return l
}

// taken fails unless another owner holds the lock.
func (b bench) taken(name, owner string) {
	b.Helper()
	if _, err := b.locker.TryLock(b.patient(), name, b.as(owner)); !errors.Is(err, lock.ErrHeld) {
		b.Fatalf("TryLock(%q): %v, want ErrHeld", name, err)
	}
}

func (b bench) unlock(l lock.Lock) {
	b.Helper()
	if err := l.Unlock(b.patient()); err != nil {
		b.Fatalf("Unlock: %v", err)
	}
}

// notHeld fails unless Unlock says that the lock was not held any more.
func (b bench) notHeld(l lock.Lock) {
	b.Helper()
	if err := l.Unlock(b.patient()); !errors.Is(err, lock.ErrLost) {
		b.Fatalf("Unlock: %v, want ErrLost", err)
	}
}

// waiting begins to wait for a lock, and returns when it surely waits.
func (b bench) waiting(ctx context.Context, name, owner string) <-chan lock.Lock {
	got := make(chan lock.Lock, 1)
	go func() {
		l, err := b.locker.Lock(ctx, name, b.as(owner))
		if err != nil && ctx.Err() == nil {
			b.Errorf("Lock(%q): %v", name, err)
		}
		got <- l
	}()
	if b.RealClock {
		pass(50 * time.Millisecond) // nothing tells from outside that somebody waits
	} else {
		synctest.Wait()
	}
	return got
}

// arrives returns the lock that a wait has brought.
func (b bench) arrives(got <-chan lock.Lock) lock.Lock {
	b.Helper()
	select {
	case l := <-got:
		if l == nil {
			b.Fatal("the wait ended without the lock")
		}
		return l
	case <-b.patient().Done():
		b.Fatal("the wait did not end")
	}
	return nil
}

// isLost says whether the lock says so.
func isLost(l lock.Lock) bool {
	select {
	case <-l.Lost():
		return true
	default:
		return false
	}
}

// pass lets time go by: the bubble's, or real time where the locker lives outside one.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // time itself is what the test needs
}
