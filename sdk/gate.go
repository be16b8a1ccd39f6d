package sdk

import "sync"

// gate counts the items that were taken and have no result yet, and shuts when the plugin drains.
type gate struct {
	mu      sync.Mutex
	n       int
	isShut  bool
	changed broadcast
}

// enter takes n items; false means that the gate is shut.
func (g *gate) enter(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isShut {
		return false
	}
	g.n += n
	return true
}

// leave counts n items as answered.
func (g *gate) leave(n int) {
	if n == 0 {
		return
	}
	g.mu.Lock()
	g.n -= n
	shut := g.isShut
	g.mu.Unlock()
	if shut { // nobody watches an open gate
		g.changed.notify()
	}
}

// shut lets no more items in.
func (g *gate) shut() {
	g.mu.Lock()
	g.isShut = true
	g.mu.Unlock()
	g.changed.notify()
}

func (g *gate) closed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.isShut
}

func (g *gate) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.n
}
