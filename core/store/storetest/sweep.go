package storetest

import (
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

func (f *fixture) postpone(id core.RecordID, until time.Time) error {
	return f.Postpone(f.ctx, []store.Postponement{{Record: id, Until: until}}, t0)
}

var waitingTests = []test{
	{"postponing gives a queued message a time", func(f *fixture) {
		id := f.queued()
		f.check("Postpone", f.postpone(id, at(time.Minute)))
		m := f.wantStatus(id, core.StatusQueued)
		equalTime(f, "next attempt", m.NextAttempt, at(time.Minute))
		equal(f, "attempt", m.Attempt, 0)
		f.wantNextWake(at(time.Minute))
	}},
	{"a postponed message still expires in time", func(f *fixture) {
		id := f.queued(func(m *core.Message) { m.ExpireAt = at(time.Second) })
		f.check("Postpone", f.postpone(id, at(time.Minute)))
		f.wantNextWake(at(time.Second))
	}},
	{"only queued messages are postponed", func(f *fixture) {
		sending, scheduled := f.sending(), f.queued(func(m *core.Message) { m.NextAttempt = at(time.Hour) })
		f.check("Postpone", f.postpone(sending, at(2*time.Hour)))
		f.check("Postpone", f.postpone(scheduled, at(2*time.Hour)))
		f.wantStatus(sending, core.StatusSending)
		m := f.wantStatus(scheduled, core.StatusScheduled)
		equalTime(f, "scheduled for", m.NextAttempt, at(time.Hour))
	}},
	{"finishing ends queued messages with an error", func(f *fixture) {
		cause := core.SendError{Code: core.CodeNoConnector, Message: "nothing carries sms", Fault: core.FaultConfig}
		queued, sending := f.queued(), f.sending()
		f.check("Finish", f.Finish(f.ctx, []core.RecordID{queued, sending, sending + 500}, core.StatusFailed, &cause, at(time.Second)))
		m := f.wantStatus(queued, core.StatusFailed)
		equal(f, "error", *m.Error, cause)
		f.wantStatus(sending, core.StatusSending)
	}},
	{"finishing keeps the attempts before as they were", func(f *fixture) {
		id := f.sending()
		f.record(t0, again(id, 1, at(time.Minute)))
		cause := core.SendError{Code: core.CodeExpired, Message: "too late"}
		f.check("Finish", f.Finish(f.ctx, []core.RecordID{id}, core.StatusExpired, &cause, at(time.Second)))
		m, attempts := f.get(id)
		equal(f, "error", m.Error.Code, core.CodeExpired)
		equal(f, "attempts", len(attempts), 1)
		equal(f, "its error", attempts[0].Error.Code, "busy")
		f.wantNextWake(time.Time{})
	}},
	{"finishing does not forget that the last attempt may have arrived", func(f *fixture) {
		unseen, refused := f.sending(), f.sending()
		uncertain := again(unseen, 1, at(time.Minute))
		uncertain.Outcome = core.OutcomeUncertain
		f.record(t0, uncertain)
		f.record(t0, again(refused, 1, at(time.Minute)))
		f.check("Finish", f.Finish(f.ctx, []core.RecordID{unseen, refused}, core.StatusExpired, nil, at(time.Second)))
		m, _ := f.get(unseen)
		equal(f, "doubtful", m.Doubtful, true)
		m, _ = f.get(refused)
		equal(f, "doubtful", m.Doubtful, false)
	}},
	{"a message that nobody tried ends only as expired or failed", func(f *fixture) {
		id := f.queued()
		for _, status := range []core.Status{core.StatusSent, core.StatusSending, core.StatusDelivered} {
			if err := f.Finish(f.ctx, []core.RecordID{id}, status, nil, t0); err == nil {
				f.Errorf("a queued message was finished as %s", status)
			}
		}
		f.wantStatus(id, core.StatusQueued)
	}},
}

var sweepTests = []test{
	{"an empty store has nothing due", func(f *fixture) {
		f.wantNextWake(time.Time{})
		woken := f.wake(t0)
		equal(f, "found", len(woken.Envelopes)+len(woken.Expired)+len(woken.Lapsed), 0)
		_, waits, err := f.Oldest(f.ctx, t0)
		f.check("Oldest", err)
		equal(f, "something waits", waits, false)
	}},
	{"a queued message waits for the queue, not for a time", func(f *fixture) {
		f.queued()
		f.wantNextWake(time.Time{})
	}},
	{"a scheduled message is queued when it is due, in an envelope in the outbox", func(f *fixture) {
		id := f.queued(func(m *core.Message) { m.NextAttempt, m.Priority = at(time.Minute), 10 })
		f.wantNextWake(at(time.Minute))
		equal(f, "too early", len(f.wake(at(59*time.Second)).Envelopes), 0)
		envelopes := f.wake(at(time.Minute)).Envelopes
		f.equalIDs("woken", recordsOf(envelopes), []core.RecordID{id})
		equal(f, "lane", envelopes[0].Lane, core.LaneUrgent)
		m := f.wantStatus(id, core.StatusQueued)
		equal(f, "waits for nothing", m.NextAttempt.IsZero(), true)
		f.wantNextWake(time.Time{})
		f.wantUnpublished(at(time.Hour), 10, envelopes...)
		equal(f, "woken twice", len(f.wake(at(time.Hour)).Envelopes), 0)
	}},
	{"a message for another attempt is queued when it is due", func(f *fixture) {
		id := f.sending()
		f.record(t0, again(id, 1, at(time.Minute)))
		f.wantNextWake(at(time.Minute))
		f.equalIDs("woken", recordsOf(f.wake(at(time.Minute)).Envelopes), []core.RecordID{id})
		equal(f, "claimed", f.claim(id, 2, at(time.Minute)), true)
	}},
	{"what waits past its expire_at expires", func(f *fixture) {
		expires := func(m *core.Message) { m.ExpireAt = at(time.Minute) }
		queued := f.queued(expires)
		scheduled := f.queued(expires, func(m *core.Message) { m.NextAttempt = at(time.Hour) })
		retrying := f.sending(expires)
		f.record(t0, again(retrying, 1, at(time.Hour)))
		f.wantNextWake(at(time.Minute))
		woken := f.wake(at(time.Minute))
		slices.Sort(woken.Expired)
		f.equalIDs("expired", woken.Expired, []core.RecordID{queued, scheduled, retrying})
		equal(f, "enveloped", len(woken.Envelopes), 0)
		for _, id := range woken.Expired {
			m := f.wantStatus(id, core.StatusExpired)
			equal(f, "error", m.Error.Code, core.CodeExpired)
		}
		_, attempts := f.get(retrying)
		equal(f, "the attempt's error", attempts[0].Error.Code, "busy")
		f.wantNextWake(time.Time{})
	}},
	{"a message that is being sent does not expire", func(f *fixture) {
		id := f.sending(func(m *core.Message) { m.ExpireAt = at(time.Second) })
		f.wantNextWake(at(lease))
		equal(f, "expired", len(f.wake(at(2*time.Second)).Expired), 0)
		f.wantStatus(id, core.StatusSending)
	}},
	{"a message past its lease is lapsed, and nobody else's until the new lease", func(f *fixture) {
		id := f.sending()
		f.wantNextWake(at(lease))
		lapsed := f.wake(at(lease)).Lapsed
		equal(f, "lapsed", len(lapsed), 1)
		l := lapsed[0]
		equal(f, "message", l.Message.ID, id)
		equal(f, "status", l.Message.Status, core.StatusSending)
		equal(f, "attempt", l.Message.Attempt, 1)
		equal(f, "connector", l.Message.Connector, connector)
		equalTime(f, "started", l.StartedAt, t0)
		equalTime(f, "leased until", l.Message.LeaseUntil, at(2*lease))
		equal(f, "at once again", len(f.wake(at(lease)).Lapsed), 0)
		equal(f, "past the new lease", len(f.wake(at(2*lease)).Lapsed), 1)
		counted, _ := f.record(at(2*lease), unseen(id, 1, time.Time{}))
		equal(f, "its resolution counted", counted, true)
		f.wantNextWake(time.Time{})
	}},
	{"an uncertain message that is due is looked at again", func(f *fixture) {
		id := f.sending()
		t := unseen(id, 1, at(time.Minute))
		t.ProviderIDs, t.StartedAt = []string{"p-1", "p-2"}, at(time.Second)
		f.record(t0, t)
		f.wantNextWake(at(time.Minute))
		lapsed := f.wake(at(time.Minute)).Lapsed
		equal(f, "lapsed", len(lapsed), 1)
		equal(f, "status", lapsed[0].Message.Status, core.StatusUncertain)
		equal(f, "provider ids", slices.Equal(lapsed[0].ProviderIDs, t.ProviderIDs), true)
		equalTime(f, "started", lapsed[0].StartedAt, at(time.Second))
		f.wantNextWake(at(time.Minute + lease))
		counted, _ := f.record(at(2*time.Minute), accepted(id, 1, "p-1"))
		equal(f, "counted", counted, true)
	}},
	{"one sweep handles up to the limit, the longest overdue first", func(f *fixture) {
		var ids []core.RecordID
		for i := range 5 {
			ids = append(ids, f.queued(func(m *core.Message) { m.NextAttempt = at(time.Duration(5-i) * time.Second) }))
		}
		slices.Reverse(ids)
		for _, want := range [][]core.RecordID{ids[:2], ids[2:4], ids[4:], nil} {
			woken, err := f.Wake(f.ctx, at(time.Minute), at(2*time.Minute), 2)
			f.check("Wake", err)
			f.equalIDs("woken", recordsOf(woken.Envelopes), want)
		}
	}},
	{"woken messages share envelopes of their channel and lane", func(f *fixture) {
		for i := range 250 {
			f.queued(func(m *core.Message) { m.NextAttempt, m.Channel = at(time.Second), []string{"sms", "email"}[i%2] })
		}
		woken, err := f.Wake(f.ctx, at(time.Second), at(lease), 1000)
		f.check("Wake", err)
		equal(f, "messages", len(recordsOf(woken.Envelopes)), 250)
		equal(f, "envelopes", len(woken.Envelopes), 4)
	}},
	{"the oldest message is one that is due or being sent", func(f *fixture) {
		made := func(d time.Duration) func(*core.Message) {
			return func(m *core.Message) { m.CreatedAt = at(d) }
		}
		f.queued(made(0), func(m *core.Message) { m.NextAttempt = at(time.Hour) }) // scheduled
		retrying := f.sending(made(time.Second))
		f.record(t0, again(retrying, 1, at(30*time.Minute)))
		sending, queued := f.sending(made(2*time.Second)), f.queued(made(3*time.Second))
		f.wantOldest(at(time.Minute), at(2*time.Second))
		f.record(t0, accepted(sending, 1))
		f.wantOldest(at(time.Minute), at(3*time.Second))
		f.wantOldest(at(31*time.Minute), at(time.Second))
		_, err := f.Cancel(f.ctx, f.account, store.Target{Record: queued}, t0)
		f.check("Cancel", err)
		f.wantOldest(at(time.Minute), time.Time{})
	}},
	{"purge forgets expired keys and unmatched receipts, up to the limit", func(f *fixture) {
		for i, name := range []string{"a", "b", "c"} {
			k := *f.keyed(name, f.message()).Key
			k.ExpiresAt = at(time.Duration(i) * time.Hour)
			f.check("SaveKey", f.SaveKey(f.ctx, k))
		}
		sent := f.sent("known")
		f.receipts(receipt("known", core.ReceiptDelivered), receipt("unknown-1", core.ReceiptDelivered), receipt("unknown-2", core.ReceiptDelivered))
		f.wantStatus(sent, core.StatusDelivered)
		purge := func(want int) {
			f.Helper()
			n, err := f.Purge(f.ctx, at(time.Hour), at(2*time.Hour), 3)
			f.check("Purge", err)
			equal(f, "purged", n, want)
		}
		purge(3)
		purge(1)
		purge(0)
		_, err := f.FindKey(f.ctx, f.account, "c", at(time.Hour))
		f.check("the key in force", err)
		applied := f.receipts(receipt("known", core.ReceiptDelivered))
		equal(f, "a matched receipt is still known for a repeat", len(applied), 0)
	}},
}

// wantOldest reports another oldest message; the zero time is none.
func (f *fixture) wantOldest(now, want time.Time) {
	f.Helper()
	oldest, ok, err := f.Oldest(f.ctx, now)
	f.check("Oldest", err)
	equal(f, "something waits", ok, !want.IsZero())
	if ok {
		equalTime(f, "oldest", oldest, want)
	}
}
