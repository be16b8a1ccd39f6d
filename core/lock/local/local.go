// Package local keeps locks in the memory of one process: between goroutines, not between instances.
//
// Waiters get a lock in the order of their coming, at the moment it is free. A watchdog renews a lock's
// lease three times in its course, for as long as the process runs. A process that stood still for longer
// than the lease, stopped or with its machine asleep, finds its locks lost, as it would with locks that
// instances share: what runs under a lock meets one behavior. The package starts no goroutine but those
// in which its timers fire.
package local

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core/lock"
)

// MinLease is the shortest lease of a lock.
const MinLease = 10 * time.Millisecond

// Locker is a lock.Locker. Several goroutines may use it.
type Locker struct {
	renews func(*hold) bool // whether a lease can be renewed now: always, except in tests

	mu    sync.Mutex
	fence int64 // of the latest holder of any name
	names map[string]*slot
}

var _ lock.Locker = (*Locker)(nil)

// New makes a locker that holds nothing. Its fences begin with the microseconds of the clock, so that
// they also grow from one process to the next.
func New() *Locker {
	return &Locker{
		renews: func(*hold) bool { return true },
		fence:  time.Now().UnixMicro(),
		names:  map[string]*slot{},
	}
}

// slot is a name that is held.
type slot struct {
	hold    *hold
	waiters []*waiter // in the order of their coming
}

// hold is the time of one holder.
type hold struct {
	owner   string
	fence   int64
	count   int // unlocks to come
	lease   time.Duration
	expires time.Time
	timer   *time.Timer
	lost    chan struct{}
}

// waiter is a Lock that found another owner.
type waiter struct {
	options lock.Options
	ready   chan *hold // has room for the one value it gets
}

// TryLock takes the lock, or again for the owner that holds it, or returns lock.ErrHeld.
func (l *Locker) TryLock(ctx context.Context, name string, o lock.Options) (lock.Lock, error) {
	if err := prepare(ctx, name, &o); err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.take(name, o)
	if h == nil {
		return nil, lock.ErrHeld
	}
	return &held{locker: l, name: name, hold: h}, nil
}

// Lock takes the lock, or again for the owner that holds it, or waits for its turn until ctx ends.
func (l *Locker) Lock(ctx context.Context, name string, o lock.Options) (lock.Lock, error) {
	if err := prepare(ctx, name, &o); err != nil {
		return nil, err
	}
	h, w := l.takeOrWait(name, o)
	if w != nil {
		select {
		case h = <-w.ready:
		case <-ctx.Done():
			if l.withdraw(name, w) {
				return nil, fmt.Errorf("wait for lock %q: %w", name, ctx.Err())
			}
			h = <-w.ready // its turn came in the same moment
		}
	}
	return &held{locker: l, name: name, hold: h}, nil
}

// prepare refuses what means nothing and fills in the defaults.
func prepare(ctx context.Context, name string, o *lock.Options) error {
	o.Lease = cmp.Or(o.Lease, lock.DefaultLease)
	switch {
	case name == "":
		return errors.New("take lock: it has no name")
	case o.Lease < MinLease:
		return fmt.Errorf("take lock %q: the lease is %v, not at least %v", name, o.Lease, MinLease)
	case ctx.Err() != nil:
		return fmt.Errorf("take lock %q: %w", name, ctx.Err())
	}
	return nil
}

func (l *Locker) takeOrWait(name string, o lock.Options) (*hold, *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if h := l.take(name, o); h != nil {
		return h, nil
	}
	w := &waiter{options: o, ready: make(chan *hold, 1)}
	s := l.names[name]
	s.waiters = append(s.waiters, w)
	return nil, w
}

// take returns a hold for the owner, or nil if another one has the name. The mutex is held here and
// below.
func (l *Locker) take(name string, o lock.Options) *hold {
	s := l.names[name]
	switch {
	case s == nil:
		s = &slot{}
		l.names[name] = s
		l.begin(name, s, o)
	case o.Owner == "" || o.Owner != s.hold.owner:
		return nil
	default:
		s.hold.count++
		s.hold.lease = max(s.hold.lease, o.Lease)
	}
	return s.hold
}

// begin gives a name to a new holder.
func (l *Locker) begin(name string, s *slot, o lock.Options) {
	l.fence++
	h := &hold{
		owner: o.Owner, fence: l.fence, count: 1,
		lease: o.Lease, expires: time.Now().Add(o.Lease), lost: make(chan struct{}),
	}
	h.timer = time.AfterFunc(h.lease/3, func() { l.watch(name, h) })
	s.hold = h
}

// end passes a name on to who waits longest, and with it to all that wait for the same owner.
func (l *Locker) end(name string, s *slot) {
	s.hold.timer.Stop()
	if len(s.waiters) == 0 {
		delete(l.names, name)
		return
	}
	first := s.waiters[0]
	l.begin(name, s, first.options)
	first.ready <- s.hold
	s.waiters = slices.DeleteFunc(s.waiters[1:], func(w *waiter) bool {
		again := w.options.Owner != "" && w.options.Owner == s.hold.owner
		if again {
			w.ready <- l.take(name, w.options)
		}
		return again
	})
}

// withdraw ends a wait, or returns false if its turn came before.
func (l *Locker) withdraw(name string, w *waiter) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.names[name]
	if s == nil {
		return false
	}
	i := slices.Index(s.waiters, w)
	if i >= 0 {
		s.waiters = slices.Delete(s.waiters, i, i+1)
	}
	return i >= 0
}

// watch renews a lease, or ends the hold whose lease ran out.
func (l *Locker) watch(name string, h *hold) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.names[name]
	if s == nil || s.hold != h {
		return // it was unlocked as the timer fired
	}
	now := time.Now()
	if !now.Before(h.expires) {
		close(h.lost)
		l.end(name, s)
		return
	}
	if l.renews(h) {
		h.expires = now.Add(h.lease)
	}
	h.timer.Reset(min(h.lease/3, h.expires.Sub(now)))
}
