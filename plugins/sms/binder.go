package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// Pauses between two attempts to bind: the first, and the longest. Each is drawn at random from its upper half, so that
// many gateways do not come back at the same moment.
const (
	firstRebind = 500 * time.Millisecond
	lastRebind  = 30 * time.Second
	// throttledRebind is the least pause after an SMSC that has too much to do refused a bind.
	throttledRebind = 5 * time.Second
	// steady is how long a session must have lived for the pauses to begin anew.
	steady = 10 * time.Second
)

// binder lets the links of a connector bind one after the other, and after a failure lets all of them wait, longer each
// time: however many binds there are, an SMSC that comes back meets one attempt and not a storm.
type binder struct {
	turn chan struct{} // holds a token while nobody binds

	mu    sync.Mutex
	pause time.Duration // before the next attempt, when the last one failed
	until time.Time     // nobody binds before
	err   error         // why the last attempt failed; nil after one that did not
}

func newBinder() *binder {
	b := &binder{turn: make(chan struct{}, 1), pause: firstRebind}
	b.turn <- struct{}{}
	return b
}

// bind calls dial when it is this caller's turn and the pause is over.
func (b *binder) bind(ctx context.Context, dial func(context.Context) (*smpp.Session, error)) (*smpp.Session, error) {
	select {
	case <-b.turn:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { b.turn <- struct{}{} }()
	if err := sleep(ctx, time.Until(b.notBefore())); err != nil {
		return nil, err
	}
	session, err := dial(ctx)
	switch {
	case err == nil:
		b.bound()
	case ctx.Err() == nil:
		b.failed(err)
	}
	return session, err
}

func (b *binder) notBefore() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.until
}

func (b *binder) bound() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err, b.until = nil, time.Time{}
}

// failed begins a pause that fits err. Repeated wrong passwords lock accounts: after one the pause is the longest.
func (b *binder) failed(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.err = err
	if refused, ok := errors.AsType[*smpp.StatusError](err); ok {
		switch {
		case isCredentialFault(refused.Status):
			b.pause = lastRebind
		case refused.Status == smpp.StatusThrottled || refused.Status == smpp.StatusQueueFull:
			b.pause = max(b.pause, throttledRebind)
		}
	}
	b.wait()
}

// ended begins a pause after a session that lived for a while.
func (b *binder) ended(lived time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if lived >= steady {
		b.pause = firstRebind
	}
	b.wait()
}

// wait sets when the next attempt may be, with mu held. Sessions that end together make one pause.
func (b *binder) wait() {
	now := time.Now()
	if now.Before(b.until) && b.err == nil {
		return
	}
	b.until = now.Add(b.pause/2 + rand.N(b.pause/2))
	b.pause = min(2*b.pause, lastRebind)
}

// problem is why the last attempt of any link failed.
func (b *binder) problem() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}
