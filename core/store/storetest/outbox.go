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
		f.published(old.ID)
		f.wantUnpublished(at(time.Minute), 10, young)
		f.published(old.ID, young.ID)
		f.wantUnpublished(at(time.Minute), 10)
		f.published()
	}},
	{"envelopes keep channel, lane and messages", func(f *fixture) {
		want := f.accept(f.message(func(m *core.Message) { m.Priority, m.Channel = 10, "email" }))
		got := f.unpublished(f.generation("a"), at(time.Second), 0, 10)
		equal(f, "channel", got[0].Channel, "email")
		equal(f, "lane", got[0].Lane, core.LaneUrgent)
		f.equalIDs("records", got[0].Records, want[0].Records)
	}},
	{"the unpublished are read in pages", func(f *fixture) {
		var want []core.RecordID
		for range 7 {
			want = append(want, f.queued())
		}
		var got []core.RecordID
		for after := int64(0); ; {
			page := f.unpublished(f.generation("a"), at(time.Second), after, 3)
			if len(page) == 0 {
				break
			}
			got, after = append(got, recordsOf(page)...), page[len(page)-1].ID
		}
		f.equalIDs("read", got, want)
	}},
	{"a generation has one number, and another one another", func(f *fixture) {
		a, b := f.generation("a"), f.generation("b")
		if a <= 0 || b <= 0 || a == b {
			f.Errorf("generations %d and %d", a, b)
		}
		equal(f, "the first once more", f.generation("a"), a)
	}},
	{"what one generation has another has not", func(f *fixture) {
		e := f.accept(f.message())[0]
		old, young := f.generation("old"), f.generation("young")
		f.check("Published", f.Published(f.ctx, []int64{e.ID}, old, t0))
		equal(f, "the old one lacks", len(f.unpublished(old, at(time.Second), 0, 10)), 0)
		equal(f, "the young one lacks", len(f.unpublished(young, at(time.Second), 0, 10)), 1)
		f.check("Published", f.Published(f.ctx, []int64{e.ID}, young, t0))
		equal(f, "the young one lacks", len(f.unpublished(young, at(time.Second), 0, 10)), 0)
		equal(f, "the old one lacks", len(f.unpublished(old, at(time.Second), 0, 10)), 1)
	}},
	{"a settled envelope is forgotten, published or not", func(f *fixture) {
		one, two := f.accept(f.message())[0], f.accept(f.message())[0]
		f.published(one.ID)
		f.check("Settled", f.Settled(f.ctx, []int64{one.ID, two.ID, two.ID + 1}))
		f.check("Settled nothing", f.Settled(f.ctx, nil))
		f.published(one.ID, two.ID)
		for _, name := range []string{"a", "b"} {
			equal(f, "unpublished", len(f.unpublished(f.generation(name), at(time.Hour), 0, 10)), 0)
		}
	}},
	{"doubt makes one lane's old envelopes unpublished", func(f *fixture) {
		doubted := f.accept(f.message())[0]
		channel := f.accept(f.message(func(m *core.Message) { m.Channel = "email" }))[0]
		lane := f.accept(f.message(func(m *core.Message) { m.Priority = 10 }))[0]
		young := f.accept(f.message())[0]
		g := f.generation("a")
		f.check("Published", f.Published(f.ctx, []int64{doubted.ID, channel.ID, lane.ID}, g, t0))
		f.check("Published", f.Published(f.ctx, []int64{young.ID}, g, at(time.Minute)))
		n, err := f.Doubt(f.ctx, doubted.Channel, doubted.Lane, at(time.Minute))
		f.check("Doubt", err)
		equal(f, "doubted", n, 1)
		f.wantUnpublished(at(time.Hour), 10, doubted)
		f.check("Published again", f.Published(f.ctx, []int64{doubted.ID}, g, at(time.Minute)))
		n, err = f.Doubt(f.ctx, doubted.Channel, doubted.Lane, at(time.Minute))
		f.check("Doubt", err)
		equal(f, "doubted again", n, 0)
	}},
}

func (f *fixture) generation(name string) int64 {
	f.Helper()
	g, err := f.Generation(f.ctx, name)
	f.check("Generation", err)
	return g
}

func (f *fixture) published(envelopes ...int64) {
	f.Helper()
	f.check("Published", f.Published(f.ctx, envelopes, f.generation("a"), t0))
}

func (f *fixture) unpublished(generation int64, before time.Time, after int64, limit int) []core.Envelope {
	f.Helper()
	got, err := f.Unpublished(f.ctx, generation, before, after, limit)
	f.check("Unpublished", err)
	return got
}

// wantUnpublished reports other envelopes than those wanted.
func (f *fixture) wantUnpublished(before time.Time, limit int, want ...core.Envelope) {
	f.Helper()
	got := f.unpublished(f.generation("a"), before, 0, limit)
	equal(f, "envelopes", len(got), len(want))
	for i := range min(len(got), len(want)) {
		equal(f, "envelope id", got[i].ID, want[i].ID)
	}
}

// publishAll gives everything in the outbox to the generation that wantUnpublished asks about.
func (f *fixture) publishAll() {
	f.Helper()
	var ids []int64
	for _, e := range f.unpublished(f.generation("a"), at(1000*time.Hour), 0, 1000) {
		ids = append(ids, e.ID)
	}
	f.published(ids...)
}
