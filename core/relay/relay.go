// Package relay moves what is committed from the store to the queue: envelopes fresh from the group
// commit, schedules and retries that fall due, and whatever a crash or a lost queue left behind. Every
// instance may run one; none leads. Publishing an envelope twice is harmless, as the claim decides.
package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/lock"
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
	Stats(ctx context.Context) ([]queue.LaneStats, error)
}

// Options are what a Relay needs. All are required except those with a default.
type Options struct {
	Outbox   store.Outbox
	Sweep    store.Sweep
	Index    Index
	Resolver Resolver
	Logger   *slog.Logger
	// Revive publishes envelopes again that the queue has given up, a number at most, and returns how many; nil: it gives
	// up none.
	Revive func(ctx context.Context, most int) (int, error)
	// Now is the time that goes into the store; default time.Now.
	Now func() time.Time
	// Sweeping makes the relay look for what others left behind and for what falls due. One that does not
	// sweep only publishes what it is handed.
	Sweeping bool
	// Locker lets one of several relays at a time do what is done once in a while; nil: each does it.
	Locker lock.Locker
	// Overdue is the age at which an envelope in the outbox counts as forgotten; default 5 s. It must
	// be well above flushEvery.
	Overdue time.Duration
	// Lease is how long a lapsed message is the resolver's alone; default 60 s.
	Lease time.Duration
	// UnmatchedTTL is how long a receipt waits for its message; default 72 h.
	UnmatchedTTL time.Duration
	// Missing is how long a lane must stand empty before its envelopes that are not settled count as lost;
	// default 2 min.
	Missing time.Duration
	// Dead is how often Revive is called; default 1 min.
	Dead time.Duration
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
	// page is how many envelopes one look at the outbox takes, and pages how many looks one sweep: a backlog
	// that finds no room is walked through bit by bit.
	page  = 5000
	pages = 20
	// revived is how many dead envelopes are brought back at a time.
	revived = 500
	// publishTimeout bounds one call to the queue, storeTimeout one to the store.
	publishTimeout = 10 * time.Second
	storeTimeout   = 30 * time.Second
)

// Relay publishes and sweeps.
type Relay struct {
	o       Options
	fresh   chan []core.Envelope
	publish publisher
	ledger  ledger

	reached  chan struct{} // closed when the queue's generation is known for the first time
	sweeping sync.Mutex    // one sweep of the outbox at a time
	swept    int64         // the envelope that the last one ended at; 0: it saw all

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
	if o.Missing == 0 {
		o.Missing = 2 * time.Minute
	}
	if o.Dead == 0 {
		o.Dead = time.Minute
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	r := &Relay{
		o: o, fresh: make(chan []core.Envelope, handover), places: make(chan struct{}, resolving),
		ledger: ledger{outbox: o.Outbox, now: o.Now, logger: o.Logger}, reached: make(chan struct{}),
	}
	r.publish = publisher{index: o.Index, ledger: &r.ledger, logger: o.Logger}
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

// Settle notes that the messages of an envelope have been taken up, so that it need not be published again
// whatever becomes of the queue.
func (r *Relay) Settle(envelope int64) { r.ledger.settle(envelope) }

// Run publishes and sweeps until ctx ends, then publishes what was handed over and returns.
func (r *Relay) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { r.watchGeneration(ctx) })
	wg.Go(func() { r.runPublisher(ctx) })
	if r.o.Sweeping {
		wg.Go(func() { r.every(ctx, r.o.Overdue/2, "sweep the outbox", r.sweepOutbox) })
		wg.Go(func() {
			r.every(ctx, r.o.Missing/2, "look for lost envelopes", r.alone("lost envelopes", r.doubtIdleLanes))
		})
		wg.Go(func() { r.every(ctx, time.Minute, "purge", r.alone("purge", r.purge)) })
		if r.o.Revive != nil {
			wg.Go(func() { r.every(ctx, r.o.Dead, "revive dead envelopes", r.alone("dead envelopes", r.revive)) })
		}
		wg.Go(func() { r.wake(ctx) })
	}
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

// alone leaves a task to whoever does it already. Without an answer from the locker the task is done: a double does no
// harm.
func (r *Relay) alone(name string, task func(context.Context) error) func(context.Context) error {
	if r.o.Locker == nil {
		return task
	}
	return func(ctx context.Context) error {
		held, err := r.o.Locker.TryLock(ctx, "relay: "+name, lock.Options{})
		if errors.Is(err, lock.ErrHeld) {
			return nil
		}
		err = task(ctx)
		if held != nil {
			_ = held.Unlock(context.WithoutCancel(ctx)) // the lease ends it otherwise
		}
		return err
	}
}

func (r *Relay) runPublisher(ctx context.Context) {
	select {
	case <-ctx.Done():
		return
	case <-r.reached:
	}
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case envelopes := <-r.fresh:
			r.publish.publish(ctx, r.gather(envelopes))
		case <-flush.C:
			r.ledger.flushOrLog(ctx)
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
	r.ledger.flushOrLog(ctx)
}

// sweepOutbox publishes what a crash or a full lane left behind.
func (r *Relay) sweepOutbox(ctx context.Context) error {
	return r.sweepBefore(ctx, r.o.Now().Add(-r.o.Overdue))
}

// sweepBefore publishes what was committed before a time and what the queue does not have, page by page. One call
// walks over so many pages; the next goes on where it ended.
func (r *Relay) sweepBefore(ctx context.Context, before time.Time) error {
	r.sweeping.Lock()
	defer r.sweeping.Unlock()
	generation := r.publish.generation.Load()
	if generation == 0 {
		return nil // the queue has not been reached yet
	}
	// What was confirmed a moment ago would be found, and published, once more.
	if err := r.ledger.flush(ctx); err != nil {
		return err
	}
	for range pages {
		envelopes, err := r.o.Outbox.Unpublished(ctx, generation, before, r.swept, page)
		if err != nil {
			return err
		}
		n, takes := r.publish.publish(ctx, envelopes)
		if n > 0 {
			r.o.Logger.InfoContext(ctx, "relay: published envelopes that the queue did not have", "envelopes", n)
		}
		if !takes {
			return nil // the next sweep begins where this one did not come on
		}
		if len(envelopes) < page {
			r.swept = 0
			return nil
		}
		r.swept = envelopes[len(envelopes)-1].ID
	}
	return nil
}

// doubtIdleLanes finds envelopes that the queue has lost one by one: those of a lane that stands empty.
func (r *Relay) doubtIdleLanes(ctx context.Context) error {
	lanes, err := r.o.Index.Stats(ctx)
	if err != nil {
		return err
	}
	for _, l := range lanes {
		if l.Envelopes > 0 || l.Unacked > 0 {
			continue
		}
		n, err := r.o.Outbox.Doubt(ctx, l.Channel, l.Lane, r.o.Now().Add(-r.o.Missing))
		if err != nil {
			return err
		}
		if n > 0 {
			r.o.Logger.WarnContext(ctx, "relay: the queue has lost envelopes; they are published again",
				"channel", l.Channel, "lane", l.Lane.String(), "envelopes", n)
		}
	}
	return nil
}

// revive brings envelopes back that the queue has given up. It does so once in a while only, lest one that ends whoever
// takes it up do that without pause.
func (r *Relay) revive(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	n, err := r.o.Revive(ctx, revived)
	if n > 0 {
		r.o.Logger.WarnContext(ctx, "relay: the queue had given envelopes up; they are published again", "envelopes", n)
	}
	return err
}

func (r *Relay) purge(ctx context.Context) error {
	for {
		now := r.o.Now()
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
			pause = min(most, max(least, next.Sub(r.o.Now())))
		}
		sleep(ctx, pause)
	}
}

func (r *Relay) wakeOnce(ctx context.Context) (int, error) {
	now := r.o.Now()
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

// watchGeneration learns which generation the queue is in. When it has lost its content, which a queue in
// memory has at every start, everything that is not settled is published once more.
func (r *Relay) watchGeneration(ctx context.Context) {
	known := ""
	for ctx.Err() == nil {
		name, err := r.o.Index.Generation(ctx)
		if err == nil && name != known {
			if err = r.adopt(ctx, name); err == nil {
				known = name
			}
		}
		if err != nil && ctx.Err() == nil {
			r.o.Logger.ErrorContext(ctx, "relay: cannot bring the queue up to the store", "error", err)
		}
		sleep(ctx, time.Second)
	}
}

// adopt makes a generation the one that is published to.
func (r *Relay) adopt(ctx context.Context, name string) error {
	number, err := r.o.Outbox.Generation(ctx, name)
	if err != nil {
		return err
	}
	if r.publish.generation.Swap(number) == 0 {
		close(r.reached)
	}
	if !r.o.Sweeping {
		return nil
	}
	return r.sweepBefore(ctx, r.o.Now())
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
