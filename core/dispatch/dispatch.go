// Package dispatch brings messages from the queue to the connectors: it takes envelopes, loads their
// messages, routes each to a connector, keeps the connector's limits, claims, delivers, classifies the
// outcomes, records them, and only then acknowledges the envelope.
//
// Each channel has a feeder and a pool of its own, and each connector a bulkhead and a breaker, so that
// a slow or dead channel never slows another. A claim is durable, with its connector, before the plugin
// is called: whatever dies after that leaves a trail, and the attempt becomes uncertain, never silent.
package dispatch

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/trace"
)

// ResourceConnector and the id of a connector are the resource that limits are kept for here; each message that
// is handed over is an event.
const ResourceConnector = "connector:"

// Carrier hands messages to plugins.
type Carrier interface {
	// Deliver returns when every delivery has had exactly one result.
	Deliver(ctx context.Context, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result))
	// Query asks the provider about uncertain attempts.
	Query(ctx context.Context, connector core.ConnectorID, inquiries []core.Inquiry) ([]core.Result, error)
	// Connectors tells the state of every connector.
	Connectors() []core.ConnectorStatus
}

// Subscriber gives the envelopes of a channel.
type Subscriber interface {
	Subscribe(ctx context.Context, channel string) (queue.Subscription, error)
}

// Observer counts what happens. Its methods must be quick.
type Observer interface {
	// Outcome is called for each result that counted.
	Outcome(connector core.ConnectorID, outcome core.Outcome, status core.Status, latency time.Duration)
}

// Options are what a Dispatcher needs. All are required except those with a default.
type Options struct {
	Store   store.Dispatch
	Queue   Subscriber
	Carrier Carrier
	Limiter limit.Limiter
	// Rules returns the limits of a resource in force now; nil: none. Of a connector they count beside its
	// rate. They count ByConnector.
	Rules    func(resource string) []limit.Rule
	Traces   trace.Recorder
	Observer Observer
	// Applied is told of receipts that had waited for a message just recorded.
	Applied func([]store.Applied)
	// Settled is told of envelopes whose messages have all been taken up, before they are acknowledged.
	Settled func(envelope int64)
	Pool    pool.Options
	// Idle takes no envelopes: the dispatcher then only resolves what is uncertain.
	Idle   bool
	Logger *slog.Logger
	// Facts are for connectors that take some messages only. Nil: none does by country or account.
	Facts Facts
	// Now is the time that goes into the store; default time.Now.
	Now func() time.Time
	// Lease is how long a claim outlives the deadline of its delivery; default 30 s.
	Lease time.Duration
	// MaxAge ends the attempts for a message that was surely not sent for so long; default 72 h.
	MaxAge time.Duration
}

// Dispatcher works the channels.
type Dispatcher struct {
	o Options

	absences absences

	mu         sync.Mutex
	connectors map[core.ConnectorID]*connector
	channels   map[string]*channel
	ctx        context.Context // of Run; nil before
	running    sync.WaitGroup

	// stopping ends when Drain begins: what has not been claimed goes back to the queue.
	stopping context.Context
	stop     context.CancelFunc
}

// New returns a dispatcher without connectors; Configure names them and Run makes it work.
func New(o Options) *Dispatcher {
	if o.Lease == 0 {
		o.Lease = 30 * time.Second
	}
	if o.MaxAge == 0 {
		o.MaxAge = 72 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Facts == nil {
		o.Facts = nothing{}
	}
	stopping, stop := context.WithCancel(context.Background())
	return &Dispatcher{
		o: o, connectors: map[core.ConnectorID]*connector{}, channels: map[string]*channel{},
		stopping: stopping, stop: stop,
	}
}

// Configure sets the connectors there are. One that stays keeps its breaker and what is in flight. The
// error is that of Options.Pool, if its settings make no pool.
func (d *Dispatcher) Configure(policies []Policy) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	connectors := make(map[core.ConnectorID]*connector, len(policies))
	for _, p := range policies {
		p = p.withDefaults()
		c, known := d.connectors[p.ID]
		if !known {
			c = newConnector(p.ID)
		}
		c.configure(p)
		connectors[p.ID] = c
	}
	d.connectors = connectors
	d.refreshLocked()
	for id := range connectors {
		if err := d.ensureChannelLocked(id.Channel()); err != nil {
			return err
		}
	}
	return nil
}

// ensureChannelLocked starts the feeder and pool of a channel. A channel that loses its last connector
// keeps them: its messages wait.
func (d *Dispatcher) ensureChannelLocked(name string) error {
	ch, known := d.channels[name]
	if !known {
		var err error
		if ch, err = newChannel(d, name); err != nil {
			return err
		}
		d.channels[name] = ch
	}
	d.startLocked(ch)
	return nil
}

func (d *Dispatcher) startLocked(ch *channel) {
	if d.ctx != nil && !ch.started && !d.o.Idle {
		ch.started = true
		ctx := d.ctx
		d.running.Go(func() { ch.run(ctx) })
	}
}

// Run takes envelopes until ctx ends. Work under way goes on; Drain waits for it.
func (d *Dispatcher) Run(ctx context.Context) {
	d.mu.Lock()
	d.ctx = ctx
	d.refreshLocked() // before anything is routed or resolved by the state of a connector
	for _, ch := range d.channels {
		d.startLocked(ch)
	}
	d.mu.Unlock()
	d.watch(ctx)
	d.running.Wait()
}

// Drain waits for deliveries under way until ctx ends, then cuts them off. What has not been claimed goes
// back to the queue at once. Call it after Run returned.
func (d *Dispatcher) Drain(ctx context.Context) error {
	d.stop()
	d.mu.Lock()
	channels := make([]*channel, 0, len(d.channels))
	for _, ch := range d.channels {
		channels = append(channels, ch)
	}
	d.mu.Unlock()
	errs := make([]error, len(channels))
	var wg sync.WaitGroup
	for i, ch := range channels {
		wg.Go(func() { errs[i] = ch.stop(ctx) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Resize gives every channel's pool new settings, those of channels to come too. The error is that of
// pool.Resize.
func (d *Dispatcher) Resize(s pool.Settings) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, ch := range d.channels {
		if err := ch.pool.Resize(s); err != nil {
			return err
		}
	}
	d.o.Pool.Core, d.o.Pool.Max = s.Core, s.Max
	d.o.Pool.ScaleUp, d.o.Pool.ScaleDown = s.ScaleUp, s.ScaleDown
	d.o.Pool.QueueSize, d.o.Pool.Idle = s.QueueSize, s.Idle
	return nil
}

// Pools tells the state of each channel's pool.
func (d *Dispatcher) Pools() map[string]pool.Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	stats := make(map[string]pool.Stats, len(d.channels))
	for name, ch := range d.channels {
		stats[name] = ch.pool.Stats()
	}
	return stats
}

// watch keeps the state of the connectors current.
func (d *Dispatcher) watch(ctx context.Context) {
	t := time.NewTicker(100 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			d.mu.Lock()
			d.refreshLocked()
			d.mu.Unlock()
		}
	}
}

func (d *Dispatcher) refreshLocked() {
	for _, s := range d.o.Carrier.Connectors() {
		if c, ok := d.connectors[s.ID]; ok {
			c.observe(s)
			now := d.o.Now()
			c.divert(c.available(now), now) // so that no pause of a moment counts until somebody looks again
		}
	}
	for _, ch := range d.channels {
		ch.wake()
	}
}

func (d *Dispatcher) connector(id core.ConnectorID) (*connector, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c, ok := d.connectors[id]
	return c, ok
}

// of returns the connectors of a channel.
func (d *Dispatcher) of(channel string) []*connector {
	d.mu.Lock()
	defer d.mu.Unlock()
	var cs []*connector
	for id, c := range d.connectors {
		if id.Channel() == channel {
			cs = append(cs, c)
		}
	}
	return cs
}
