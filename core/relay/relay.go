// Package relay moves what is committed from the store to the queue: envelopes fresh from the group
// commit, schedules and retries that fall due, and whatever a crash or a lost queue left behind. Every
// instance may run one; none leads. Publishing an envelope twice is harmless, as the claim decides.
package relay

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/store"
)

// Resolver decides what becomes of messages whose attempt ended unseen.
type Resolver interface {
	Resolve(ctx context.Context, lapsed []store.Lapsed)
}

// Index is the queue as the relay sees it.
type Index interface {
	queue.Publisher
	Generation(ctx context.Context) (string, error)
}

// Options are what a Relay needs. All are required except those with a default.
type Options struct {
	Outbox   store.Outbox
	Sweep    store.Sweep
	Index    Index
	Resolver Resolver
	Logger   *slog.Logger
	// Overdue is the age at which an envelope in the outbox counts as forgotten; default 5 s. It must
	// be well above flushEvery.
	Overdue time.Duration
	// Lease is how long a lapsed message is the resolver's alone; default 60 s.
	Lease time.Duration
	// UnmatchedTTL is how long a receipt waits for its message; default 72 h.
	UnmatchedTTL time.Duration
}

const (
	// handover bounds the commits that wait for the publisher; what does not fit is found by the sweep.
	handover = 1024
	// flushEvery is how long confirmed envelopes stay in the outbox, so that one write clears many.
	flushEvery = time.Second
	// flushAt is the number of confirmed envelopes that are cleared without waiting.
	flushAt = 2000
	// wakeLimit is how many due messages one sweep handles.
	wakeLimit = 2000
	// resolving bounds the calls of the resolver at a time. Messages beyond it are due again after their lease.
	resolving = 16
	// errorPause is the wait after the store refused to wake.
	errorPause = time.Second
	// page is how many envelopes or messages one look at the outbox or a requeue takes.
	page = 5000
	// publishTimeout bounds one call to the queue, storeTimeout one to the store.
	publishTimeout = 10 * time.Second
	storeTimeout   = 30 * time.Second
)

// Relay publishes and sweeps.
type Relay struct {
	o       Options
	fresh   chan []core.Envelope
	publish publisher

	resolvers sync.WaitGroup
	places    chan struct{} // one for each call of the resolver
}

// New returns a relay; Run makes it work.
func New(o Options) *Relay {
	if o.Overdue == 0 {
		o.Overdue = 5 * time.Second
	}
	if o.Lease == 0 {
		o.Lease = time.Minute
	}
	if o.UnmatchedTTL == 0 {
		o.UnmatchedTTL = 72 * time.Hour
	}
	r := &Relay{o: o, fresh: make(chan []core.Envelope, handover), places: make(chan struct{}, resolving)}
	r.publish = publisher{index: o.Index, outbox: o.Outbox, logger: o.Logger}
	return r
}

// Publish hands over the envelopes of a commit. It never blocks: what finds no room stays in the outbox,
// where the sweep finds it.
func (r *Relay) Publish(envelopes []core.Envelope) {
	if len(envelopes) == 0 {
		return
	}
	select {
	case r.fresh <- envelopes:
	default:
	}
}

// Run publishes and sweeps until ctx ends, then publishes what was handed over and returns.
func (r *Relay) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.runPublisher(ctx) })
	wg.Go(func() { r.every(ctx, r.o.Overdue/2, "sweep the outbox", r.sweepOutbox) })
	wg.Go(func() { r.every(ctx, time.Minute, "purge", r.purge) })
	wg.Go(func() { r.watchGeneration(ctx) })
	wg.Go(func() { r.wake(ctx) })
	wg.Wait()
	r.resolvers.Wait()
	r.lastPublish()
}

// every runs a task at an interval until ctx ends. A task that fails is logged and tried again.
func (r *Relay) every(ctx context.Context, interval time.Duration, what string, task func(context.Context) error) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if err := task(ctx); err != nil && ctx.Err() == nil {
			r.o.Logger.ErrorContext(ctx, "relay: cannot "+what, "error", err)
		}
	}
}

func (r *Relay) runPublisher(ctx context.Context) {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case envelopes := <-r.fresh:
			r.publish.publish(ctx, r.gather(envelopes))
		case <-flush.C:
			r.publish.flushOrLog(ctx)
		}
	}
}

// gather adds what else has been handed over.
func (r *Relay) gather(envelopes []core.Envelope) []core.Envelope {
	for len(envelopes) < flushAt {
		select {
		case more := <-r.fresh:
			envelopes = append(slices.Clip(envelopes), more...)
		default:
			return envelopes
		}
	}
	return envelopes
}

// lastPublish hands over what was committed while the relay was told to end.
func (r *Relay) lastPublish() {
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	select {
	case envelopes := <-r.fresh:
		r.publish.publish(ctx, r.gather(envelopes))
	default:
	}
	r.publish.flushOrLog(ctx)
}

// sweepOutbox publishes what a crash or a full lane left in the outbox.
func (r *Relay) sweepOutbox(ctx context.Context) error {
	for {
		envelopes, err := r.o.Outbox.Unpublished(ctx, time.Now().Add(-r.o.Overdue), page)
		if err != nil || len(envelopes) == 0 {
			return err
		}
		n := r.publish.publish(ctx, envelopes)
		if n > 0 {
			r.o.Logger.InfoContext(ctx, "relay: published envelopes that had been left behind", "envelopes", n)
		}
		// What cannot be cleared would be found, and published, over and over.
		if err := r.publish.flush(ctx); err != nil || n < page {
			return err // nil: no more, or no room for more
		}
	}
}

func (r *Relay) purge(ctx context.Context) error {
	for {
		now := time.Now()
		n, err := r.o.Sweep.Purge(ctx, now, now.Add(-r.o.UnmatchedTTL), page)
		if err != nil || n < page {
			return err
		}
	}
}

// wake handles what falls due, and sleeps until the next is.
func (r *Relay) wake(ctx context.Context) {
	const most, least = 250 * time.Millisecond, 5 * time.Millisecond
	for ctx.Err() == nil {
		n, err := r.wakeOnce(ctx)
		if err != nil && ctx.Err() == nil {
			r.o.Logger.ErrorContext(ctx, "relay: cannot wake due messages", "error", err)
			sleep(ctx, errorPause)
			continue
		}
		if n >= wakeLimit {
			continue
		}
		pause := most
		if next, ok, err := r.o.Sweep.NextWake(ctx); err == nil && ok {
			pause = min(most, max(least, time.Until(next)))
		}
		sleep(ctx, pause)
	}
}

func (r *Relay) wakeOnce(ctx context.Context) (int, error) {
	now := time.Now()
	woken, err := r.o.Sweep.Wake(ctx, now, now.Add(r.o.Lease), wakeLimit)
	if err != nil {
		return 0, err
	}
	r.Publish(woken.Envelopes)
	r.resolve(ctx, woken.Lapsed)
	n := len(woken.Expired) + len(woken.Lapsed)
	for _, e := range woken.Envelopes {
		n += len(e.Records)
	}
	return n, nil
}

// resolve hands lapsed messages to the resolver, which may ask a provider that is slow: what else falls due
// does not wait for that.
func (r *Relay) resolve(ctx context.Context, lapsed []store.Lapsed) {
	if len(lapsed) == 0 {
		return
	}
	select {
	case r.places <- struct{}{}:
	default:
		r.o.Logger.WarnContext(ctx, "relay: too many uncertain messages at a time; some wait for their lease", "messages", len(lapsed))
		return
	}
	r.resolvers.Go(func() {
		defer func() { <-r.places }()
		r.o.Resolver.Resolve(ctx, lapsed)
	})
}

// watchGeneration publishes everything queued once more when the queue has lost its content, which a
// queue in memory has at every start.
func (r *Relay) watchGeneration(ctx context.Context) {
	known := ""
	for ctx.Err() == nil {
		generation, err := r.o.Index.Generation(ctx)
		if err == nil && generation != known {
			if err = r.requeue(ctx); err == nil {
				known = generation
			}
		}
		if err != nil && ctx.Err() == nil {
			r.o.Logger.ErrorContext(ctx, "relay: cannot bring the queue up to the store", "error", err)
		}
		sleep(ctx, time.Second)
	}
}

func (r *Relay) requeue(ctx context.Context) error {
	var after core.RecordID
	messages := 0
	for {
		envelopes, last, err := r.o.Outbox.Requeue(ctx, after, page)
		if err != nil {
			return err
		}
		for _, e := range envelopes {
			messages += len(e.Records)
		}
		r.publish.publish(ctx, envelopes)
		if len(envelopes) == 0 && last == after {
			break
		}
		after = last
	}
	if messages > 0 {
		r.o.Logger.InfoContext(ctx, "relay: brought the queue up to the store", "messages", messages)
	}
	return ctx.Err()
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
