package queuetest

import (
	"context"
	"errors"
	"slices"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

func ackIsFinal(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	publish(t, q, sequence(1, 10, "sms", core.LaneNormal)...)
	receiveAll(t, s, 10)
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	expectNothing(t, subscribe(t, q, "sms"))
}

func returnedComesBack(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	publish(t, q, envelope(1, "sms", core.LaneHigh, 5, 6, 7))
	r := receive(t, s)
	r.Records[0] = 99 // the receiver's own copy
	giveBack(t, r)
	again := receive(t, s)
	if again.ID != 1 || again.Lane != core.LaneHigh || !slices.Equal(again.Records, []core.RecordID{5, 6, 7}) {
		t.Errorf("received %+v again, want what was published", again.Envelope)
	}
	ack(t, again)
	expectNothing(t, s)
}

func settledOnce(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	publish(t, q, sequence(1, 2, "sms", core.LaneNormal)...)
	acked, returned := receive(t, s), receive(t, s)
	ack(t, acked)
	ack(t, acked)
	giveBack(t, acked)
	giveBack(t, returned)
	giveBack(t, returned)
	ack(t, returned)
	if ids := receiveAll(t, s, 1); ids[0] != returned.ID {
		t.Errorf("received envelope %d, want %d", ids[0], returned.ID)
	}
	expectNothing(t, s)
}

func closeGivesBack(t bench, q queue.Queue) {
	first := subscribe(t, q, "sms")
	publish(t, q, sequence(1, 20, "sms", core.LaneNormal)...)
	receiveAll(t, first, 5)
	held := receive(t, first)
	receive(t, first)
	second := subscribe(t, q, "sms")
	if err := first.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	_ = held.Ack(patient(t)) // too late: the envelope is somebody else's
	ids := receiveAll(t, second, 15)
	slices.Sort(ids)
	for i, id := range ids {
		if id != int64(i+6) {
			t.Fatalf("received %v after the close, want 6 to 20", ids)
		}
	}
	expectNothing(t, second)
}

// closedReceive waits in Receive until end has been called, and fails unless it says ErrClosed.
func closedReceive(t bench, s queue.Subscription, end func() error) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		_, err := s.Receive(patient(t))
		ended <- err
	}()
	if err := end(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Receive under way: %v, want ErrClosed", err)
	}
	if _, err := s.Receive(patient(t)); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Receive afterwards: %v, want ErrClosed", err)
	}
}

func closeEndsReceive(t bench, q queue.Queue) {
	s, other := subscribe(t, q, "sms"), subscribe(t, q, "sms")
	closedReceive(t, s, s.Close)
	if err := s.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	publish(t, q, envelope(1, "sms", core.LaneNormal))
	receiveAll(t, other, 1)
}

func closedQueue(t bench, q queue.Queue) {
	closedReceive(t, subscribe(t, q, "sms"), q.Close)
	if err := q.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if err := q.Publish(patient(t), sequence(1, 1, "sms", core.LaneNormal)); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Publish: %v, want ErrClosed", err)
	}
	if _, err := q.Subscribe(patient(t), "sms"); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Subscribe: %v, want ErrClosed", err)
	}
}

func contextEnds(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		_, err := s.Receive(ctx)
		ended <- err
	}()
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Receive: %v, want context.Canceled", err)
	}
	publish(t, q, envelope(1, "sms", core.LaneNormal))
	if _, err := s.Receive(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Receive with an ended context: %v, want context.Canceled", err)
	}
	receiveAll(t, s, 1)
}

func givingUpLosesNothing(t bench, q queue.Queue) {
	const envelopes = 300
	s := subscribe(t, q, "sms")
	seen := map[int64]bool{}
	for i := range int64(envelopes) {
		ctx, cancel := context.WithCancel(t.Context())
		got := make(chan queue.Received, 1)
		go func() {
			r, err := s.Receive(ctx)
			if err != nil {
				r.ID = 0
			}
			got <- r
		}()
		go cancel() // just as the publish comes
		publish(t, q, envelope(i+1, "sms", core.LaneNormal))
		if r := <-got; r.ID != 0 {
			seen[r.ID] = true
			ack(t, r)
		}
		cancel()
	}
	for len(seen) < envelopes {
		seen[receiveAll(t, s, 1)[0]] = true
	}
	expectNothing(t, s)
}

func contextEndsPublish(t bench, q queue.Queue) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := q.Publish(ctx, sequence(1, 1, "sms", core.LaneNormal)); !errors.Is(err, context.Canceled) {
		t.Errorf("Publish: %v, want context.Canceled", err)
	}
}
