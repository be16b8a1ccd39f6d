package queuetest

import (
	"errors"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// eventually asks until the answer is yes: some technologies count a moment late.
func eventually(t bench, what string, answer func() bool) {
	t.Helper()
	ctx := patient(t)
	tick := time.NewTicker(quiet)
	defer tick.Stop()
	for !answer() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("not in %v: %s", Patience, what)
		}
	}
}

// laneStats returns the stats of one lane, empty if the queue does not know it.
func laneStats(t bench, q queue.Queue, channel string, lane core.Lane) queue.LaneStats {
	t.Helper()
	stats, err := q.Stats(patient(t))
	if err != nil {
		t.Fatalf("Stats: %v", err)
	}
	for _, s := range stats {
		if s.Channel == channel && s.Lane == lane {
			return s
		}
	}
	return queue.LaneStats{}
}

// statsCount looks at numbers that every technology knows: a broker cannot tell how many messages its
// envelopes hold, and counts what a subscription has fetched ahead as unacknowledged.
func statsCount(t bench, q queue.Queue) {
	publish(t, q, sequence(1, 5, "sms", core.LaneHigh)...)
	publish(t, q, sequence(6, 2, "email", core.LaneHigh)...)
	eventually(t, "five envelopes wait", func() bool {
		s := laneStats(t, q, "sms", core.LaneHigh)
		return s.Envelopes == 5 && s.Unacked == 0
	})
	s := subscribe(t, q, "sms")
	held := receive(t, s)
	eventually(t, "the five wait or are held", func() bool {
		s := laneStats(t, q, "sms", core.LaneHigh)
		return s.Unacked >= 1 && s.Envelopes+s.Unacked == 5
	})
	ack(t, held)
	receiveAll(t, s, 4)
	eventually(t, "none is left", func() bool {
		s := laneStats(t, q, "sms", core.LaneHigh)
		return s.Envelopes == 0 && s.Unacked == 0
	})
	if s := laneStats(t, q, "sms", core.LaneLow); s.Envelopes != 0 || s.Unacked != 0 {
		t.Errorf("low of sms has %+v, want nothing", s)
	}
	if s := laneStats(t, q, "email", core.LaneHigh); s.Envelopes != 2 {
		t.Errorf("high of email has %+v, want two envelopes", s)
	}
}

func generation(t bench, q queue.Queue) string {
	t.Helper()
	g, err := q.Generation(patient(t))
	if err != nil || g == "" {
		t.Fatalf("Generation = %q, %v", g, err)
	}
	return g
}

func generationStays(t bench, q queue.Queue) {
	before := generation(t, q)
	publish(t, q, sequence(1, 3, "sms", core.LaneNormal)...)
	s := subscribe(t, q, "sms")
	receiveAll(t, s, 3)
	_ = s.Close()
	if after := generation(t, q); after != before {
		t.Errorf("the generation went from %q to %q and nothing was lost", before, after)
	}
}

func reopened(t bench, traits Traits, open Open) {
	if traits.Reopen == nil {
		t.Skip("the technology cannot be opened again")
	}
	q := open(t.T)
	before := generation(t, q)
	publish(t, q, sequence(1, 3, "sms", core.LaneNormal)...)
	if err := q.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	again := traits.Reopen(t.T, q)
	after, s := generation(t, again), subscribe(t, again, "sms")
	if !traits.Durable {
		if after == before {
			t.Errorf("the content is lost and the generation is still %q", after)
		}
		expectNothing(t, s)
		return
	}
	if after != before {
		t.Errorf("the content is kept and the generation went from %q to %q", before, after)
	}
	receiveAll(t, s, 3)
}

func fullLane(t bench, openBounded func(*testing.T, int) queue.Queue) {
	if openBounded == nil {
		t.Skip("the technology has no bound")
	}
	q := openBounded(t.T, 10)
	publish(t, q, envelope(1, "sms", core.LaneNormal, 1, 2, 3, 4, 5, 6), envelope(2, "sms", core.LaneNormal, 7, 8, 9))
	over := envelope(3, "sms", core.LaneNormal, 10, 11)
	if err := q.Publish(patient(t), []core.Envelope{over}); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("Publish beyond the bound: %v, want ErrFull", err)
	}
	publish(t, q, envelope(4, "sms", core.LaneUrgent), envelope(5, "email", core.LaneNormal)) // each lane its own bound
	publish(t, q, envelope(6, "sms", core.LaneNormal))
	s := subscribe(t, q, "sms")
	receiveAll(t, s, 2) // urgent and the six
	publish(t, q, over)
	for range 3 {
		if id := receiveAll(t, s, 1)[0]; id == 5 {
			t.Errorf("received envelope %d of another channel", id)
		}
	}
}
