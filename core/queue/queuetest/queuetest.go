// Package queuetest is what every technology of package queue must pass. It sees a queue as a gateway
// does, through the port alone: nothing in it takes the queue, its subscribers and its content to be in
// one process.
//
//	func TestQueue(t bench) {
//		queuetest.Run(t, queuetest.Traits{Durable: true}, func(t *testing.T) queue.Queue { … })
//	}
package queuetest

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// Open makes an empty queue for one test and has it closed when the test ends.
type Open func(t *testing.T) queue.Queue

// Traits are what technologies may differ in. All else is required of each.
type Traits struct {
	// Durable says that the content outlives Close: Reopen then finds it, and the same generation.
	Durable bool
	// Reopen opens the place of a closed queue again, as a gateway that starts again would.
	Reopen func(t *testing.T, closed queue.Queue) queue.Queue
	// Peer opens a second queue on the same content, as a further gateway would; nil where the content
	// cannot be shared.
	Peer func(t *testing.T, q queue.Queue) queue.Queue
	// OpenBounded opens a queue whose lanes take so many messages each; nil where the technology has no
	// such bound.
	OpenBounded func(t *testing.T, messages int) queue.Queue
	// Overtaking is how many others may come before an envelope that were published to its lane after it,
	// while one receiver takes them one by one. None where there is but one hand between lane and receiver.
	Overtaking int
	// Pace is how long the receiver takes over an envelope where lanes are weighed. A broker that is
	// outrun hands out what it has, so that nobody waits; what counts is that lanes get their turns while
	// receivers are what is slow.
	Pace time.Duration
}

// Patience is how long a test waits for what must happen.
const Patience = 30 * time.Second

// quiet is how long a test waits for what must not happen.
const quiet = 50 * time.Millisecond

// Run runs the suite.
func Run(t *testing.T, traits Traits, open Open) {
	t.Helper()
	tests := []struct {
		name string
		run  func(bench, queue.Queue)
	}{
		{"an envelope arrives as it was published", arrivesWhole},
		{"a lane keeps its order", func(t bench, q queue.Queue) { keepsOrder(t, q, traits.Overtaking) }},
		{"an envelope goes to its own channel", ownChannel},
		{"who waits is woken by a publish", wokenByPublish},
		{"who waits is woken by a return", wokenByReturn},
		{"who waits is woken by a subscription's end", wokenByClose},
		{"lanes are served by weight", func(t bench, q queue.Queue) { servedByWeight(t, q, traits.Pace) }},
		{"low does not starve behind urgent", lowDoesNotStarve},
		{"a lane that is alone gets every turn", aloneGetsAll},
		{"what was acknowledged is gone", ackIsFinal},
		{"what was returned is received again", returnedComesBack},
		{"a second settlement changes nothing", settledOnce},
		{"a closed subscription gives back what it held", closeGivesBack},
		{"a closed subscription receives no more", closeEndsReceive},
		{"a closed queue takes and gives no more", closedQueue},
		{"an ended context ends a receive and loses nothing", contextEnds},
		{"receives that give up lose nothing", givingUpLosesNothing},
		{"an ended context ends a publish", contextEndsPublish},
		{"stats count what waits and what is held", statsCount},
		{"the generation stays while the content does", generationStays},
		{"subscribers share envelopes, each exactly once", sharedExactlyOnce},
		{"random returns lose and double nothing", randomReturns},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { test.run(bench{t}, open(t)) })
	}
	t.Run("a full lane refuses", func(t *testing.T) { fullLane(bench{t}, traits.OpenBounded) })
	t.Run("a new start tells by the generation what is left", func(t *testing.T) { reopened(bench{t}, traits, open) })
	t.Run("two gateways share envelopes", func(t *testing.T) { peers(bench{t}, traits.Peer, open) })
}

// bench is what a test works with.
type bench struct{ *testing.T }

// patient is a context for what must happen.
func patient(t bench) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	t.Cleanup(cancel)
	return ctx
}

func envelope(id int64, channel string, lane core.Lane, records ...core.RecordID) core.Envelope {
	if len(records) == 0 {
		records = []core.RecordID{core.RecordID(id)}
	}
	return core.Envelope{ID: id, Channel: channel, Lane: lane, Records: records}
}

// sequence makes n envelopes with ids from first on.
func sequence(first int64, n int, channel string, lane core.Lane) []core.Envelope {
	envelopes := make([]core.Envelope, n)
	for i := range envelopes {
		envelopes[i] = envelope(first+int64(i), channel, lane)
	}
	return envelopes
}

func publish(t bench, q queue.Publisher, envelopes ...core.Envelope) {
	t.Helper()
	if err := q.Publish(patient(t), envelopes); err != nil {
		t.Fatalf("Publish: %v", err)
	}
}

func subscribe(t bench, q queue.Queue, channel string) queue.Subscription {
	t.Helper()
	s, err := q.Subscribe(patient(t), channel)
	if err != nil {
		t.Fatalf("Subscribe(%q): %v", channel, err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func receive(t bench, s queue.Subscription) queue.Received {
	t.Helper()
	r, err := s.Receive(patient(t))
	if err != nil {
		t.Fatalf("Receive: %v", err)
	}
	return r
}

// receiving begins to wait for an envelope. The wait gets a moment to begin, so that most often somebody
// waits; the test must hold either way.
func receiving(t bench, s queue.Subscription) <-chan queue.Received {
	t.Helper()
	ctx, began, got := patient(t), make(chan struct{}), make(chan queue.Received, 1)
	go func() {
		close(began)
		r, err := s.Receive(ctx)
		if err != nil {
			t.Errorf("Receive: %v", err)
			r.Ack = func(context.Context) error { return err }
		}
		got <- r
	}()
	<-began
	runtime.Gosched()
	return got
}

func ack(t bench, r queue.Received) {
	t.Helper()
	if err := r.Ack(patient(t)); err != nil {
		t.Fatalf("Ack of envelope %d: %v", r.ID, err)
	}
}

func giveBack(t bench, r queue.Received) {
	t.Helper()
	if err := r.Return(patient(t)); err != nil {
		t.Fatalf("Return of envelope %d: %v", r.ID, err)
	}
}

// receiveAll takes and acknowledges n envelopes and returns their ids.
func receiveAll(t bench, s queue.Subscription, n int) []int64 {
	t.Helper()
	ids := make([]int64, n)
	for i := range ids {
		r := receive(t, s)
		ids[i] = r.ID
		ack(t, r)
	}
	return ids
}

// expectNothing fails if an envelope still comes.
func expectNothing(t bench, s queue.Subscription) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), quiet)
	defer cancel()
	if r, err := s.Receive(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Receive = envelope %d, %v; want nothing", r.ID, err)
	}
}
