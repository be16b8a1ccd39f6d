package storetest

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
)

var outboxTests = []test{
	{"an envelope is unpublished until it is confirmed, the oldest first", func(f *fixture) {
		old := f.accept(f.message())[0]
		young := f.accept(f.message(func(m *core.Message) { m.CreatedAt = at(10 * time.Second) }))[0]
		f.wantUnpublished(t0, 10)
		f.wantUnpublished(at(time.Second), 10, old)
		f.wantUnpublished(at(time.Minute), 10, old, young)
		f.wantUnpublished(at(time.Minute), 1, old)
		f.check("Published", f.Published(f.ctx, []int64{old.ID}))
		f.wantUnpublished(at(time.Minute), 10, young)
		f.check("Published twice", f.Published(f.ctx, []int64{old.ID, young.ID}))
		f.wantUnpublished(at(time.Minute), 10)
		f.check("Published nothing", f.Published(f.ctx, nil))
	}},
	{"envelopes keep channel, lane and messages", func(f *fixture) {
		want := f.accept(f.message(func(m *core.Message) { m.Priority, m.Channel = 10, "email" }))
		got, err := f.Unpublished(f.ctx, at(time.Second), 10)
		f.check("Unpublished", err)
		equal(f, "channel", got[0].Channel, "email")
		equal(f, "lane", got[0].Lane, core.LaneUrgent)
		f.equalIDs("records", got[0].Records, want[0].Records)
	}},
	{"requeue writes envelopes for what waits for nothing but the queue", func(f *fixture) {
		waiting := f.queued()
		f.queued(func(m *core.Message) { m.NextAttempt = at(time.Hour) }) // scheduled
		f.sending()
		f.sent("p")
		postponed := f.queued()
		f.check("Postpone", f.postpone(postponed, at(time.Hour)))
		retrying := f.sending()
		f.record(t0, again(retrying, 1, at(time.Hour)))
		second := f.queued()
		f.publishAll()
		f.equalIDs("requeued", f.requeueAll(1), []core.RecordID{waiting, second})
		got, err := f.Unpublished(f.ctx, at(24*time.Hour), 10)
		f.check("Unpublished", err)
		f.equalIDs("in the outbox", recordsOf(got), []core.RecordID{waiting, second})
	}},
	{"requeue leaves out what is in the outbox already", func(f *fixture) {
		lost := f.queued()
		f.publishAll()
		f.queued()
		f.equalIDs("requeued", f.requeueAll(10), []core.RecordID{lost})
		f.equalIDs("requeued again", f.requeueAll(10), nil)
	}},
	{"requeue goes on after the last id and says when there is no more", func(f *fixture) {
		for range 7 {
			f.queued()
		}
		f.publishAll()
		equal(f, "requeued", len(f.requeueAll(3)), 7)
	}},
}

// wantUnpublished reports other envelopes than those wanted.
func (f *fixture) wantUnpublished(before time.Time, limit int, want ...core.Envelope) {
	f.Helper()
	got, err := f.Unpublished(f.ctx, before, limit)
	f.check("Unpublished", err)
	equal(f, "envelopes", len(got), len(want))
	for i := range min(len(got), len(want)) {
		equal(f, "envelope id", got[i].ID, want[i].ID)
	}
}

// publishAll takes everything out of the outbox, as a queue that then loses it does.
func (f *fixture) publishAll() {
	f.Helper()
	envelopes, err := f.Unpublished(f.ctx, at(1000*time.Hour), 1000)
	f.check("Unpublished", err)
	ids := make([]int64, len(envelopes))
	for i, e := range envelopes {
		ids[i] = e.ID
	}
	f.check("Published", f.Published(f.ctx, ids))
}

// requeueAll walks over everything queued in pages.
func (f *fixture) requeueAll(limit int) []core.RecordID {
	f.Helper()
	var ids []core.RecordID
	for after := core.RecordID(0); ; {
		envelopes, last, err := f.Requeue(f.ctx, after, limit)
		f.check("Requeue", err)
		ids = append(ids, recordsOf(envelopes)...)
		if len(envelopes) == 0 && last == after {
			return ids
		}
		if last <= after {
			f.Fatalf("Requeue went from %d to %d", after, last)
		}
		after = last
	}
}
