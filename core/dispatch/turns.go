package dispatch

import (
	"context"
	"slices"
	"sync"

	"github.com/pigeonry/pigeonry/core"
)

// turns lets one worker at a time ask for what a connector may send, by the weights of their lanes. Without them a
// rate that is used up would go to whoever asks at the right moment, and an urgent message would draw lots with a backlog.
type turns struct {
	mu      sync.Mutex
	taken   bool
	waiting lanes[chan struct{}]
}

// take waits for a turn until ctx ends. Whoever has got one gives it back.
func (t *turns) take(ctx context.Context, lane core.Lane) error {
	t.mu.Lock()
	if !t.taken {
		t.taken = true
		t.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	t.waiting.push(lane, turn)
	t.mu.Unlock()
	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		t.leave(lane, turn)
		return ctx.Err()
	}
}

// leave stops waiting. A turn that came meanwhile goes to the next.
func (t *turns) leave(lane core.Lane, turn chan struct{}) {
	t.mu.Lock()
	waiting := &t.waiting[lane].items
	i := slices.Index(*waiting, turn)
	if i >= 0 {
		*waiting = slices.Delete(*waiting, i, i+1)
	}
	t.mu.Unlock()
	if i < 0 {
		t.give()
	}
}

// give passes the turn on.
func (t *turns) give() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if turn, ok := t.waiting.pop(); ok {
		close(turn)
		return
	}
	t.taken = false
}
