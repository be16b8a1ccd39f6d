package sandbox

import (
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

func (r *receipt) dueAt() time.Time { return r.due }

// courier brings the receipts of one system id to whichever of its sessions can receive.
type courier struct {
	log    *slog.Logger
	quit   chan struct{}  // closed by stop
	offers chan struct{}  // a slot for each receipt being offered
	wake   bell           // a receipt or a session has come
	flying sync.WaitGroup // offers under way

	mu       sync.Mutex
	pending  agenda[*receipt]
	sessions []*smpp.Session
	turn     int
}

func newCourier(log *slog.Logger) *courier {
	return &courier{
		log: log, quit: make(chan struct{}),
		offers: make(chan struct{}, receiptOffers), wake: newBell(),
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
	c.wake.ring()
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
	if c.pending.add(r) { // otherwise the courier wakes up early enough by itself
		c.wake.ring()
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
			if !c.wake.sleep(wait, c.quit) {
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
	if c.pending.len() == 0 {
		return nil, nil, time.Hour
	}
	if wait := c.pending.first().due.Sub(now); wait > 0 {
		return nil, nil, wait
	}
	if len(c.sessions) == 0 {
		c.forget(now)
		return nil, nil, time.Minute
	}
	c.turn++
	return c.pending.take(), c.sessions[c.turn%len(c.sessions)], 0
}

// forget drops receipts that waited too long for a bind; the caller holds the lock.
func (c *courier) forget(now time.Time) {
	for c.pending.len() > 0 && now.Sub(c.pending.first().due) > receiptPatience {
		c.pending.take()
	}
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
