// Package lock declares locks between goroutines and instances: simple and reentrant, leased, with a
// fencing number. A technology lives in a subfolder and passes locktest. A lock makes work rarer, never
// correct: what must not happen twice is decided by a condition in the store.
package lock

import (
	"context"
	"errors"
	"time"
)

// ErrHeld says that another owner holds the lock.
var ErrHeld = errors.New("lock is held by another owner")

// ErrLost says that the lease ran out before it was renewed.
var ErrLost = errors.New("lock was lost")

// DefaultLease is the lease of a lock whose Options give none.
const DefaultLease = 30 * time.Second

// Locker takes locks by name.
type Locker interface {
	// TryLock takes the lock or returns ErrHeld at once.
	TryLock(ctx context.Context, name string, o Options) (Lock, error)
	// Lock waits until it has the lock or ctx ends. Waiters are woken when the lock is released.
	Lock(ctx context.Context, name string, o Options) (Lock, error)
}

// Options of a lock.
type Options struct {
	// Lease is how long the lock outlives a holder that is gone; it is renewed while the holder lives.
	// 0 is DefaultLease.
	Lease time.Duration
	// Owner makes the lock reentrant: the same owner may take it again and must unlock it as often.
	// Empty: a new owner each time.
	Owner string
}

// Lock is a lock that is held.
type Lock interface {
	// Fence grows with each new holder of the name. Hand it to what the lock protects, which refuses a
	// smaller one than it has seen.
	Fence() int64
	// Lost is closed when the lease ran out under the holder.
	Lost() <-chan struct{}
	// Unlock releases the lock. It returns ErrLost if it was not held any more.
	Unlock(ctx context.Context) error
}
