package local

// places counts events that are under way.
type places struct {
	lease       int64
	held        int
	first, last *place // in the order of their lapse, as all have the same lease
}

// place is what one request holds.
type place struct {
	n          int
	lapses     int64
	prev, next *place
	gone       bool // given back or lapsed
}

// askAgain is the longest wait for a place that is worth naming: one may be released at any time.
const askAgain = second / 10

func (p *places) take(now int64, limit float64, n int) (taken, int64) {
	for p.first != nil && p.first.lapses <= now {
		p.remove(p.first)
	}
	if float64(n) > limit {
		return taken{}, never
	}
	if float64(p.held+n) > limit {
		return taken{}, min(p.first.lapses-now, askAgain)
	}
	held := &place{n: n, lapses: now + p.lease, prev: p.last}
	if p.last == nil {
		p.first = held
	} else {
		p.last.next = held
	}
	p.last = held
	p.held += n
	return taken{place: held}, 0
}

// giveBack frees a place unless it has lapsed.
func (p *places) giveBack(t taken) {
	if !t.place.gone {
		p.remove(t.place)
	}
}

func (p *places) remove(held *place) {
	if held.prev == nil {
		p.first = held.next
	} else {
		held.prev.next = held.next
	}
	if held.next == nil {
		p.last = held.prev
	} else {
		held.next.prev = held.prev
	}
	held.gone = true
	p.held -= held.n
}

func (p *places) idleAt() int64 {
	if p.last == nil {
		return 0
	}
	return p.last.lapses
}
