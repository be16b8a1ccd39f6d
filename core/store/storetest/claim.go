package storetest

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

var claimTests = []test{
	{"a claim moves a queued message to sending and makes the attempt durable", func(f *fixture) {
		id := f.queued()
		equal(f, "won", f.claim(id, 1, at(time.Second)), true)
		m, attempts := f.get(id)
		equal(f, "status", m.Status, core.StatusSending)
		equal(f, "attempt", m.Attempt, 1)
		equal(f, "connector", m.Connector, connector)
		equalTime(f, "lease", m.LeaseUntil, at(time.Second+lease))
		equal(f, "attempts", len(attempts), 1)
		equal(f, "number", attempts[0].Number, 1)
		equal(f, "its connector", attempts[0].Connector, connector)
		equal(f, "its outcome", attempts[0].Outcome, "")
		equalTime(f, "started", attempts[0].StartedAt, at(time.Second))
		equal(f, "it runs", attempts[0].FinishedAt.IsZero(), true)
	}},
	{"a claim is won once", func(f *fixture) {
		id := f.queued()
		equal(f, "first", f.claim(id, 1, t0), true)
		equal(f, "second", f.claim(id, 1, t0), false)
		equal(f, "next attempt", f.claim(id, 2, t0), false)
	}},
	{"twice in one call a claim is won once", func(f *fixture) {
		c := store.Claim{Record: f.queued(), Attempt: 1, Connector: connector}
		won, err := f.Claim(f.ctx, []store.Claim{c, c}, t0, at(lease))
		f.check("Claim", err)
		equal(f, "first", won[0], true)
		equal(f, "second", won[1], false)
	}},
	{"a claim is lost when the message is not claimable", func(f *fixture) {
		lost := map[string]struct {
			id      core.RecordID
			attempt int
		}{
			"unknown":                {f.next + 500, 1},
			"attempt ahead":          {f.queued(), 2},
			"attempt behind":         {f.queued(), 0},
			"scheduled":              {f.queued(func(m *core.Message) { m.NextAttempt = at(time.Hour) }), 1},
			"sent":                   {f.sent("p"), 2},
			"expired and not swept":  {f.queued(func(m *core.Message) { m.ExpireAt = at(-time.Second) }), 1},
			"expires at this moment": {f.queued(func(m *core.Message) { m.ExpireAt = t0 }), 1},
		}
		postponed := f.queued()
		f.check("Postpone", f.postpone(postponed, at(time.Minute)))
		lost["postponed"] = struct {
			id      core.RecordID
			attempt int
		}{postponed, 1}
		for name, x := range lost {
			if f.claim(x.id, x.attempt, t0) {
				f.Errorf("%s: the claim was won", name)
			}
		}
	}},
	{"a claim of several answers for each", func(f *fixture) {
		a, b := f.queued(), f.queued()
		won, err := f.Claim(f.ctx, []store.Claim{
			{Record: a, Attempt: 1, Connector: connector}, {Record: a + 500, Attempt: 1}, {Record: b, Attempt: 1, Connector: "sms/backup"},
		}, t0, at(lease))
		f.check("Claim", err)
		equal(f, "answers", [3]bool(won), [3]bool{true, false, true})
		m, _ := f.get(b)
		equal(f, "connector of the third", m.Connector, core.ConnectorID("sms/backup"))
	}},
	{"a further attempt is won once its time has come, and the history keeps the former", func(f *fixture) {
		id := f.sending()
		f.record(at(time.Second), again(id, 1, at(time.Minute)))
		equal(f, "too early", f.claim(id, 2, at(59*time.Second)), false)
		equal(f, "in time", f.claim(id, 2, at(time.Minute)), true)
		m, attempts := f.get(id)
		equal(f, "attempt", m.Attempt, 2)
		equal(f, "waits for nothing", m.NextAttempt.IsZero(), true)
		equal(f, "attempts", len(attempts), 2)
		equal(f, "first outcome", attempts[0].Outcome, core.OutcomeRetryable)
		equal(f, "first error", *attempts[0].Error, core.SendError{Code: "busy", ProviderCode: "451", Message: "try later", Fault: core.FaultProvider})
		equal(f, "second outcome", attempts[1].Outcome, "")
		equal(f, "second has no error", attempts[1].Error == nil, true)
	}},
	{"nothing to claim is no error", func(f *fixture) {
		won, err := f.Claim(f.ctx, nil, t0, at(lease))
		f.check("Claim", err)
		equal(f, "answers", len(won), 0)
	}},
}
