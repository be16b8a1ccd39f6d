package queuetest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// tally counts what several subscribers received.
type tally struct {
	mu       sync.Mutex
	acked    map[int64]int
	returned map[int64]bool
	want     int
	done     context.CancelFunc // called when as many ids as wanted are acknowledged
}

// settle acknowledges an envelope, or returns it the first time if it is one to be returned.
func (c *tally) settle(ctx context.Context, r queue.Received, returns bool) error {
	c.mu.Lock()
	again := returns && !c.returned[r.ID]
	if again {
		c.returned[r.ID] = true
	}
	c.mu.Unlock()
	if again {
		return r.Return(ctx)
	}
	if err := r.Ack(ctx); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.acked[r.ID]++
	if len(c.acked) == c.want {
		c.done()
	}
	return nil
}

// consume receives until the tally is complete. With returns, every fourth id goes back once.
func (c *tally) consume(ctx context.Context, t bench, s queue.Subscription, returns bool) {
	for {
		r, err := s.Receive(ctx)
		if errors.Is(err, context.Canceled) {
			return
		}
		if err != nil {
			t.Errorf("Receive: %v", err)
			return
		}
		// The settlement outlives ctx, which ends with the last acknowledgement.
		if err := c.settle(context.WithoutCancel(ctx), r, returns && r.ID%4 == 0); err != nil {
			t.Errorf("settle envelope %d: %v", r.ID, err)
			return
		}
	}
}

// exactlyOnce publishes n envelopes from several publishers to several subscribers, spread over queues
// that share their content, and fails unless each was acknowledged once.
func exactlyOnce(t bench, n int, returns bool, queues ...queue.Queue) {
	const publishers, subscribers, batch = 4, 4, 100
	ctx, cancel := context.WithTimeout(t.Context(), 4*Patience)
	defer cancel()
	complete, done := context.WithCancel(ctx)
	defer done()
	c := &tally{acked: map[int64]int{}, returned: map[int64]bool{}, want: n, done: done}
	var consumers, senders sync.WaitGroup
	for i := range subscribers {
		s := subscribe(t, queues[i%len(queues)], "sms")
		consumers.Go(func() { c.consume(complete, t, s, returns) })
	}
	for p := range publishers {
		q := queues[p%len(queues)]
		senders.Go(func() {
			for first := p * batch; first < n; first += publishers * batch {
				lane := core.Lanes()[rand.IntN(4)]
				if err := q.Publish(ctx, sequence(int64(first+1), min(batch, n-first), "sms", lane)); err != nil {
					t.Errorf("Publish: %v", err)
					done()
					return
				}
			}
		})
	}
	senders.Wait()
	consumers.Wait()
	for id, times := range c.acked {
		if times != 1 {
			t.Errorf("envelope %d was acknowledged %d times", id, times)
		}
	}
	if len(c.acked) != n {
		t.Errorf("%d of %d envelopes arrived", len(c.acked), n)
	}
	expectNothing(t, subscribe(t, queues[0], "sms"))
}

func sharedExactlyOnce(t bench, q queue.Queue) {
	n := 20_000
	if testing.Short() {
		n = 10_000
	}
	exactlyOnce(t, n, false, q)
}

func randomReturns(t bench, q queue.Queue) { exactlyOnce(t, 10_000, true, q) }

func peers(t bench, peer func(*testing.T, queue.Queue) queue.Queue, open Open) {
	if peer == nil {
		t.Skip("the technology lives in one process")
	}
	q := open(t.T)
	other := peer(t.T, q)
	if a, b := generation(t, q), generation(t, other); a != b {
		t.Errorf("one content has the generations %q and %q", a, b)
	}
	exactlyOnce(t, 10_000, true, q, other)
}
