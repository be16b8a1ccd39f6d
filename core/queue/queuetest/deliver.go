package queuetest

import (
	"math"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

func arrivesWhole(t bench, q queue.Queue) {
	full := make([]core.RecordID, core.MaxEnvelope)
	for i := range full {
		full[i] = core.RecordID(1)<<53 - 1 - core.RecordID(i)
	}
	sent := []core.Envelope{
		envelope(1, "sms", core.LaneUrgent, 1),
		envelope(2, "sms", core.LaneHigh, 7, 5, 6),
		envelope(3, "sms", core.LaneNormal, full...),
		envelope(math.MaxInt64, "sms", core.LaneLow, 9),
	}
	given := make([]core.Envelope, len(sent))
	for i, e := range sent {
		given[i] = e
		given[i].Records = slices.Clone(e.Records)
	}
	publish(t, q, given...)
	for _, e := range given {
		clear(e.Records) // the publisher's own again once Publish has returned
	}
	s := subscribe(t, q, "sms")
	got := map[int64]core.Envelope{}
	for range sent {
		r := receive(t, s)
		got[r.ID] = r.Envelope
		ack(t, r)
	}
	for _, want := range sent {
		e := got[want.ID]
		if e.Channel != want.Channel || e.Lane != want.Lane || !slices.Equal(e.Records, want.Records) {
			t.Errorf("received %+v, want %+v", e, want)
		}
	}
}

func keepsOrder(t bench, q queue.Queue, overtaking int) {
	s := subscribe(t, q, "sms")
	publish(t, q, sequence(1, 300, "sms", core.LaneNormal)...)
	publish(t, q, sequence(301, 300, "sms", core.LaneNormal)...)
	ids := receiveAll(t, s, 600)
	for i, id := range ids {
		if early := int(id-1) - i; early > overtaking || -early > overtaking {
			t.Fatalf("envelopes came as %v", ids)
		}
	}
}

func ownChannel(t bench, q queue.Queue) {
	sms, email, app := subscribe(t, q, "sms"), subscribe(t, q, "email"), subscribe(t, q, "app")
	publish(t, q, envelope(1, "sms", core.LaneNormal), envelope(2, "email", core.LaneNormal), envelope(3, "sms", core.LaneLow))
	if ids := receiveAll(t, email, 1); ids[0] != 2 {
		t.Errorf("email got envelope %d", ids[0])
	}
	ids := receiveAll(t, sms, 2)
	slices.Sort(ids)
	if !slices.Equal(ids, []int64{1, 3}) {
		t.Errorf("sms got envelopes %v", ids)
	}
	expectNothing(t, app)
}

func wokenByPublish(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	for i := range int64(20) {
		got := receiving(t, s)
		publish(t, q, envelope(i+1, "sms", core.LaneNormal))
		r := <-got
		ack(t, r)
		if r.ID != i+1 {
			t.Fatalf("received envelope %d, want %d", r.ID, i+1)
		}
	}
}

func wokenByReturn(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	publish(t, q, envelope(1, "sms", core.LaneNormal))
	held := receive(t, s)
	got := receiving(t, s)
	giveBack(t, held)
	ack(t, <-got)
}

func wokenByClose(t bench, q queue.Queue) {
	first := subscribe(t, q, "sms")
	publish(t, q, envelope(1, "sms", core.LaneNormal))
	receive(t, first)
	got := receiving(t, subscribe(t, q, "sms"))
	if err := first.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	ack(t, <-got)
}

// round is how many turns give each lane its weight.
func round() int {
	total := 0
	for _, l := range core.Lanes() {
		total += l.Weight()
	}
	return total
}

func servedByWeight(t bench, q queue.Queue, pace time.Duration) {
	const rounds = 20
	turns := rounds * round()
	for i, l := range core.Lanes() {
		publish(t, q, sequence(int64(i*10_000+1), turns+2*round(), "sms", l)...)
	}
	s := subscribe(t, q, "sms")
	receiveAll(t, s, round()) // a technology that fetches ahead may need a few turns to see every lane
	counts := map[core.Lane]int{}
	for range turns {
		if pace > 0 {
			<-time.After(pace)
		}
		r := receive(t, s)
		counts[r.Lane]++
		ack(t, r)
	}
	for _, l := range core.Lanes() {
		want := rounds * l.Weight()
		if slack := max(want/10, 2); counts[l] < want-slack || counts[l] > want+slack {
			t.Errorf("%s had %d of %d turns, want %d", l, counts[l], turns, want)
		}
	}
}

func lowDoesNotStarve(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	publish(t, q, sequence(1, 50, "sms", core.LaneUrgent)...)
	publish(t, q, envelope(1_000_000, "sms", core.LaneLow))
	for turn := range int64(1000) {
		r := receive(t, s)
		ack(t, r)
		if r.Lane == core.LaneLow {
			return
		}
		publish(t, q, envelope(1000+turn, "sms", core.LaneUrgent))
	}
	t.Error("low had none of 1000 turns while urgent never ended")
}

func aloneGetsAll(t bench, q queue.Queue) {
	s := subscribe(t, q, "sms")
	for i, l := range core.Lanes() {
		publish(t, q, sequence(int64(i*1000+1), 100, "sms", l)...)
		receiveAll(t, s, 100)
	}
	expectNothing(t, s)
}
