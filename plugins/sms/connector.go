package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
	"github.com/pigeonry/pigeonry/sdk"
)

// connector is one configured use of the plugin. It runs a goroutine for each link until Close.
type connector struct {
	config   config
	statuses statusTable
	log      *slog.Logger
	health   func(sdk.HealthState, string)
	links    []*link
	binder   *binder
	pace     *pace
	inbox    *inbox
	concat   atomic.Uint32 // reference numbers of long messages

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when a link changes

	telling sync.Mutex // held while the gateway is told how the connector is

	stop  context.CancelFunc
	tasks sync.WaitGroup
}

// open starts binding and does not wait for it: an SMSC that is away must not keep a configuration
// from being taken.
func open(ctx context.Context, cfg config) (*connector, error) {
	statuses, err := newStatusTable(cfg.Statuses)
	if err != nil {
		return nil, err
	}
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	c := &connector{
		config: cfg, statuses: statuses, log: sdk.Logger(ctx), stop: stop,
		health:  func(state sdk.HealthState, message string) { sdk.SetHealth(ctx, state, message) },
		changed: make(chan struct{}), binder: newBinder(),
	}
	c.concat.Store(rand.Uint32())
	c.pace = newPace(cfg.ThrottleBackoff, cfg.Window, c.resize)
	if c.inbox, err = newInbox(cfg, c.log); err != nil {
		stop()
		return nil, err
	}
	for range cfg.Binds {
		for _, mode := range cfg.modes() {
			c.links = append(c.links, c.newLink(mode))
		}
	}
	for _, l := range c.links {
		c.tasks.Go(func() { l.run(running) })
	}
	return c, nil
}

func (c *connector) newLink(mode smpp.Mode) *link {
	client := c.config.client()
	client.Bind.Mode = mode
	client.Deliver = c.inbox.deliver
	return &link{client: client, binder: c.binder, timeout: c.config.ConnectTimeout, log: c.log, changed: c.linkChanged}
}

// linkChanged wakes those who wait for a bind and tells the gateway how the connector is.
func (c *connector) linkChanged() {
	c.mu.Lock()
	close(c.changed)
	c.changed = make(chan struct{})
	c.mu.Unlock()

	c.telling.Lock() // The last one to tell has seen the last change.
	defer c.telling.Unlock()
	up, settled, why := 0, true, error(nil)
	for _, l := range c.links {
		session, tried, err := l.state()
		settled = settled && tried
		switch {
		case session != nil:
			up++
			session.SetWindow(c.pace.size())
		case err != nil:
			why = err
		}
	}
	switch {
	case up == len(c.links):
		c.health(sdk.Serving, "")
	case up > 0:
		c.health(sdk.Degraded, fmt.Sprintf("%d of %d binds are up: %v", up, len(c.links), why))
	case settled:
		c.health(sdk.NotServing, fmt.Sprintf("not bound to the SMSC: %v", why))
	}
}

func (c *connector) change() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// resize sets the windows of all binds.
func (c *connector) resize(size int) {
	for _, l := range c.links {
		if session, _, _ := l.state(); session != nil {
			session.SetWindow(size)
		}
	}
}

// bound gives the session with the least to do. It waits for binds that are tried for the first time,
// then fails at once while none is up.
func (c *connector) bound(ctx context.Context) (*smpp.Session, error) {
	for {
		changed := c.change()
		session, settled, err := c.leastLoaded()
		if session != nil {
			return session, nil
		}
		if settled {
			return nil, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// leastLoaded looks at the links that send. settled tells that each has been tried; err why none
// is up.
func (c *connector) leastLoaded() (best *smpp.Session, settled bool, err error) {
	settled, load := true, 0
	for _, l := range c.links {
		if !l.sends() {
			continue
		}
		session, tried, why := l.state()
		settled = settled && tried
		if session != nil && session.Err() != nil { // Its link is about to notice.
			session, why = nil, session.Err()
		}
		if session == nil {
			err = why
			continue
		}
		if n := session.Load(); best == nil || n < load {
			best, load = session, n
		}
	}
	return best, settled, err
}

// Check is fine when a bind is up and the SMSC answers on it.
func (c *connector) Check(ctx context.Context) error {
	session, err := c.bound(ctx)
	if err != nil {
		return unbound(err)
	}
	var refused *smpp.StatusError
	if err := session.EnquireLink(ctx); err != nil && !errors.As(err, &refused) {
		return sdk.Retryable(err, sdk.Code("not_bound"))
	}
	return nil
}

// HandleCallback turns every request away: SMPP brings receipts over the binds. The method is there since other providers
// of the plugin have callbacks.
func (c *connector) HandleCallback(context.Context, *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) { //nolint:unparam // it is an sdk.CallbackHandler
	return &sdk.CallbackResponse{Status: http.StatusNotFound}, sdk.Events{}, nil
}

// Drain unbinds; all messages have been sent by then.
func (c *connector) Drain(ctx context.Context) error {
	c.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.tasks.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("unbind: %w", context.Cause(ctx))
	}
}

// Close unbinds and waits until every goroutine of the connector has ended, at most unbindTimeout.
func (c *connector) Close() error { //nolint:unparam // it is an io.Closer
	c.stop()
	c.tasks.Wait()
	return nil
}
