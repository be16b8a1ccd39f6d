package storetest

import (
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

var messageTests = []test{
	{"an unknown message is not found", func(f *fixture) {
		_, _, err := f.Message(f.ctx, f.account, f.next+1)
		f.wantKind("Message", err, core.KindNotFound)
	}},
	{"a message comes with its content and its attempts, oldest first", func(f *fixture) {
		id := f.sending()
		for n := 1; n < 4; n++ {
			f.record(t0, again(id, n, t0))
			equal(f, "claimed", f.claim(id, n+1, t0), true)
		}
		f.record(at(time.Second), accepted(id, 4, "p"))
		m, attempts := f.get(id)
		equal(f, "text", m.Content.Text, "hello")
		equal(f, "attempts", len(attempts), 4)
		for i, a := range attempts {
			equal(f, "number", a.Number, i+1)
		}
	}},
	{"a message that was never tried has no attempts", func(f *fixture) {
		_, attempts := f.get(f.queued())
		equal(f, "attempts", len(attempts), 0)
	}},
	{"a batch counts its messages by status", func(f *fixture) {
		b, ids := f.batch(f.account, 4)
		f.claim(ids[0], 1, t0)
		f.claim(ids[1], 1, t0)
		f.record(t0, accepted(ids[1], 1))
		got, counts, err := f.Batch(f.ctx, f.account, b)
		f.check("Batch", err)
		equal(f, "accepted", got.Accepted, 4)
		equal(f, "rejected", got.Rejected, 1)
		equal(f, "canceled", got.Canceled, false)
		want := map[core.Status]int{core.StatusQueued: 2, core.StatusSending: 1, core.StatusSent: 1}
		equal(f, "counts", fmt.Sprint(counts), fmt.Sprint(want))
	}},
	{"an unknown batch is not found", func(f *fixture) {
		_, _, err := f.Batch(f.ctx, f.account, core.BatchID(f.next+1))
		f.wantKind("Batch", err, core.KindNotFound)
	}},
}

// batch accepts a batch of n messages.
func (f *fixture) batch(account core.AccountID, n int) (core.BatchID, []core.RecordID) {
	f.Helper()
	f.next++
	b := core.Batch{ID: core.BatchID(f.next), Account: account, Channel: "sms", Accepted: n, Rejected: 1, CreatedAt: t0}
	messages, ids := make([]core.Message, n), make([]core.RecordID, n)
	for i := range messages {
		messages[i] = f.message(func(m *core.Message) { m.Batch, m.Account = b.ID, account })
		ids[i] = messages[i].ID
	}
	_, _, err := f.Accept(f.ctx, []store.Submission{{Account: account, Batch: &b, Messages: messages}})
	f.check("Accept", err)
	return b.ID, ids
}

var listTests = []test{
	{"a list runs from the newest to the oldest and goes on at its end", func(f *fixture) {
		var want []core.RecordID
		for range 7 {
			want = append([]core.RecordID{f.queued()}, want...)
		}
		var got []core.RecordID
		for before := core.RecordID(0); ; {
			page := f.list(store.Filter{Before: before, Limit: 3})
			if len(page) == 0 {
				break
			}
			got = append(got, page...)
			before = page[len(page)-1]
		}
		f.equalIDs("listed", got, want)
	}},
	{"a list has metadata and no content", func(f *fixture) {
		f.queued(func(m *core.Message) { m.Metadata = map[string]string{"k": "v"} })
		got, err := f.List(f.ctx, f.account, store.Filter{Limit: 1})
		f.check("List", err)
		equal(f, "metadata", got[0].Metadata["k"], "v")
		equal(f, "text", got[0].Content.Text, "")
	}},
	{"each filter narrows the list, and all together do", func(f *fixture) {
		day := func(n int) func(*core.Message) {
			return func(m *core.Message) {
				m.CreatedAt = at(time.Duration(n) * 24 * time.Hour)
				m.ID = core.FirstRecordID(m.CreatedAt) + f.next%4096
			}
		}
		to := func(r string) func(*core.Message) { return func(m *core.Message) { m.Recipient = r } }
		template := func(id core.TemplateID) func(*core.Message) { return func(m *core.Message) { m.Template = id } }
		a := f.queued(day(1), to("x"), template(1))
		b := f.queued(day(2), to("x"), func(m *core.Message) { m.Channel = "email" })
		c := f.queued(day(3), to("y"), template(1))
		d := f.queued(day(4), to("x"), template(2))
		f.claim(d, 1, t0)
		failed := f.sending(day(5), to("y"))
		f.record(t0, store.Transition{Record: failed, Attempt: 1, Status: core.StatusFailed, Outcome: core.OutcomeRejected})
		sent := f.sending(day(6), to("x"))
		f.record(t0, accepted(sent, 1))
		scheduled := f.queued(day(7), func(m *core.Message) { m.NextAttempt = at(300 * time.Hour) })
		when := func(n int) time.Time { return at(time.Duration(n) * 24 * time.Hour) }
		for name, x := range map[string]struct {
			filter store.Filter
			want   []core.RecordID
		}{
			"nothing":             {store.Filter{}, []core.RecordID{scheduled, sent, failed, d, c, b, a}},
			"channel":             {store.Filter{Channel: "email"}, []core.RecordID{b}},
			"recipient":           {store.Filter{Recipient: "x"}, []core.RecordID{sent, d, b, a}},
			"template":            {store.Filter{Template: 1}, []core.RecordID{c, a}},
			"queued":              {store.Filter{Status: core.StatusQueued}, []core.RecordID{c, b, a}},
			"sending":             {store.Filter{Status: core.StatusSending}, []core.RecordID{d}},
			"failed":              {store.Filter{Status: core.StatusFailed}, []core.RecordID{failed}},
			"sent":                {store.Filter{Status: core.StatusSent}, []core.RecordID{sent}},
			"scheduled":           {store.Filter{Status: core.StatusScheduled}, []core.RecordID{scheduled}},
			"from, inclusive":     {store.Filter{CreatedFrom: when(5)}, []core.RecordID{scheduled, sent, failed}},
			"before, exclusive":   {store.Filter{CreatedBefore: when(3)}, []core.RecordID{b, a}},
			"between":             {store.Filter{CreatedFrom: when(2), CreatedBefore: when(4)}, []core.RecordID{c, b}},
			"recipient and time":  {store.Filter{Recipient: "x", CreatedFrom: when(2), CreatedBefore: when(6)}, []core.RecordID{d, b}},
			"recipient, status":   {store.Filter{Recipient: "x", Status: core.StatusQueued}, []core.RecordID{b, a}},
			"template and status": {store.Filter{Template: 1, Status: core.StatusQueued}, []core.RecordID{c, a}},
			"cursor":              {store.Filter{Recipient: "x", Before: d}, []core.RecordID{b, a}},
			"cursor and end":      {store.Filter{CreatedBefore: when(6), Before: c}, []core.RecordID{b, a}},
			"end before cursor":   {store.Filter{CreatedBefore: when(2), Before: c}, []core.RecordID{a}},
			"all":                 {store.Filter{Channel: "sms", Status: core.StatusQueued, Recipient: "x", Template: 1, CreatedFrom: when(1), CreatedBefore: when(2)}, []core.RecordID{a}},
			"no match":            {store.Filter{Recipient: "z"}, nil},
			"before all time":     {store.Filter{CreatedBefore: time.Unix(0, 0)}, nil},
		} {
			x.filter.Limit = 100
			f.equalIDs(name, f.list(x.filter), x.want)
			if len(x.want) > 1 {
				x.filter.Limit = 1
				f.equalIDs(name+", limited", f.list(x.filter), x.want[:1])
			}
		}
	}},
	{"every status can be listed", func(f *fixture) {
		for _, status := range core.Statuses() {
			f.list(store.Filter{Status: status, Limit: 10})
		}
	}},
	{"a batch can be listed", func(f *fixture) {
		f.queued()
		b, ids := f.batch(f.account, 2)
		f.equalIDs("batch", f.list(store.Filter{Batch: b, Limit: 10}), []core.RecordID{ids[1], ids[0]})
		f.equalIDs("batch and status", f.list(store.Filter{Batch: b, Status: core.StatusSent, Limit: 10}), nil)
	}},
	{"messages accepted out of order are listed in order", func(f *fixture) {
		var ids []core.RecordID
		for range 30 {
			ids = append(ids, f.message().ID)
		}
		for i := range ids { // every third first, as of requests that overtake each other
			id := ids[i*7%30]
			f.accept(f.message(func(m *core.Message) { m.ID, m.Recipient = id, "x" }))
		}
		got := f.list(store.Filter{Recipient: "x", Limit: 100})
		equal(f, "listed", len(got), 30)
		for i := range got {
			equal(f, "id", got[i], ids[29-i])
		}
	}},
}

func (f *fixture) list(filter store.Filter) []core.RecordID {
	f.Helper()
	messages, err := f.List(f.ctx, f.account, filter)
	f.check("List", err)
	var ids []core.RecordID
	for _, m := range messages {
		ids = append(ids, m.ID)
	}
	return ids
}

var steerTests = []test{
	{"a scheduled or queued message can be canceled, once", func(f *fixture) {
		for _, change := range []func(*core.Message){
			func(*core.Message) {},
			func(m *core.Message) { m.NextAttempt = at(time.Hour) },
			func(m *core.Message) { m.ExpireAt = at(time.Hour) },
		} {
			id := f.queued(change)
			equal(f, "canceled", f.cancel(store.Target{Record: id}), 1)
			f.wantStatus(id, core.StatusCanceled)
			equal(f, "again", f.cancel(store.Target{Record: id}), 0)
			equal(f, "claimed", f.claim(id, 1, at(2*time.Hour)), false)
		}
		f.wantNextWake(time.Time{})
	}},
	{"a message that a worker has cannot be canceled", func(f *fixture) {
		for _, id := range []core.RecordID{f.sending(), f.sent("p")} {
			equal(f, "canceled", f.cancel(store.Target{Record: id}), 0)
		}
	}},
	{"canceling a batch cancels what still waits", func(f *fixture) {
		b, ids := f.batch(f.account, 3)
		outside := f.queued()
		f.claim(ids[0], 1, t0)
		equal(f, "canceled", f.cancel(store.Target{Batch: b}), 2)
		f.wantStatus(ids[0], core.StatusSending)
		f.wantStatus(ids[1], core.StatusCanceled)
		f.wantStatus(outside, core.StatusQueued)
		got, counts, err := f.Batch(f.ctx, f.account, b)
		f.check("Batch", err)
		equal(f, "batch is canceled", got.Canceled, true)
		equal(f, "canceled messages", counts[core.StatusCanceled], 2)
		equal(f, "again", f.cancel(store.Target{Batch: b}), 0)
	}},
	{"a batch of which nothing was canceled is not canceled", func(f *fixture) {
		b, ids := f.batch(f.account, 1)
		f.claim(ids[0], 1, t0)
		equal(f, "canceled", f.cancel(store.Target{Batch: b}), 0)
		got, _, err := f.Batch(f.ctx, f.account, b)
		f.check("Batch", err)
		equal(f, "batch is canceled", got.Canceled, false)
	}},
	{"canceling what does not exist is not found", func(f *fixture) {
		for _, what := range []store.Target{{Record: f.next + 1}, {Batch: core.BatchID(f.next + 1)}, {}} {
			_, err := f.Cancel(f.ctx, f.account, what, t0)
			f.wantKind(fmt.Sprintf("%+v", what), err, core.KindNotFound)
		}
	}},
	{"a retry begins a new round", func(f *fixture) {
		fail := func(id core.RecordID) {
			f.record(t0, store.Transition{
				Record: id, Attempt: 1, Status: core.StatusFailed, Outcome: core.OutcomeRejected, Error: &core.SendError{Code: "invalid_recipient", Message: "m"},
			})
		}
		id := f.sending(func(m *core.Message) { m.Priority = 8 })
		fail(id)
		f.publishAll()
		e, err := f.Retry(f.ctx, f.account, id, 3, at(time.Minute))
		f.check("Retry", err)
		equal(f, "channel", e.Channel, "sms")
		equal(f, "lane", e.Lane, core.LaneHigh)
		f.equalIDs("envelope", e.Records, []core.RecordID{id})
		f.wantUnpublished(at(time.Hour), 10, e)
		m := f.wantStatus(id, core.StatusQueued)
		equal(f, "budget", m.Budget, 4)
		equal(f, "doubtful", m.Doubtful, false)
		equal(f, "claimed", f.claim(id, 2, at(time.Minute)), true)
		_, attempts := f.get(id)
		equal(f, "attempts", len(attempts), 2)
		equal(f, "first error", attempts[0].Error.Code, "invalid_recipient")
	}},
	{"a retry of an uncertain message makes it doubtful", func(f *fixture) {
		id := f.sending()
		f.record(t0, unseen(id, 1, at(time.Hour)))
		_, err := f.Retry(f.ctx, f.account, id, 3, t0)
		f.check("Retry", err)
		m := f.wantStatus(id, core.StatusQueued)
		equal(f, "doubtful", m.Doubtful, true)
		f.wantNextWake(time.Time{})
	}},
	{"a retry of an expired message lets it live", func(f *fixture) {
		id := f.queued(func(m *core.Message) { m.ExpireAt = at(time.Minute) })
		f.wake(at(time.Minute))
		_, err := f.Retry(f.ctx, f.account, id, 3, at(time.Hour))
		f.check("Retry", err)
		f.wantNextWake(time.Time{})
		equal(f, "claimed", f.claim(id, 1, at(time.Hour)), true)
	}},
	{"a retry keeps an expire_at that is still to come", func(f *fixture) {
		id := f.sending(func(m *core.Message) { m.ExpireAt = at(time.Hour) })
		f.record(t0, store.Transition{Record: id, Attempt: 1, Status: core.StatusFailed, Outcome: core.OutcomeRejected})
		_, err := f.Retry(f.ctx, f.account, id, 3, at(time.Minute))
		f.check("Retry", err)
		f.wantNextWake(at(time.Hour))
	}},
	{"a retry of an undelivered message keeps the history", func(f *fixture) {
		id := f.sent("p-1")
		f.receipts(receipt("p-1", core.ReceiptUndelivered))
		_, err := f.Retry(f.ctx, f.account, id, 3, at(time.Hour))
		f.check("Retry", err)
		equal(f, "claimed", f.claim(id, 2, at(time.Hour)), true)
		_, attempts := f.get(id)
		equal(f, "outcome", attempts[0].Outcome, core.OutcomeAccepted)
		equal(f, "provider ids", len(attempts[0].ProviderIDs), 1)
	}},
	{"only what ended badly can be retried", func(f *fixture) {
		canceled := f.queued()
		f.cancel(store.Target{Record: canceled})
		for _, id := range []core.RecordID{f.queued(), f.sending(), f.sent("p"), canceled} {
			_, err := f.Retry(f.ctx, f.account, id, 3, t0)
			f.wantKind("Retry", err, core.KindConflict)
		}
		_, err := f.Retry(f.ctx, f.account, f.next+500, 3, t0)
		f.wantKind("Retry of an unknown message", err, core.KindNotFound)
	}},
}

func (f *fixture) cancel(what store.Target) int {
	f.Helper()
	n, err := f.Cancel(f.ctx, f.account, what, at(time.Second))
	f.check("Cancel", err)
	return n
}
