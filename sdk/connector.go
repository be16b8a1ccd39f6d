package sdk

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
)

// entry is the place of one connector id. Its current connector is replaced as a whole.
type entry struct {
	lock    chan struct{} // held while the id is being configured or removed; a channel obeys ctx
	current atomic.Pointer[connector]
	// callbackURL is where the gateway takes the provider's requests, as it said with the latest config; nil: it did not.
	callbackURL atomic.Pointer[string]
}

func (s *Server) entry(id string) *entry {
	if e, ok := s.entries.Load(id); ok {
		return e.(*entry) //nolint:forcetypeassert // entries holds nothing else
	}
	e, _ := s.entries.LoadOrStore(id, &entry{lock: make(chan struct{}, 1)})
	return e.(*entry) //nolint:forcetypeassert // entries holds nothing else
}

func (s *Server) allEntries() []*entry {
	var out []*entry
	s.entries.Range(func(_, e any) bool {
		out = append(out, e.(*entry)) //nolint:forcetypeassert // entries holds nothing else
		return true
	})
	return out
}

func (s *Server) currentConnectors() []*connector {
	var out []*connector
	for _, e := range s.allEntries() {
		if c := e.current.Load(); c != nil {
			out = append(out, c)
		}
	}
	return out
}

// connector is one opened configuration. It lives until it is retired and its last use has ended.
type connector struct {
	id       string
	revision int64
	config   []byte
	callback string // URL
	server   *Server
	sender   Sender
	batch    BatchSender // the sender, when it sends batches
	health   *healthSlot

	tasks chan task           // hands items to the workers of a Sender
	slots *semaphore.Weighted // bounds the items in flight of a BatchSender
	limit int                 // items in flight

	mu       sync.Mutex
	uses     int // calls of the author's code that are running or about to
	workers  int
	retired  bool
	idle     chan struct{} // closed when retired and unused: the workers stop, Close may run
	receiver *receiving    // nil: Receive does not run
}

func newConnector(s *Server, id string, revision int64, config []byte, sender Sender) *connector {
	c := &connector{
		id: id, revision: revision, config: config, server: s, sender: sender,
		limit: s.plugin.limits.maxInFlight(sender),
		tasks: make(chan task), idle: make(chan struct{}),
	}
	c.batch, _ = sender.(BatchSender)
	c.slots = semaphore.NewWeighted(int64(c.limit))
	return c
}

// acquire returns the connector with that id, in use until release; nil when there is none.
func (s *Server) acquire(id string) *connector {
	v, ok := s.entries.Load(id)
	if !ok {
		return nil
	}
	// A connector retired between Load and use has a successor: look again.
	for {
		c := v.(*entry).current.Load() //nolint:forcetypeassert // entries holds nothing else
		if c == nil || c.use() {
			return c
		}
	}
}

// use tells whether the connector may still be used, and keeps it open until release.
func (c *connector) use() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired {
		return false
	}
	c.uses++
	return true
}

// again counts one more use by somebody who holds one.
func (c *connector) again() {
	c.mu.Lock()
	c.uses++
	c.mu.Unlock()
}

func (c *connector) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.uses--
	c.closeIfIdle()
}

func (c *connector) closeIfIdle() {
	if c.retired && c.uses == 0 {
		close(c.idle)
	}
}

// retire closes the connector once its last use has ended, or leaves it open when ctx ends first:
// a provider's connection must not be pulled from under a Send that ignores its ctx.
func (c *connector) retire(ctx context.Context) {
	c.mu.Lock()
	c.retired = true // first: from here on no receiver starts
	c.closeIfIdle()
	c.mu.Unlock()
	c.stopReceiver(ctx)
	select {
	case <-c.idle:
	case <-ctx.Done():
		return
	}
	closer, ok := c.sender.(io.Closer)
	if !ok {
		return
	}
	if err := c.server.guard("Close", closer.Close); err != nil {
		c.server.log.Warn("close connector", "connector", c.id, "error", err.Error())
	}
}

// task is one item of a batch for a worker.
type task struct {
	b *batch
	i int
}

// hand gives t to a worker that waits, or to a new one while there may be more of them. It does not
// wait: false means that all workers are busy.
func (c *connector) hand(t task) bool {
	select {
	case c.tasks <- t:
		return true
	default:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.workers >= c.limit {
		return false
	}
	c.workers++
	c.server.background.Go(func() { c.work(t) })
	return true
}

// work sends items until the connector is idle for good.
func (c *connector) work(t task) {
	defer func() { // also when Send ends the goroutine (runtime.Goexit)
		c.mu.Lock()
		c.workers--
		c.mu.Unlock()
	}()
	for {
		t.b.sendOne(t.i)
		select {
		case t = <-c.tasks:
		case <-c.idle:
			return
		}
	}
}

// send calls the author's Send; a panic becomes its error.
func (c *connector) send(ctx context.Context, m *Message) (r Receipt, err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.panicked("Send", v)
		}
	}()
	return c.sender.Send(ctx, m)
}

// sendBatch calls the author's SendBatch; a panic becomes its error.
func (c *connector) sendBatch(ctx context.Context, ms []*Message, report func(int, Receipt, error)) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = c.panicked("SendBatch", v)
		}
	}()
	c.batch.SendBatch(ctx, ms, report)
	return nil
}

func (c *connector) panicked(what string, v any) error {
	return Uncertain(c.server.panicked(what, v), Code(CodePanic), Blame(FaultPlugin))
}

// stopReceiver ends Receive and waits for it, at most for stopReceiveTimeout.
func (c *connector) stopReceiver(ctx context.Context) {
	c.mu.Lock()
	r := c.receiver
	c.receiver = nil
	c.mu.Unlock()
	if r == nil {
		return
	}
	r.cancel()
	timer := time.NewTimer(stopReceiveTimeout)
	defer timer.Stop()
	select {
	case <-r.done:
	case <-ctx.Done():
	case <-timer.C:
		c.server.log.Warn("ctx of Receive has ended, yet it goes on", "connector", c.id,
			"after", stopReceiveTimeout.String())
	}
}
