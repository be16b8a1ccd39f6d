package main

import (
	"errors"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

var errOverQuota = errors.New("more messages than agreed within a second")

// quota lets so many messages pass within any second, wherever the second begins. A nil one lets all pass.
type quota struct {
	mu     sync.Mutex
	latest []time.Time // when the last ones passed, in a ring
	next   int         // the oldest of them
}

func newQuota(n int) *quota { return &quota{latest: make([]time.Time, n)} }

// take returns how many of n messages may pass now, and when the next one may if not all do.
func (q *quota) take(now time.Time, n int) (passed int, wait time.Duration) {
	if q == nil {
		return n, 0
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range n {
		if since := now.Sub(q.latest[q.next]); since < time.Second {
			return i, time.Second - since
		}
		q.latest[q.next] = now
		q.next = (q.next + 1) % len(q.latest)
	}
	return n, 0
}

// refuse notes what found no place. The error says why, or that it could not be noted.
func (n null) refuse(ms []*sdk.Message) error {
	if err := n.refused.note(ms); err != nil {
		return err
	}
	return errOverQuota
}
