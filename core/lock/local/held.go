package local

import (
	"context"

	"github.com/pigeonry/pigeonry/core/lock"
)

// held is the lock.Lock of one TryLock or Lock. Several may share a hold: those of one owner.
type held struct {
	locker   *Locker
	name     string
	hold     *hold
	unlocked bool // guarded by the locker's mutex
}

// Fence is the number of the holder.
func (h *held) Fence() int64 { return h.hold.fence }

// Lost is closed when the lease ran out; an unlock does not close it.
func (h *held) Lost() <-chan struct{} { return h.hold.lost }

// Unlock releases the lock, even with a ctx that has ended, as nothing waits. A second call returns
// lock.ErrLost and changes nothing.
func (h *held) Unlock(context.Context) error {
	l := h.locker
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.names[h.name]
	if h.unlocked || s == nil || s.hold != h.hold {
		return lock.ErrLost
	}
	h.unlocked = true
	h.hold.count--
	if h.hold.count == 0 {
		l.end(h.name, s)
	}
	return nil
}
