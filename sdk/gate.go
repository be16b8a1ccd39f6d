package sdk

import "sync/atomic"

// gate counts what is in flight, and shuts when the plugin drains.
//
// An item is in flight until its result is streamed, and as long as the author's code has it: when
// the gateway is gone nobody waits for the result, yet the message shall be finished.
type gate struct {
	unanswered atomic.Int64
	working    atomic.Int64
	isShut     atomic.Bool
	changed    broadcast // notified once the gate is shut; nobody watches an open one
}

// enter takes n items; false means that the gate is shut.
func (g *gate) enter(n int) bool {
	g.unanswered.Add(int64(n))
	if g.isShut.Load() { // looked at after the count: shut looks at them the other way round
		g.leave(n)
		return false
	}
	return true
}

// leave counts n items as answered.
func (g *gate) leave(n int) { g.lower(&g.unanswered, n) }

// begin and end count n items that the author's code has.
func (g *gate) begin(n int) { g.working.Add(int64(n)) }
func (g *gate) end(n int)   { g.lower(&g.working, n) }

func (g *gate) lower(count *atomic.Int64, n int) {
	if n == 0 {
		return
	}
	count.Add(-int64(n))
	if g.isShut.Load() {
		g.changed.notify()
	}
}

// shut lets no more items in.
func (g *gate) shut() {
	g.isShut.Store(true)
	g.changed.notify()
}

func (g *gate) closed() bool { return g.isShut.Load() }

func (g *gate) inFlight() int {
	return int(max(g.unanswered.Load(), g.working.Load()))
}
