package sandbox

import (
	"container/heap"
	"time"
)

// dated is something that is due at a time.
type dated interface{ dueAt() time.Time }

// agenda has what is due, the earliest first.
type agenda[T dated] struct{ items dueHeap[T] }

func (a *agenda[T]) len() int { return len(a.items) }

// first returns what is due first; there must be something.
func (a *agenda[T]) first() T { return a.items[0] }

// add reports whether nothing is due before item.
func (a *agenda[T]) add(item T) bool {
	heap.Push(&a.items, item)
	return !a.items[0].dueAt().Before(item.dueAt())
}

// take removes what is due first.
func (a *agenda[T]) take() T {
	item := a.items[0]
	heap.Pop(&a.items)
	return item
}

// dueHeap orders by the time at which things are due (container/heap).
type dueHeap[T dated] []T //nolint:recvcheck // as container/heap asks for

// Len implements sort.Interface.
func (h dueHeap[T]) Len() int { return len(h) }

// Less implements sort.Interface.
func (h dueHeap[T]) Less(i, j int) bool { return h[i].dueAt().Before(h[j].dueAt()) }

// Swap implements sort.Interface.
func (h dueHeap[T]) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *dueHeap[T]) Push(x any) {
	if item, ok := x.(T); ok {
		*h = append(*h, item)
	}
}

// Pop implements heap.Interface.
func (h *dueHeap[T]) Pop() any {
	old := *h
	last := old[len(old)-1]
	var none T
	old[len(old)-1] = none
	*h = old[:len(old)-1]
	return last
}

// bell wakes one who sleeps until the next thing is due.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// sleep returns when the time is over or the bell rings, and reports false once quit is closed.
func (b bell) sleep(d time.Duration, quit <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-b:
	case <-quit:
		return false
	}
	return true
}
