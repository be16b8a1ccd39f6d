package redis

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/core/lock"
)

// hold is a lock that this locker has for an owner. Several held may share it.
type hold struct {
	id    string // unlike any other's
	name  string
	owner string
	fence int64
	lost  chan struct{}
	done  chan struct{} // closed when the last unlock has come
	gone  chan struct{} // closed when the hold was lost and given back, or could not be

	// Guarded by the locker's mutex.
	count   int // unlocks to come
	ended   bool
	lease   time.Duration
	expires time.Time // when Redis may forget the lock, as it was last renewed; a little too early
	cut     bool      // never renewed again, in tests
}

// newHold makes a hold that has yet to be taken. An owner without a name is the hold itself.
func (l *Locker) newHold(name string, o lock.Options) *hold {
	l.mu.Lock()
	l.count++
	id := l.name + "." + strconv.FormatUint(l.count, 36)
	l.mu.Unlock()
	h := &hold{
		id: "hold:" + id, name: name, owner: ownerName(o.Owner), count: 1,
		lease: o.Lease, expires: time.Now().Add(o.Lease),
		lost: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
	}
	if o.Owner == "" {
		h.owner = h.id
	}
	return h
}

// again takes a hold once more for its owner, without asking Redis. While Redis is being told that the
// owner's last hold was lost, it waits for that: the owner is a new holder then.
func (l *Locker) again(ctx context.Context, name string, o lock.Options) (*held, error) {
	h, last := l.share(name, o)
	if last == nil {
		return h, nil
	}
	select {
	case <-last.gone:
		return nil, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("take lock %q: %w", name, ctx.Err())
	}
}

// share returns the owner's hold once more, or the one that the owner has just lost.
func (l *Locker) share(name string, o lock.Options) (again *held, lost *hold) {
	if o.Owner == "" {
		return nil, nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for h := range l.holds {
		if h.name != name || h.owner != ownerName(o.Owner) {
			continue
		}
		if h.ended {
			return nil, h
		}
		if time.Until(h.expires) > h.margin() {
			h.count++
			h.lease = max(h.lease, o.Lease) // from the next renewal on
			return &held{locker: l, hold: h}, nil
		}
	}
	return nil, nil
}

// ownerName keeps the names of owners apart from those of holds.
func ownerName(owner string) string { return "owner:" + owner }

// keep begins to watch over a hold, unless the locker is closed.
func (l *Locker) keep(h *hold) bool {
	soon := h.lease / 3
	l.mu.Lock()
	l.holds[h] = struct{}{}
	l.mu.Unlock()
	if l.start(func() { l.watch(h, soon) }) {
		return true
	}
	l.mu.Lock()
	delete(l.holds, h)
	l.mu.Unlock()
	return false
}

// margin is how long before the end of the lease a holder gives up that cannot renew.
func (h *hold) margin() time.Duration { return h.lease / 10 }

// watch renews a lease, soon for the first time, until the last unlock, or ends the hold whose lease cannot
// be renewed.
func (l *Locker) watch(h *hold, soon time.Duration) {
	timer := time.NewTimer(soon)
	defer timer.Stop()
	for {
		select {
		case <-h.done:
			return
		case <-l.closing:
			l.lose(h, "the locks are closed")
			return
		case <-timer.C:
		}
		next, why := l.refresh(h)
		if why != "" {
			l.lose(h, why)
			return
		}
		timer.Reset(next)
	}
}

// refresh renews a lease and returns when to do it again, or why the hold is lost.
func (l *Locker) refresh(h *hold) (next time.Duration, why string) {
	l.mu.Lock()
	lease, left, cut := h.lease, time.Until(h.expires)-h.margin(), h.cut
	l.mu.Unlock()
	if left <= 0 {
		return 0, "the lease could not be renewed in time"
	}
	if cut {
		return left, ""
	}
	before := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), min(lease/3, left))
	defer cancel()
	switch n, err := l.renew.Run(ctx, l.client, []string{l.key(h.name)}, h.id, lease.Milliseconds()).Int64(); {
	case err != nil:
		return min(lease/10, max(left-time.Since(before), 0)), ""
	case n == 0:
		return 0, "Redis does not know it any more"
	}
	l.mu.Lock()
	h.expires = before.Add(lease) // Redis counts from a little later
	l.mu.Unlock()
	return lease / 3, ""
}

// lose ends a hold before its unlock. The holder hears of it first. Then Redis does, if it has the hold
// still, so that the lock is free and the same owner is a new holder.
func (l *Locker) lose(h *hold, why string) {
	l.mu.Lock()
	ended := h.ended
	h.ended = true
	wait := min(time.Until(h.expires), patience)
	l.mu.Unlock()
	if ended {
		return // it was unlocked in the same moment
	}
	close(h.lost)
	l.logger.Warn("locks: a lock was lost", "lock", h.name, "reason", why)
	_, _ = l.giveBackWithin(h, max(wait, MinLease))
	l.mu.Lock()
	delete(l.holds, h)
	l.mu.Unlock()
	close(h.gone)
}

// giveBack releases a hold in Redis and says whether Redis knew it.
func (l *Locker) giveBack(h *hold) (bool, error) { return l.giveBackWithin(h, patience) }

func (l *Locker) giveBackWithin(h *hold, wait time.Duration) (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	n, err := l.release.Run(ctx, l.client, []string{l.key(h.name)}, h.id, l.channel(), h.name).Int64()
	return n == 1, err
}

// held is the lock.Lock of one TryLock or Lock.
type held struct {
	locker   *Locker
	hold     *hold
	unlocked bool // guarded by the locker's mutex
}

// Fence is the number of the holder.
func (h *held) Fence() int64 { return h.hold.fence }

// Lost is closed when the lease ran out or Redis lost the lock; an unlock does not close it.
func (h *held) Lost() <-chan struct{} { return h.hold.lost }

// Unlock releases the lock, even with a ctx that has ended: it waits for a second at most. A second call
// returns lock.ErrLost and changes nothing. After another error the lock is free when its lease ends.
func (h *held) Unlock(context.Context) error {
	last, err := h.unlock()
	if err != nil || !last {
		return err
	}
	switch known, err := h.locker.giveBack(h.hold); {
	case err != nil:
		return fmt.Errorf("unlock %q: %w", h.hold.name, err)
	case !known:
		return lock.ErrLost
	}
	return nil
}

// unlock counts an unlock and says whether it was the last.
func (h *held) unlock() (last bool, err error) {
	l := h.locker
	l.mu.Lock()
	defer l.mu.Unlock()
	if h.unlocked || h.hold.ended {
		return false, lock.ErrLost
	}
	h.unlocked = true
	h.hold.count--
	if h.hold.count > 0 {
		return false, nil
	}
	h.hold.ended = true
	delete(l.holds, h.hold)
	close(h.hold.done)
	return true, nil
}
