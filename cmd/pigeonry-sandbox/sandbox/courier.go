package sandbox

import (
	"container/heap"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

const (
	// receiptPatience is how long a receipt waits for somebody to take it.
	receiptPatience = 10 * time.Minute
	// receiptPause passes before a refused receipt is offered again.
	receiptPause = time.Second
	// receiptTimeout bounds one offer.
	receiptTimeout = 10 * time.Second
	// receiptOffers bounds how many receipts are offered at a time.
	receiptOffers = 500
)

// receipt is one deliver_sm that is due at a time.
type receipt struct {
	due     time.Time
	message *smpp.ShortMessage
	// until is when the sandbox gives up; set at the first offer.
	until time.Time
}

// courier brings the receipts of one system id to whichever of its sessions can receive.
type courier struct {
	log    *slog.Logger
	quit   chan struct{}  // closed by stop
	offers chan struct{}  // a slot for each receipt being offered
	wake   chan struct{}  // a receipt or a session has come
	flying sync.WaitGroup // offers under way

	mu       sync.Mutex
	pending  receiptHeap
	sessions []*smpp.Session
	turn     int
}

func newCourier(log *slog.Logger) *courier {
	return &courier{
		log: log, quit: make(chan struct{}),
		offers: make(chan struct{}, receiptOffers), wake: make(chan struct{}, 1),
	}
}

// stop ends run; it is called once.
func (c *courier) stop() { close(c.quit) }

// join adds a session that may receive.
func (c *courier) join(s *smpp.Session) {
	if s.Mode() == smpp.Transmitter {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = append(c.sessions, s)
	c.signal()
}

// leave removes a session that has ended.
func (c *courier) leave(s *smpp.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sessions = slices.DeleteFunc(c.sessions, func(other *smpp.Session) bool { return other == s })
}

// schedule takes a receipt that is due later.
func (c *courier) schedule(r *receipt) {
	c.mu.Lock()
	defer c.mu.Unlock()
	heap.Push(&c.pending, r)
	if c.pending[0] == r { // otherwise the courier wakes up early enough by itself
		c.signal()
	}
}

func (c *courier) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// run offers what is due until stop, then waits for the offers under way.
func (c *courier) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer c.flying.Wait()
	defer cancel()
	for {
		r, session, wait := c.next(time.Now())
		if r == nil {
			if !c.sleep(wait) {
				return
			}
			continue
		}
		select {
		case c.offers <- struct{}{}:
		case <-c.quit:
			return
		}
		c.flying.Go(func() {
			defer func() { <-c.offers }()
			c.offer(ctx, r, session)
		})
	}
}

// next returns a receipt that is due and a session for it, or how long to sleep.
func (c *courier) next(now time.Time) (*receipt, *smpp.Session, time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.pending) == 0 {
		return nil, nil, time.Hour
	}
	if wait := c.pending[0].due.Sub(now); wait > 0 {
		return nil, nil, wait
	}
	if len(c.sessions) == 0 {
		c.forget(now)
		return nil, nil, time.Minute
	}
	c.turn++
	r := c.pending[0]
	heap.Pop(&c.pending)
	return r, c.sessions[c.turn%len(c.sessions)], 0
}

// forget drops receipts that waited too long for a bind; the caller holds the lock.
func (c *courier) forget(now time.Time) {
	for len(c.pending) > 0 && now.Sub(c.pending[0].due) > receiptPatience {
		heap.Pop(&c.pending)
	}
}

// sleep reports false when the courier is told to stop.
func (c *courier) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-c.wake:
	case <-c.quit:
		return false
	}
	return true
}

// offer hands a receipt to a session. One that is not taken is offered again later: a client that
// cannot store it now says so with a status.
func (c *courier) offer(running context.Context, r *receipt, session *smpp.Session) {
	ctx, cancel := context.WithTimeout(running, receiptTimeout)
	defer cancel()
	err := session.Deliver(ctx, r.message)
	if err == nil || running.Err() != nil {
		return
	}
	now := time.Now()
	if r.until.IsZero() {
		r.until = now.Add(receiptPatience)
	}
	if now.After(r.until) {
		c.log.WarnContext(ctx, "receipt given up: nobody took it", "to", r.message.Dest.Addr, "error", err)
		return
	}
	r.due = now.Add(receiptPause)
	c.schedule(r)
}

// receiptHeap orders receipts by the time they are due (container/heap).
type receiptHeap []*receipt //nolint:recvcheck // as container/heap asks for

// Len implements sort.Interface.
func (h receiptHeap) Len() int { return len(h) }

// Less implements sort.Interface.
func (h receiptHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }

// Swap implements sort.Interface.
func (h receiptHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }

// Push implements heap.Interface.
func (h *receiptHeap) Push(x any) {
	if r, ok := x.(*receipt); ok {
		*h = append(*h, r)
	}
}

// Pop implements heap.Interface.
func (h *receiptHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return last
}
