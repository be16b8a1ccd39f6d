package rabbitmq_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/rabbitmq"
)

// receiveUntil takes what comes until an envelope does, without acknowledging anything.
func receiveUntil(t *testing.T, s queue.Subscription, id int64) {
	t.Helper()
	for r := receive(t, s); r.ID != id; {
		r = receive(t, s)
	}
}

// quickly is a context for what must not take long even while nothing answers.
func quickly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestConnectionLoss(t *testing.T) {
	p := startProxy(t)
	q := open(t, rabbitmq.Options{URL: p.url(t)})
	s := subscribe(t, q)
	before, err := q.Generation(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, q, sequence(1, 3, core.LaneNormal)...)
	acked, returned := receive(t, s), receive(t, s)

	plug := p.unplug()
	waiting := make(chan queue.Received, 1)
	go func() {
		r, err := s.Receive(patient(t))
		if err != nil {
			t.Errorf("Receive over a lost connection: %v", err)
			r.Ack = func(context.Context) error { return err }
		}
		waiting <- r
	}()
	eventually(t, "the loss is noticed", func(ctx context.Context) bool { return q.Publish(ctx, sequence(9, 1, core.LaneLow)) != nil })
	mustUnavailable(t, "Publish", q.Publish(quickly(t), sequence(9, 1, core.LaneLow)))
	_, err = q.Stats(quickly(t))
	mustUnavailable(t, "Stats", err)
	_, err = q.Generation(quickly(t))
	mustUnavailable(t, "Generation", err)
	_, err = q.Dead(quickly(t))
	mustUnavailable(t, "Dead", err)
	mustUnavailable(t, "Check", q.Check(quickly(t)))
	_, err = q.Subscribe(quickly(t), "email")
	mustUnavailable(t, "Subscribe", err)
	mustUnavailable(t, "Ack of what a lost connection brought", acked.Ack(quickly(t)))
	if err := returned.Return(quickly(t)); err != nil {
		t.Errorf("Return of what a lost connection brought: %v", err)
	}
	plug()

	seen := map[int64]bool{}
	for r := <-waiting; ; r = receive(t, s) { // the first was fetched ahead, or comes with the next connection
		if r.Ack(patient(t)) == nil {
			seen[r.ID] = true
		}
		if len(seen) == 3 {
			break
		}
	}
	republish(t, q, sequence(4, 1, core.LaneNormal)...)
	if err := q.Check(patient(t)); err != nil {
		t.Errorf("Check of what is back: %v", err)
	}
	after, err := q.Generation(patient(t))
	if err != nil || after != before {
		t.Errorf("the generation went from %q to %q, %v", before, after, err)
	}
}

// What is under way when the connection breaks is unknown, and an error; nothing that was confirmed is lost.
func TestConnectionsThatBreakAllTheTime(t *testing.T) {
	p := startProxy(t)
	q := open(t, rabbitmq.Options{URL: p.url(t)})
	s := subscribe(t, q)
	const envelopes, cuts = 3000, 5
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	var work sync.WaitGroup
	work.Go(func() {
		for first := int64(1); first <= envelopes; first += 100 {
			for q.Publish(ctx, sequence(first, 100, core.LaneNormal)) != nil && ctx.Err() == nil {
				<-time.After(10 * time.Millisecond)
			}
		}
	})
	seen := map[int64]bool{}
	for len(seen) < envelopes {
		r := receive(t, s)
		if err := r.Ack(ctx); err == nil && !seen[r.ID] {
			seen[r.ID] = true
			if len(seen)%(envelopes/cuts) == 0 {
				p.cut()
			}
		}
	}
	work.Wait()
}

// A peer that is silent must not hold anybody up: calls end with their context, and the heartbeat ends the
// connection.
func TestStalledConnection(t *testing.T) {
	p := startProxy(t)
	q := open(t, rabbitmq.Options{URL: p.url(t) + "?heartbeat=2"})
	s := subscribe(t, q)
	publish(t, q, sequence(1, 1, core.LaneNormal)...)
	held := receive(t, s)
	p.stall()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := q.Publish(ctx, sequence(2, 1, core.LaneNormal)); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Publish: %v, want its deadline", err)
	}
	if _, err := q.Stats(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Stats: %v, want its deadline", err)
	}
	eventually(t, "the heartbeat ends the connection", func(context.Context) bool {
		err := q.Publish(t.Context(), sequence(2, 1, core.LaneNormal))
		return core.KindOf(err) == core.KindUnavailable
	})
	_ = held.Ack(quickly(t))
	p.resume()
	republish(t, q, sequence(3, 1, core.LaneNormal)...)
	receiveUntil(t, s, 3)
}

func TestCloseOfAStalledConnection(t *testing.T) {
	p := startProxy(t)
	q := open(t, rabbitmq.Options{URL: p.url(t)})
	s := subscribe(t, q)
	publish(t, q, sequence(1, 1, core.LaneNormal)...)
	receive(t, s)
	p.stall()
	closed := make(chan error, 1)
	go func() { closed <- q.Close() }()
	select {
	case err := <-closed:
		if err != nil {
			t.Errorf("Close: %v", err)
		}
	case <-time.After(15 * time.Second):
		t.Error("Close waits for a peer that is silent")
	}
}

func TestCloseWhileThereIsNoConnection(t *testing.T) {
	p := startProxy(t)
	q := open(t, rabbitmq.Options{URL: p.url(t)})
	subscribe(t, q)
	p.unplug()
	eventually(t, "the loss is noticed", func(ctx context.Context) bool { return q.Publish(ctx, sequence(1, 1, core.LaneLow)) != nil })
	if err := q.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// put publishes a body of any kind to a lane.
func put(t *testing.T, prefix string, lane core.Lane, body []byte) {
	t.Helper()
	err := dialTest(t).PublishWithContext(t.Context(), prefix+"pigeonry.dispatch", prefix+"message.send.sms."+lane.String(),
		true, false, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
	if err != nil {
		t.Fatal(err)
	}
}

func TestUnreadableBodiesAreDeadLetters(t *testing.T) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(string(kind), func(t *testing.T) {
			prefix := newPrefix(t)
			q := open(t, rabbitmq.Options{Prefix: prefix, Type: kind})
			s := subscribe(t, q)
			put(t, prefix, core.LaneNormal, []byte("not an envelope"))
			put(t, prefix, core.LaneNormal, nil)
			publish(t, q, sequence(1, 1, core.LaneNormal)...)
			if r := receive(t, s); r.ID != 1 {
				t.Errorf("received envelope %d", r.ID)
			}
			eventually(t, "both are dead letters", func(ctx context.Context) bool {
				n, err := q.Dead(ctx)
				return err == nil && n == 2
			})
		})
	}
}

// What was given up is published again; what cannot be read stays with the dead, however often they are looked through.
func TestDeadEnvelopesAreRevived(t *testing.T) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(string(kind), func(t *testing.T) {
			prefix := newPrefix(t)
			q := open(t, rabbitmq.Options{Prefix: prefix, Type: kind})
			publish(t, q, sequence(1, 2, core.LaneNormal)...)
			put(t, prefix, core.LaneNormal, []byte("not an envelope"))
			giveUp(t, prefix+"message.send.sms.normal", 3)
			eventually(t, "all are dead letters", func(ctx context.Context) bool {
				n, err := q.Dead(ctx)
				return err == nil && n == 3
			})
			revived := 0
			for range 30 { // more often than a quorum queue hands anything out
				n, err := q.Revive(patient(t), 10)
				if err != nil {
					t.Fatal(err)
				}
				revived += n
			}
			if revived != 2 {
				t.Errorf("%d were revived, want 2", revived)
			}
			s := subscribe(t, q)
			for _, want := range sequence(1, 2, core.LaneNormal) {
				if r := receive(t, s); r.ID != want.ID || !slices.Equal(r.Records, want.Records) {
					t.Errorf("received %+v, want %+v", r.Envelope, want)
				}
			}
			eventually(t, "what cannot be read stays", func(ctx context.Context) bool {
				n, err := q.Dead(ctx)
				return err == nil && n == 1
			})
		})
	}
}

// giveUp rejects deliveries of a queue, as the broker itself does with what comes back too often.
func giveUp(t *testing.T, queue string, n int) {
	t.Helper()
	ch := dialTest(t)
	deliveries, err := ch.ConsumeWithContext(t.Context(), queue, "who-gives-up", false, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		select {
		case d := <-deliveries:
			if err := d.Reject(false); err != nil {
				t.Fatal(err)
			}
		case <-patient(t).Done():
			t.Fatal("nothing was delivered")
		}
	}
	if err := ch.Cancel("who-gives-up", false); err != nil {
		t.Fatal(err)
	}
}

// A quorum queue takes for poison what comes back too often. An envelope that waits for a provider is not.
func TestReturnsAreNotPoison(t *testing.T) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(string(kind), func(t *testing.T) {
			q := open(t, rabbitmq.Options{Type: kind})
			s := subscribe(t, q)
			publish(t, q, sequence(1, 1, core.LaneHigh)...)
			for range 60 {
				if err := receive(t, s).Return(patient(t)); err != nil {
					t.Fatal(err)
				}
			}
			ack(t, receive(t, s))
			if n, err := q.Dead(patient(t)); err != nil || n != 0 {
				t.Errorf("%d dead envelopes, %v", n, err)
			}
		})
	}
}

// Somebody deletes a queue: the publisher learns that nobody took its envelope, and the next finds a new queue.
func TestDeletedQueues(t *testing.T) {
	prefix := newPrefix(t)
	q := open(t, rabbitmq.Options{Prefix: prefix})
	publish(t, q, sequence(1, 1, core.LaneNormal)...)
	if _, err := dialTest(t).QueueDelete(prefix+"message.send.sms.normal", false, false, false); err != nil {
		t.Fatal(err)
	}
	mustSay(t, q.Publish(patient(t), sequence(2, 1, core.LaneNormal)), "message.send.sms.normal", "is missing")
	republish(t, q, sequence(3, 1, core.LaneNormal)...)
	s := subscribe(t, q)
	if r := receive(t, s); r.ID != 3 {
		t.Errorf("received envelope %d", r.ID)
	}
	wipe(t, prefix) // under a subscription, the exchange too
	republish(t, q, sequence(4, 1, core.LaneNormal)...)
	receiveUntil(t, s, 4)
}

// What one gateway has fetched ahead and does not get to is another's.
func TestWhatNobodyReceivesGoesToOthers(t *testing.T) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(string(kind), func(t *testing.T) {
			prefix := newPrefix(t)
			stuck := subscribe(t, open(t, rabbitmq.Options{Prefix: prefix, Type: kind}))
			q := open(t, rabbitmq.Options{Prefix: prefix, Type: kind})
			for i, l := range core.Lanes() {
				publish(t, q, sequence(int64(100*i+1), 20, l)...)
			}
			held := receive(t, stuck)
			s := subscribe(t, q)
			for range 79 {
				ack(t, receive(t, s))
			}
			ack(t, held)
			publish(t, q, sequence(1000, 1, core.LaneNormal)...)
			again := make(chan struct{})
			go func() {
				defer close(again)
				_ = s.Close()
			}()
			<-again
			ack(t, receive(t, stuck)) // it takes again when it is asked to
		})
	}
}

// However many envelopes the workers hold, there is one for the next.
func TestReceiversMayHoldMany(t *testing.T) {
	q := open(t, rabbitmq.Options{})
	s := subscribe(t, q)
	const many = 1000
	publish(t, q, sequence(1, many, core.LaneLow)...)
	held := make([]queue.Received, many)
	for i := range held {
		held[i] = receive(t, s)
	}
	for _, r := range held {
		ack(t, r)
	}
}

// Gateways that are slow by their providers, not by themselves, share what there is.
func TestGatewaysShareEvenly(t *testing.T) {
	prefix := newPrefix(t)
	const gateways, envelopes = 2, 400
	ctx, cancel := context.WithCancel(patient(t))
	defer cancel()
	var mu sync.Mutex
	counts, total := [gateways]int{}, 0
	var work sync.WaitGroup
	first := open(t, rabbitmq.Options{Prefix: prefix})
	publish(t, first, sequence(1, envelopes, core.LaneNormal)...)
	for g := range gateways {
		s := subscribe(t, open(t, rabbitmq.Options{Prefix: prefix}))
		for range 10 {
			work.Go(func() {
				for {
					r, err := s.Receive(ctx)
					if err != nil {
						return
					}
					<-time.After(20 * time.Millisecond) // the provider
					_ = r.Ack(context.WithoutCancel(ctx))
					mu.Lock()
					counts[g]++
					if total++; total == envelopes {
						cancel()
					}
					mu.Unlock()
				}
			})
		}
	}
	work.Wait()
	if counts[0] < envelopes/3 || counts[1] < envelopes/3 {
		t.Errorf("the gateways had %v of %d envelopes", counts, envelopes)
	}
}

func TestGenerationIsOneForAll(t *testing.T) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(string(kind), func(t *testing.T) {
			prefix := newPrefix(t)
			const gateways = 4
			var work sync.WaitGroup
			var found [gateways]string
			for i := range gateways {
				q := open(t, rabbitmq.Options{Prefix: prefix, Type: kind})
				work.Go(func() { found[i], _ = q.Generation(patient(t)) })
			}
			work.Wait()
			for range 25 { // more often than a quorum queue hands a message out
				g, err := open(t, rabbitmq.Options{Prefix: prefix, Type: kind}).Generation(patient(t))
				if err != nil || g == "" || g != found[0] {
					t.Fatalf("generation %q, %v after %q", g, err, found)
				}
			}
			for _, g := range found {
				if g != found[0] {
					t.Errorf("the generations are %q", found)
				}
			}
		})
	}
}

// A broker that comes back empty has another generation, and all that is needed is declared again.
func TestGenerationChangesWithALossOfAll(t *testing.T) {
	p := startProxy(t)
	prefix := newPrefix(t)
	q := open(t, rabbitmq.Options{URL: p.url(t), Prefix: prefix})
	s := subscribe(t, q)
	before, err := q.Generation(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	publish(t, q, sequence(1, 1, core.LaneNormal)...)
	plug := p.unplug()
	wipe(t, prefix)
	plug()
	eventually(t, "there is another generation", func(ctx context.Context) bool {
		g, err := q.Generation(ctx)
		return err == nil && g != before
	})
	republish(t, q, sequence(2, 1, core.LaneNormal)...)
	receiveUntil(t, s, 2)
}
