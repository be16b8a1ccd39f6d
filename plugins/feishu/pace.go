package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// window is a limit of the provider: so many messages in any stretch of that length.
type window struct {
	span  time.Duration
	limit int
}

// A little longer than what the provider says: requests overtake each other on the way to it.
const (
	second = 1100 * time.Millisecond
	minute = 61 * time.Second
)

// forgetAfter is how long a recipient that gets nothing is remembered.
const forgetAfter = 2 * minute

// lastMoment is how much of its time a message must have left when its turn comes after a wait.
const lastMoment = time.Second

// pacer gives each message a turn such that no window of the provider is passed: not for all messages together, and not
// for those with the same key.
type pacer struct {
	all []window
	key []window

	mu     sync.Mutex
	common pace
	byKey  map[string]*pace
	swept  time.Time
}

// pace is when messages have gone and are going to go.
type pace struct {
	turns []time.Time // in order
	until time.Time   // nothing goes before
}

func newPacer(all, key []window) *pacer {
	return &pacer{all: all, key: key, byKey: map[string]*pace{}}
}

// wait returns when a message with that key may go. A message whose turn does not come before last, or before ctx ends,
// is throttled: it gives up its place, and the error says when there would have been one.
func (p *pacer) wait(ctx context.Context, key string, last time.Time) error {
	if deadline, ok := ctx.Deadline(); ok && (last.IsZero() || deadline.Before(last)) {
		last = deadline
	}
	now := time.Now()
	turn, ok := p.reserve(key, now, last)
	pause := turn.Sub(now)
	if !ok {
		return sdk.Throttled(fmt.Errorf("the provider's rate allows this message in %s, which is too late for it", pause.Round(time.Millisecond)), pause)
	}
	if pause <= 0 {
		return nil
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return sdk.Retryable(fmt.Errorf("wait for a turn: %w", context.Cause(ctx)), sdk.Code(sdk.CodeNotStarted))
	}
}

// reserve finds the next turn and takes it, unless there is too little time left then.
func (p *pacer) reserve(key string, now, last time.Time) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sweep(now)
	own := p.of(key)
	turn := now
	for {
		t := own.next(p.key, p.common.next(p.all, turn))
		if t.Equal(turn) {
			break
		}
		turn = t
	}
	if turn.After(now) && !last.IsZero() && last.Sub(turn) < lastMoment {
		return turn, false
	}
	own.take(turn, now)
	if len(p.all) > 0 {
		p.common.take(turn, now)
	}
	return turn, true
}

// pause lets no message with that key go for a while, because the provider said so. An empty key stops all.
func (p *pacer) pause(key string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	until := time.Now().Add(d)
	at := &p.common
	if key != "" {
		at = p.of(key)
	}
	if until.After(at.until) {
		at.until = until
	}
}

func (p *pacer) of(key string) *pace {
	own, ok := p.byKey[key]
	if !ok {
		own = &pace{}
		p.byKey[key] = own
	}
	return own
}

// sweep forgets recipients that have had nothing for a while.
func (p *pacer) sweep(now time.Time) {
	if now.Sub(p.swept) < forgetAfter {
		return
	}
	p.swept = now
	for key, own := range p.byKey {
		if now.After(own.until) && (len(own.turns) == 0 || now.Sub(own.turns[len(own.turns)-1]) > forgetAfter) {
			delete(p.byKey, key)
		}
	}
}

// next is the first time from t on at which one more message passes no window.
func (p *pace) next(windows []window, t time.Time) time.Time {
	if p.until.After(t) {
		t = p.until
	}
	for {
		before := t
		for _, w := range windows {
			t = p.fit(w, t)
		}
		if t.Equal(before) {
			return t
		}
	}
}

// fit moves t to where limit+1 messages in a row, with one at t among them, take at least the span of w. Messages with a
// later turn may be there already: those of others who wait.
func (p *pace) fit(w window, t time.Time) time.Time {
	for {
		at, _ := slices.BinarySearchFunc(p.turns, t, func(turn, t time.Time) int {
			if turn.After(t) {
				return 1
			}
			return -1 // also what is equal stands before t
		})
		moved := t
		for first := max(0, at-w.limit); first < at; first++ {
			end := t // the last of the row that begins with first
			if first+w.limit > at {
				if first+w.limit > len(p.turns) {
					break
				}
				end = p.turns[first+w.limit-1]
			}
			if end.Sub(p.turns[first]) < w.span && p.turns[first].Add(w.span).After(moved) {
				moved = p.turns[first].Add(w.span)
			}
		}
		if at+w.limit <= len(p.turns) && p.turns[at+w.limit-1].Sub(t) < w.span && p.turns[at].After(moved) {
			moved = p.turns[at]
		}
		if moved.Equal(t) {
			return t
		}
		t = moved
	}
}

// take notes a turn, and forgets those that count no more.
func (p *pace) take(turn, now time.Time) {
	gone := 0
	for gone < len(p.turns) && now.Sub(p.turns[gone]) > minute {
		gone++
	}
	p.turns = slices.Delete(p.turns, 0, gone)
	at, _ := slices.BinarySearchFunc(p.turns, turn, func(other, turn time.Time) int {
		if other.After(turn) {
			return 1
		}
		return -1
	})
	p.turns = slices.Insert(p.turns, at, turn)
}
