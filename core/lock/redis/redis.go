// Package redis keeps locks in Redis, between the instances that share it.
//
// A watchdog renews a lock's lease three times in its course. A holder that cannot renew gives the lock up
// a tenth of the lease before Redis does, so that it knows before anybody else can have the lock. Fences
// are microseconds of the clock of Redis, and grow by one where that clock does not: they also grow when
// Redis has lost everything.
//
// Who waits is woken by a message when the lock is released. Messages can be lost, so it also asks again
// after a second, or when the holder's lease runs out. Waiters get a lock in no particular order.
//
// A script works on two keys, so this is one Redis and no cluster. A Redis that fails over may forget a
// lock that it has just given: a lock makes work rarer, never correct.
package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/lock"
)

const (
	// DefaultPrefix begins the names of all keys.
	DefaultPrefix = "pigeonry:"
	// MinLease is the shortest lease of a lock: less does not survive a busy network.
	MinLease = 100 * time.Millisecond
)

const (
	// patience is how long a release waits for Redis. The lease runs out anyway.
	patience = time.Second
	// poll is how long a waiter relies on being woken.
	poll = time.Second
	// fenceLife is how long the last fence of a name is remembered: longer than a clock is set back.
	fenceLife = 7 * 24 * time.Hour
)

// errClosed is the answer to everything after Close.
var errClosed = core.Errorf(core.KindUnavailable, "the locks are closed")

// Options of a locker.
type Options struct {
	Prefix string       // of all keys; empty: DefaultPrefix
	Logger *slog.Logger // hears of lost locks; nil: slog.Default
}

// Locker is a lock.Locker. Several goroutines may use it.
type Locker struct {
	client  *goredis.Client
	take    *goredis.Script
	renew   *goredis.Script
	release *goredis.Script
	prefix  string
	name    string // of this locker
	logger  *slog.Logger

	waits   waits
	running sync.WaitGroup
	closing chan struct{}
	listen  func() // begins to listen for releases, once

	mu     sync.Mutex
	closed bool
	holds  map[*hold]struct{}
	count  uint64 // of holds so far
}

var _ lock.Locker = (*Locker)(nil)

// New makes a locker on a client, which it does not close. The client must have ContextTimeoutEnabled, or
// a Redis that hangs makes callers wait for longer than their contexts. Redis need not be there yet.
func New(client *goredis.Client, o Options) *Locker {
	l := &Locker{
		client:  client,
		take:    goredis.NewScript(takeScript),
		renew:   goredis.NewScript(renewScript),
		release: goredis.NewScript(releaseScript),
		prefix:  cmp.Or(o.Prefix, DefaultPrefix),
		name:    strconv.FormatUint(rand.Uint64(), 36),
		logger:  cmp.Or(o.Logger, slog.Default()),
		closing: make(chan struct{}),
		holds:   map[*hold]struct{}{},
	}
	l.listen = sync.OnceFunc(func() { l.start(l.hear) })
	return l
}

// TryLock takes the lock, or again for the owner that holds it, or returns lock.ErrHeld.
func (l *Locker) TryLock(ctx context.Context, name string, o lock.Options) (lock.Lock, error) {
	if err := prepare(ctx, name, &o); err != nil {
		return nil, err
	}
	h, _, err := l.try(ctx, name, o)
	switch {
	case err != nil:
		return nil, err
	case h == nil:
		return nil, lock.ErrHeld
	}
	return h, nil
}

// Lock takes the lock, or again for the owner that holds it, or waits for it until ctx ends.
func (l *Locker) Lock(ctx context.Context, name string, o lock.Options) (lock.Lock, error) {
	if err := prepare(ctx, name, &o); err != nil {
		return nil, err
	}
	for {
		released := l.waits.begin(name) // before the try, so that no release goes unnoticed
		h, left, err := l.try(ctx, name, o)
		if err == nil && h == nil {
			l.listen()
			err = l.wait(ctx, name, released, left)
		}
		l.waits.end(name)
		if h != nil || err != nil {
			return asLock(h), err
		}
	}
}

// asLock keeps a nil from becoming an interface that is not nil.
func asLock(h *held) lock.Lock {
	if h == nil {
		return nil
	}
	return h
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

// try takes the lock, or returns nil and how long its holder's lease lasts.
func (l *Locker) try(ctx context.Context, name string, o lock.Options) (*held, time.Duration, error) {
	if h, err := l.again(ctx, name, o); h != nil || err != nil {
		return h, 0, err
	}
	h := l.newHold(name, o)
	reply, err := l.take.Run(ctx, l.client, []string{l.key(name), l.prefix + "fence:" + name},
		h.owner, h.id, h.lease.Milliseconds(), fenceLife.Milliseconds()).Int64Slice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("the answer has %d parts, want 2", len(reply))
	}
	switch {
	case err != nil:
		l.start(func() { _, _ = l.giveBack(h) }) // Redis may have given the lock without our hearing of it
		return nil, 0, fmt.Errorf("take lock %q: %w", name, err)
	case reply[0] == 0:
		return nil, time.Duration(reply[1]) * time.Millisecond, nil
	}
	h.fence = reply[1]
	if !l.keep(h) {
		_, _ = l.giveBack(h)
		return nil, 0, errClosed
	}
	return &held{locker: l, hold: h}, 0, nil
}

// wait returns when it is worth trying again, or the error that ends the wait.
func (l *Locker) wait(ctx context.Context, name string, released <-chan struct{}, left time.Duration) error {
	timer := time.NewTimer(min(max(left, 0)+time.Millisecond, poll))
	defer timer.Stop()
	select {
	case <-released:
		return nil
	case <-timer.C:
		return nil
	case <-l.closing:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("wait for lock %q: %w", name, ctx.Err())
	}
}

func (l *Locker) key(name string) string { return l.prefix + "lock:" + name }

func (l *Locker) channel() string { return l.prefix + "unlocked" }

// start runs a goroutine that Close waits for, unless the locker is closed.
func (l *Locker) start(run func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.running.Go(run)
	return true
}

// Close gives back what is held, tells its holders that it is lost, and ends the locker's goroutines.
func (l *Locker) Close() {
	l.mu.Lock()
	first := !l.closed
	l.closed = true
	l.mu.Unlock()
	if first {
		close(l.closing)
	}
	l.running.Wait()
}
