package memory

import (
	"context"
	"fmt"
	"slices"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// subscription takes envelopes of one channel. The queue's mutex guards it.
type subscription struct {
	queue   *Queue
	channel *channel
	held    map[*delivery]struct{} // received and neither acknowledged nor returned
	closed  bool
}

// waiter is a Receive that found nothing. It is given a delivery, or nil when the subscription ends.
type waiter struct {
	subscription *subscription
	ready        chan *delivery // has room for the one value it gets
}

// Receive takes the next envelope, or waits until somebody publishes one or gives one back.
func (s *subscription) Receive(ctx context.Context) (queue.Received, error) {
	if err := ctx.Err(); err != nil {
		return queue.Received{}, fmt.Errorf("receive envelope: %w", err)
	}
	d, w := s.takeOrWait()
	if w == nil {
		return received(d)
	}
	select {
	case d = <-w.ready:
		return received(d)
	case <-ctx.Done():
	}
	if s.withdraw(w) {
		return queue.Received{}, fmt.Errorf("receive envelope: %w", ctx.Err())
	}
	return received(<-w.ready) // it was served in the same moment
}

// takeOrWait returns a delivery, or a waiter that will get one, or neither after the end.
func (s *subscription) takeOrWait() (*delivery, *waiter) {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if s.closed {
		return nil, nil
	}
	if e, ok := s.channel.next(); ok {
		return s.take(e), nil
	}
	w := &waiter{subscription: s, ready: make(chan *delivery, 1)}
	s.channel.waiters = append(s.channel.waiters, w)
	return nil, w
}

// take notes that the subscription holds an envelope.
func (s *subscription) take(e core.Envelope) *delivery {
	d := &delivery{subscription: s, envelope: e}
	s.held[d] = struct{}{}
	return d
}

// withdraw ends a wait, or returns false if the waiter was served or ended before.
func (s *subscription) withdraw(w *waiter) bool {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	i := slices.Index(s.channel.waiters, w)
	if i < 0 {
		return false
	}
	s.channel.waiters = slices.Delete(s.channel.waiters, i, i+1)
	return true
}

// Close gives back what is held and ends those who wait in Receive.
func (s *subscription) Close() error {
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	s.end()
	return nil
}

// end does the work of Close, under the queue's mutex.
func (s *subscription) end() {
	if s.closed {
		return
	}
	s.closed = true
	c := s.channel
	c.subscriptions = slices.DeleteFunc(c.subscriptions, func(o *subscription) bool { return o == s })
	c.waiters = slices.DeleteFunc(c.waiters, func(w *waiter) bool {
		if w.subscription == s {
			w.ready <- nil
		}
		return w.subscription == s
	})
	for d := range s.held {
		c.lanes[d.envelope.Lane].unacked--
		c.giveBack(d.envelope)
	}
	s.held = nil
	if !s.queue.closed {
		c.serve()
	}
}

// delivery is an envelope in the hands of a subscriber.
type delivery struct {
	subscription *subscription
	envelope     core.Envelope
	done         bool // acknowledged or returned
}

// received makes the port's answer of a delivery; nil is the end of the subscription.
func received(d *delivery) (queue.Received, error) {
	if d == nil {
		return queue.Received{}, queue.ErrClosed
	}
	e := d.envelope
	e.Records = slices.Clone(e.Records) // the caller may change its own
	return queue.Received{Envelope: e, Ack: d.ack, Return: d.giveBack}, nil
}

// ack takes the envelope out for good. It does so even with a ctx that has ended, as nothing waits.
func (d *delivery) ack(context.Context) error { return d.settle(false) }

// giveBack puts the envelope back. It does so even with a ctx that has ended, as nothing waits.
func (d *delivery) giveBack(context.Context) error { return d.settle(true) }

// settle ends the holding of an envelope. Only the first call of either kind does anything; after the
// subscription's end the envelope is no longer the caller's, and the first call says so.
func (d *delivery) settle(again bool) error {
	s := d.subscription
	s.queue.mu.Lock()
	defer s.queue.mu.Unlock()
	if d.done {
		return nil
	}
	d.done = true
	if s.closed {
		return queue.ErrClosed
	}
	delete(s.held, d)
	s.channel.lanes[d.envelope.Lane].unacked--
	if again {
		s.channel.giveBack(d.envelope)
		s.channel.serve()
	}
	return nil
}
