package locktest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core/lock"
)

func unlockWakes(b bench) {
	l := b.tryLock("sweep", "")
	got := b.waiting(b.patient(), "sweep", "")
	before := time.Now()
	b.unlock(l)
	next := b.arrives(got)
	// In a bubble time stands still while somebody can run, so a wait that polled would take time.
	if took := time.Since(before); !b.RealClock && took != 0 || took > b.lease()/2 {
		b.Errorf("the waiter had the lock %v after the unlock", took)
	}
	b.taken("sweep", "")
	b.unlock(next)
}

func ownersWaitTogether(b bench) {
	l := b.tryLock("sweep", "")
	one := b.waiting(b.patient(), "sweep", "us")
	two := b.waiting(b.patient(), "sweep", "us")
	b.unlock(l)
	first, second := b.arrives(one), b.arrives(two)
	b.unlock(first)
	b.taken("sweep", "")
	b.unlock(second)
	b.unlock(b.tryLock("sweep", ""))
}

func inOrder(b bench) {
	if !b.InOrder {
		b.Skip("the technology does not promise an order")
	}
	l := b.tryLock("sweep", "")
	var waits []<-chan lock.Lock
	for i := range 5 {
		waits = append(waits, b.waiting(b.patient(), "sweep", fmt.Sprint(i)))
	}
	for i, got := range waits {
		b.unlock(l)
		l = b.arrives(got)
		for _, later := range waits[i+1:] {
			if len(later) > 0 {
				b.Fatalf("a later waiter had the lock before waiter %d", i)
			}
		}
	}
	b.unlock(l)
}

func contextEndsWait(b bench) {
	l := b.tryLock("sweep", "")
	ctx, cancel := context.WithTimeout(b.Context(), b.lease()/4)
	defer cancel()
	before := time.Now()
	if _, err := b.locker.Lock(ctx, "sweep", b.as("")); !errors.Is(err, context.DeadlineExceeded) {
		b.Errorf("Lock: %v, want DeadlineExceeded", err)
	}
	if took := time.Since(before); took > b.lease() {
		b.Errorf("Lock gave up after %v, want %v", took, b.lease()/4)
	}
	b.unlock(l)
	b.unlock(b.tryLock("sweep", "")) // who gave up does not have it
}

func contextTakesNothing(b bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	if _, err := b.locker.Lock(ctx, "sweep", b.as("")); !errors.Is(err, context.Canceled) {
		b.Errorf("Lock: %v, want context.Canceled", err)
	}
	if _, err := b.locker.TryLock(ctx, "sweep", b.as("")); !errors.Is(err, context.Canceled) {
		b.Errorf("TryLock: %v, want context.Canceled", err)
	}
	b.unlock(b.tryLock("sweep", ""))
}

// givingUp ends waits just as the lock becomes free.
func givingUp(b bench) {
	rounds := 500
	if b.RealClock {
		rounds = 10
	}
	for range rounds {
		l := b.tryLock("sweep", "")
		ctx, cancel := context.WithCancel(b.Context())
		got := b.waiting(ctx, "sweep", "")
		cancel()
		b.unlock(l)
		if next := <-got; next != nil {
			b.unlock(next)
		}
		// Where ctx ends a call over a network, the lock may come free only with its lease.
		b.unlock(b.lock("sweep", ""))
	}
}

func crowd(b bench) {
	const callers, rounds = 8, 25
	var fences []int64 // guarded by the lock, as the race detector sees where all is one process
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() {
			for range rounds {
				l, err := b.locker.Lock(b.patient(), "sweep", b.as(fmt.Sprint(i)))
				if err != nil {
					b.Errorf("Lock: %v", err)
					return
				}
				fences = append(fences, l.Fence())
				if err := l.Unlock(b.patient()); err != nil {
					b.Errorf("Unlock: %v", err)
				}
			}
		})
	}
	wg.Wait()
	if len(fences) != callers*rounds {
		b.Errorf("%d turns, want %d", len(fences), callers*rounds)
	}
	for i := 1; i < len(fences); i++ {
		if fences[i] <= fences[i-1] {
			b.Fatalf("fence %d after %d", fences[i], fences[i-1])
		}
	}
}
