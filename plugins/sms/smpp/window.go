package smpp

import (
	"context"
	"sync"
)

// window bounds the requests under way. Its size can change while in use: a smaller one takes
// effect as requests finish.
type window struct {
	mu      sync.Mutex
	size    int
	inUse   int
	waiting []chan struct{} // one per waiter, in the order they came; closed when it has its slot
}

// take waits for a slot, until ctx or stop ends the wait.
func (w *window) take(ctx context.Context, stop <-chan struct{}) error {
	w.mu.Lock()
	if w.inUse < w.size && len(w.waiting) == 0 {
		w.inUse++
		w.mu.Unlock()
		return nil
	}
	turn := make(chan struct{})
	w.waiting = append(w.waiting, turn)
	w.mu.Unlock()

	select {
	case <-turn:
		return nil
	case <-ctx.Done():
		w.leave(turn)
		return context.Cause(ctx)
	case <-stop:
		w.leave(turn)
		return ErrClosed
	}
}

// leave gives up waiting. The slot may have been granted at the same moment: then it is passed on.
func (w *window) leave(turn chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, t := range w.waiting {
		if t == turn {
			w.waiting = append(w.waiting[:i], w.waiting[i+1:]...)
			return
		}
	}
	w.inUse--
	w.grant()
}

// give returns a slot.
func (w *window) give() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.inUse--
	w.grant()
}

// resize sets the size, at least 1.
func (w *window) resize(n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.size = max(n, 1)
	w.grant()
}

// load tells the slots in use and those waiting for one.
func (w *window) load() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.inUse + len(w.waiting)
}

func (w *window) grant() {
	for w.inUse < w.size && len(w.waiting) > 0 {
		close(w.waiting[0])
		w.waiting = w.waiting[1:]
		w.inUse++
	}
}
