package locktest

import (
	"time"

	"github.com/pigeonry/pigeonry/core/lock"
)

func oneHolder(b bench) {
	l := b.tryLock("sweep", "")
	b.taken("sweep", "") // no owner is another owner each time
	b.taken("sweep", "other")
	b.unlock(l)
	l = b.lock("sweep", "other")
	b.taken("sweep", "")
	b.unlock(l)
	if isLost(l) {
		b.Error("an unlocked lock says that it was lost")
	}
}

func namesApart(b bench) {
	one, two := b.tryLock("one", "o"), b.tryLock("two", "o")
	b.unlock(one)
	b.taken("two", "x")
	b.unlock(b.tryLock("one", "x"))
	b.unlock(two)
}

func unlockedOnce(b bench) {
	first := b.tryLock("sweep", "")
	b.unlock(first)
	b.notHeld(first)
	second := b.tryLock("sweep", "")
	b.notHeld(first)
	b.taken("sweep", "")
	b.unlock(second)
}

func fenceGrows(b bench) {
	last := int64(0)
	for i := range 10 {
		l := b.tryLock("sweep", []string{"", "a", "b"}[i%3])
		if l.Fence() <= last {
			b.Fatalf("fence %d after %d", l.Fence(), last)
		}
		last = l.Fence()
		b.unlock(l)
	}
}

func reentrant(b bench) {
	first := b.tryLock("sweep", "me")
	second := b.tryLock("sweep", "me")
	third := b.lock("sweep", "me") // does not wait for itself
	if first.Fence() != second.Fence() || first.Fence() != third.Fence() {
		b.Errorf("one holder has the fences %d, %d and %d", first.Fence(), second.Fence(), third.Fence())
	}
	b.taken("sweep", "other")
	b.unlock(third)
	b.notHeld(third)
	b.taken("sweep", "other")
	b.unlock(first) // in any order
	b.taken("sweep", "other")
	b.unlock(second)
	b.unlock(b.tryLock("sweep", "other"))
}

func renewed(b bench) {
	l := b.tryLock("sweep", "me")
	again := b.tryLock("sweep", "me")
	b.unlock(again)
	for range 6 {
		pass(b.lease() / 2)
		b.taken("sweep", "other")
	}
	if isLost(l) {
		b.Error("the lock was lost while its holder lived")
	}
	b.unlock(l)
}

// lose makes a holder lose its lock and waits until it knows.
func (b bench) lose(name string, l lock.Lock) {
	b.Helper()
	b.Lose(b.T, b.locker, name)
	select {
	case <-l.Lost():
	case <-b.patient().Done():
		b.Fatal("Lost was not closed")
	}
}

func lost(b bench) {
	l := b.tryLock("sweep", "me")
	again := b.tryLock("sweep", "me")
	b.lose("sweep", l)
	if !isLost(again) {
		b.Error("one of two locks of the holder does not know that it was lost")
	}
	b.notHeld(l)
	next := b.lock("sweep", "me") // the same owner is a new holder now
	if next.Fence() <= l.Fence() {
		b.Errorf("fence %d after %d", next.Fence(), l.Fence())
	}
	b.notHeld(again)
	b.taken("sweep", "other")
	if isLost(next) {
		b.Error("the next holder's lock is lost too")
	}
	b.unlock(next)
}

func lostToNext(b bench) {
	l := b.tryLock("sweep", "")
	got := b.waiting(b.patient(), "sweep", "")
	b.lose("sweep", l)
	next := b.arrives(got)
	if next.Fence() <= l.Fence() {
		b.Errorf("fence %d after %d", next.Fence(), l.Fence())
	}
	b.notHeld(l)
	pass(2 * b.lease())
	b.taken("sweep", "")
	b.unlock(next)
}

func meaningless(b bench) {
	if _, err := b.locker.TryLock(b.patient(), "", b.as("")); err == nil {
		b.Error("TryLock took a lock without a name")
	}
	if _, err := b.locker.Lock(b.patient(), "sweep", lock.Options{Lease: -time.Second}); err == nil {
		b.Error("Lock took a negative lease")
	}
	l, err := b.locker.TryLock(b.patient(), "sweep", lock.Options{})
	if err != nil {
		b.Fatalf("TryLock without options: %v", err)
	}
	b.unlock(l)
}

func peers(b bench) {
	if b.Peer == nil {
		b.Skip("locks belong to one process")
	}
	other := b
	other.locker = b.Peer(b.T, b.locker)
	l := b.tryLock("sweep", "me")
	other.taken("sweep", "")
	again := other.tryLock("sweep", "me")
	got := other.waiting(other.patient(), "sweep", "")
	b.unlock(l)
	b.taken("sweep", "")
	b.unlock(again)
	next := other.arrives(got)
	if next.Fence() <= l.Fence() {
		b.Errorf("fence %d after %d", next.Fence(), l.Fence())
	}
	b.taken("sweep", "")
	b.unlock(next)
}
