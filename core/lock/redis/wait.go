package redis

import (
	"context"
	"maps"
	"slices"
	"sync"

	goredis "github.com/redis/go-redis/v9"
)

// waits are the names that somebody waits for.
type waits struct {
	mu    sync.Mutex
	names map[string]*waiting
}

// waiting is how many wait for a name, and what wakes them.
type waiting struct {
	count    int
	released chan struct{}
}

// begin returns what is closed when the lock of a name is released. There is an end to each begin.
func (w *waits) begin(name string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.names == nil {
		w.names = map[string]*waiting{}
	}
	n := w.names[name]
	if n == nil {
		n = &waiting{released: make(chan struct{})}
		w.names[name] = n
	}
	n.count++
	return n.released
}

func (w *waits) end(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.names[name]
	if n.count--; n.count == 0 {
		delete(w.names, name)
	}
}

// wake wakes all that wait for a name now.
func (w *waits) wake(name string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := w.names[name]; n != nil {
		close(n.released)
		n.released = make(chan struct{})
	}
}

// wakeAll wakes all that wait.
func (w *waits) wakeAll() {
	w.mu.Lock()
	names := slices.Collect(maps.Keys(w.names))
	w.mu.Unlock()
	for _, name := range names {
		w.wake(name)
	}
}

// hear wakes who waits when a lock is released anywhere, until the locker is closed. The client connects
// again by itself. Messages may have been missed before, so then all are woken.
func (l *Locker) hear() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	messages := l.client.Subscribe(ctx, l.channel())
	cancel()
	defer func() { _ = messages.Close() }() // it may be closed with the client already
	heard := messages.ChannelWithSubscriptions()
	for {
		select {
		case <-l.closing:
			return
		case m := <-heard:
			if released, ok := m.(*goredis.Message); ok {
				l.waits.wake(released.Payload)
			} else {
				l.waits.wakeAll()
			}
		}
	}
}
