package dispatch

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// holdTime bounds how long a worker keeps an envelope while it waits for a connector's places or
	// rate. After it the rest goes back to the head of its lane, so that a more urgent one gets its turn.
	holdTime = 500 * time.Millisecond
	// retryPause is the wait before a step that was refused is tried again; it doubles up to maxRetryPause.
	retryPause    = 200 * time.Millisecond
	maxRetryPause = 5 * time.Second
)

// work is what one worker does with one envelope, from its arrival to its acknowledgement.
func (d *Dispatcher) work(ctx context.Context, ch *channel, received queue.Received) {
	taken := d.o.Now()
	if d.stopping.Err() != nil {
		d.giveBack(ctx, received)
		return
	}
	messages, err := d.load(ctx, received.Records)
	if err != nil {
		d.giveBack(ctx, received)
		return
	}
	messages = d.triage(ctx, messages)
	rest := d.spread(ctx, ch, messages, taken)
	if rest || ctx.Err() != nil {
		d.giveBack(ctx, received)
		return
	}
	d.o.Settled(received.ID)
	if err := received.Ack(ctx); err != nil {
		d.o.Logger.WarnContext(ctx, "dispatch: cannot acknowledge an envelope; the claim absorbs its return", "error", err)
	}
}

// giveBack returns an envelope to the queue, even while the worker is being stopped.
func (d *Dispatcher) giveBack(ctx context.Context, received queue.Received) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if err := received.Return(ctx); err != nil {
		d.o.Logger.WarnContext(ctx, "dispatch: cannot return an envelope; the relay finds its messages", "error", err)
	}
}

func (d *Dispatcher) load(ctx context.Context, ids []core.RecordID) ([]core.Message, error) {
	var messages []core.Message
	err := d.insist(ctx, "load messages", func(ctx context.Context) (err error) {
		messages, err = d.o.Store.Load(ctx, ids)
		return err
	})
	return messages, err
}

// insist repeats a step that the store refuses until it succeeds or ctx ends.
func (d *Dispatcher) insist(ctx context.Context, what string, step func(context.Context) error) error {
	for pause := retryPause; ; pause = min(2*pause, maxRetryPause) {
		err := step(ctx)
		if err == nil || ctx.Err() != nil {
			return err
		}
		d.o.Logger.ErrorContext(ctx, "dispatch: cannot "+what+"; trying again", "error", err)
		sleep(ctx, pause)
	}
}

// triage drops messages that are no longer waiting and ends those that have expired. What is left is
// ordered by exact priority.
func (d *Dispatcher) triage(ctx context.Context, messages []core.Message) []core.Message {
	now := d.o.Now()
	var expired []core.RecordID
	messages = slices.DeleteFunc(messages, func(m core.Message) bool {
		if m.Status == core.StatusQueued && m.Expired(now) {
			expired = append(expired, m.ID)
			return true
		}
		return m.Status != core.StatusQueued || m.NextAttempt.After(now)
	})
	if len(expired) > 0 {
		d.finish(ctx, expired, core.StatusExpired, &core.SendError{
			Code: core.CodeExpired, Message: "expire_at passed before the message could be sent", Fault: core.FaultMessage,
		})
	}
	slices.SortStableFunc(messages, func(a, b core.Message) int { return int(b.Priority - a.Priority) })
	return messages
}

func (d *Dispatcher) finish(ctx context.Context, ids []core.RecordID, status core.Status, cause *core.SendError) {
	_ = d.insist(ctx, "end messages", func(ctx context.Context) error {
		return d.o.Store.Finish(ctx, ids, status, cause, d.o.Now())
	})
}

// spread routes the messages and carries each connector's share. It says whether some are left that
// should go back to the queue.
func (d *Dispatcher) spread(ctx context.Context, ch *channel, messages []core.Message, taken time.Time) bool {
	p := d.route(ch, messages)
	d.postpone(ctx, p.waiting)
	if len(p.orphaned) > 0 {
		d.finish(ctx, p.orphaned, core.StatusFailed, &core.SendError{
			Code: core.CodeNoConnector, Message: "the connector that the message asked for is not configured any more",
			Fault: core.FaultConfig,
		})
	}
	shares := p.shares
	if len(shares) == 1 {
		return d.carry(ctx, shares[0], taken)
	}
	rest := make([]bool, len(shares))
	var wg sync.WaitGroup
	for i, s := range shares {
		wg.Go(func() { rest[i] = d.carry(ctx, s, taken) })
	}
	wg.Wait()
	return slices.Contains(rest, true)
}

func (d *Dispatcher) postpone(ctx context.Context, p []store.Postponement) {
	if len(p) == 0 {
		return
	}
	_ = d.insist(ctx, "postpone messages", func(ctx context.Context) error {
		return d.o.Store.Postpone(ctx, p, d.o.Now())
	})
}

// carry hands a share to its connector in as many batches as its places and its rate ask for. It says
// whether some messages are left.
func (d *Dispatcher) carry(ctx context.Context, s share, taken time.Time) bool {
	hold, cancel := context.WithTimeout(ctx, holdTime-d.o.Now().Sub(taken))
	defer cancel()
	unwatch := context.AfterFunc(d.stopping, cancel)
	defer unwatch()
	for left := s.messages; len(left) > 0; {
		if d.stopping.Err() != nil {
			return true // even while there are free places, for which acquire does not look at hold
		}
		n, err := s.connector.acquire(hold, min(len(left), s.connector.batchSize()))
		if err != nil {
			return true
		}
		g := d.ration(hold, s.connector, left[0].Lane(), n)
		s.connector.release(n - g.n)
		if g.n == 0 {
			return true
		}
		carried := d.call(ctx, s.connector, left[:g.n], g.due, taken)
		g.release()
		if carried == 0 {
			return true
		}
		left = left[carried:]
	}
	return false
}

// call carries as many messages as the breaker lets pass, on the places that they hold, and gives these back.
func (d *Dispatcher) call(ctx context.Context, c *connector, messages []core.Message, due, taken time.Time) int {
	defer c.release(len(messages))
	n := c.permit(len(messages), d.o.Now())
	if n > 0 {
		d.batch(ctx, c, messages[:n], due, taken)
	}
	return n
}

// batch claims messages, delivers those it won when they are due and records what became of them.
func (d *Dispatcher) batch(ctx context.Context, c *connector, messages []core.Message, due, taken time.Time) {
	policy, status := c.view()
	won, deadline := d.claim(ctx, c.id, messages, policy.Timeout)
	if len(won) == 0 {
		c.breaker.RecordSuccess() // it has no other way to give a permit back
		return
	}
	sleep(ctx, time.Until(due))
	b := &batch{
		d: d, connector: c, policy: policy, status: status, taken: taken, handed: d.o.Now(),
		messages: make(map[core.RecordID]*core.Message, len(won)),
	}
	for i := range won {
		b.messages[won[i].Message.ID] = won[i].Message
	}
	call, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	d.o.Carrier.Deliver(call, c.id, won, func(results []core.Result) { b.record(ctx, results) })
	c.judge(b.results)
}

// claim makes the attempts durable and returns the deliveries that were won, and the time by which they must end.
// There are none when ctx ends first.
func (d *Dispatcher) claim(ctx context.Context, id core.ConnectorID, messages []core.Message, timeout time.Duration) ([]core.Delivery, time.Time) {
	claims := make([]store.Claim, len(messages))
	for i := range messages {
		claims[i] = store.Claim{Record: messages[i].ID, Attempt: messages[i].Attempt + 1, Connector: id}
	}
	var won []bool
	var deadline time.Time
	err := d.insist(ctx, "claim messages", func(ctx context.Context) (err error) {
		// Anew each time: a store that was away for long must not leave a lease that has run out.
		now := d.o.Now()
		deadline = time.Now().Add(timeout)
		won, err = d.o.Store.Claim(ctx, claims, now, now.Add(timeout+d.o.Lease))
		return err
	})
	if err != nil {
		return nil, deadline
	}
	deliveries := make([]core.Delivery, 0, len(messages))
	for i := range messages {
		if won[i] {
			deliveries = append(deliveries, core.Delivery{Message: &messages[i], Attempt: claims[i].Attempt})
		}
	}
	return deliveries, deadline
}
