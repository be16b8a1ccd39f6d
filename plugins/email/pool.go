package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// probeAfter is how long a connection may lie idle before it is asked whether it still stands.
const probeAfter = 10 * time.Second

// pool keeps the connections of a connector. One goroutine of its own ends those that lie idle for
// too long; close stops it and waits.
type pool struct {
	config *config
	slots  chan struct{} // one for each connection in use

	mu     sync.Mutex
	idle   []*session // the one used last is last
	closed bool

	stop    chan struct{}
	janitor sync.WaitGroup
}

func newPool(c *config) *pool {
	p := &pool{config: c, slots: make(chan struct{}, c.MaxConnections), stop: make(chan struct{})}
	p.janitor.Go(p.sweepLoop)
	return p
}

// get returns a connection, an idle one unless fresh is asked for, and waits for a free one. reused
// tells that it has been used before: the server may have closed it meanwhile.
func (p *pool) get(ctx context.Context, fresh bool) (s *session, reused bool, err error) {
	select {
	case p.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, false, fail(stageConnect, fmt.Errorf("no connection became free in time: %w", context.Cause(ctx)))
	}
	for !fresh {
		s := p.pop()
		if s == nil {
			break
		}
		if time.Since(s.idleSince) < probeAfter || s.alive(ctx) {
			return s, true, nil
		}
		_ = s.conn.Close()
	}
	s, err = dial(ctx, p.config)
	if err != nil {
		<-p.slots
		return nil, false, err
	}
	return s, false, nil
}

// put takes a connection back; one that is of no more use is closed.
func (p *pool) put(s *session, usable bool) {
	defer func() { <-p.slots }()
	if !usable {
		_ = s.conn.Close()
		return
	}
	if s.sent >= p.config.MessagesPerConnection || !p.push(s) {
		s.close()
	}
}

func (p *pool) pop() *session {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.idle) == 0 {
		return nil
	}
	last := len(p.idle) - 1
	s := p.idle[last]
	p.idle = p.idle[:last]
	return s
}

func (p *pool) push(s *session) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	s.idleSince = time.Now()
	p.idle = append(p.idle, s)
	return true
}

// sweepLoop ends connections that nobody needed for a while.
func (p *pool) sweepLoop() {
	tick := time.NewTicker(max(p.config.IdleTimeout/2, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for _, s := range p.take(time.Now().Add(-p.config.IdleTimeout)) {
				s.close()
			}
		case <-p.stop:
			return
		}
	}
}

// take removes the connections that have been idle since before a time: the oldest come first.
func (p *pool) take(before time.Time) []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.idle) && p.idle[n].idleSince.Before(before) {
		n++
	}
	old := append([]*session(nil), p.idle[:n]...)
	p.idle = append(p.idle[:0], p.idle[n:]...)
	return old
}

// close ends all idle connections; those in use end when they are put back.
func (p *pool) close() {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.closed = true
	idle := p.idle
	p.idle = nil
	p.mu.Unlock()
	close(p.stop)
	p.janitor.Wait()
	var goodbyes sync.WaitGroup
	for _, s := range idle {
		goodbyes.Go(s.close)
	}
	goodbyes.Wait()
}
