package dispatch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/queue"
)

// channel feeds the envelopes of one channel to a pool of its own.
type channel struct {
	d       *Dispatcher
	name    string
	pool    *pool.Pool
	started bool      // guarded by the dispatcher's mutex
	free    allowance // messages that may go to another connector whatever its share

	mu      sync.Mutex
	held    int                   // messages in envelopes that were taken and are not done
	waiting lanes[queue.Received] // envelopes taken that no worker has begun
	changed chan struct{}         // closed and replaced when the gate may have opened
}

func newChannel(d *Dispatcher, name string) (*channel, error) {
	o := d.o.Pool
	o.Logger = d.o.Logger.With("channel", name)
	p, err := pool.New(o)
	if err != nil {
		return nil, fmt.Errorf("start the pool of channel %s: %w", name, err)
	}
	return &channel{d: d, name: name, pool: p, changed: make(chan struct{})}, nil
}

// run takes envelopes and gives them to workers until ctx ends.
func (ch *channel) run(ctx context.Context) {
	for ctx.Err() == nil {
		sub, err := ch.d.o.Queue.Subscribe(ctx, ch.name)
		if err == nil {
			err = ch.feed(ctx, sub)
			err = errors.Join(err, sub.Close())
		}
		if ctx.Err() != nil || errors.Is(err, queue.ErrClosed) {
			return
		}
		ch.d.o.Logger.ErrorContext(ctx, "dispatch: cannot take envelopes", "channel", ch.name, "error", err)
		sleep(ctx, time.Second)
	}
}

func (ch *channel) feed(ctx context.Context, sub queue.Subscription) error {
	for {
		if err := ch.gate(ctx); err != nil {
			return err
		}
		received, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		ch.take(received)
		if err := ch.pool.Submit(ctx, ch.begin); err != nil {
			received = ch.next() // as many wait as there are tasks
			ch.hold(-len(received.Records))
			return errors.Join(err, received.Return(context.WithoutCancel(ctx)))
		}
	}
}

// take lets an envelope wait for a worker.
func (ch *channel) take(received queue.Received) {
	ch.mu.Lock()
	ch.waiting.push(received.Lane, received)
	ch.mu.Unlock()
	ch.hold(len(received.Records))
}

// begin is the task of a worker: the envelope whose turn it is now, not the one that was taken when the task was
// made. So an urgent one does not wait behind all that was taken before it.
func (ch *channel) begin(ctx context.Context) {
	received := ch.next()
	defer ch.hold(-len(received.Records))
	ch.d.work(ctx, ch, received)
}

func (ch *channel) next() queue.Received {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	received, _ := ch.waiting.pop() // there is one for each task
	return received
}

// gate waits until a connector of the channel can take more than the workers hold already. While none
// can, messages stay in the queue, where they cost nothing and keep their order.
func (ch *channel) gate(ctx context.Context) error {
	for {
		ch.mu.Lock()
		held, changed := ch.held, ch.changed
		ch.mu.Unlock()
		if held < ch.capacity() {
			return ctx.Err()
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// capacity is how many messages the connectors that can be used now may have in flight.
func (ch *channel) capacity() int {
	now := ch.d.o.Now()
	n := 0
	for _, c := range ch.d.of(ch.name) {
		if c.available(now) {
			n += c.slots()
		}
	}
	return n
}

func (ch *channel) hold(n int) {
	ch.mu.Lock()
	ch.held += n
	ch.mu.Unlock()
	ch.wake()
}

// wake makes the gate look again.
func (ch *channel) wake() {
	ch.mu.Lock()
	defer ch.mu.Unlock()
	close(ch.changed)
	ch.changed = make(chan struct{})
}

func (ch *channel) stop(ctx context.Context) error { return ch.pool.Stop(ctx) }

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
