package storetest

import (
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

var recordTests = []test{
	{"an accepted attempt makes the message sent", func(f *fixture) {
		id := f.sending()
		t := accepted(id, 1, "p-1")
		t.Segments, t.Cost = 2, "0.045 CNY"
		counted, _ := f.record(at(2*time.Second), t)
		equal(f, "counted", counted, true)
		m, attempts := f.get(id)
		equal(f, "status", m.Status, core.StatusSent)
		equal(f, "provider id", m.ProviderID, "p-1")
		equal(f, "segments", m.Segments, 2)
		equal(f, "no error", m.Error == nil, true)
		equal(f, "no lease", m.LeaseUntil.IsZero(), true)
		equalTime(f, "sent at", m.SentAt, at(time.Second))
		equalTime(f, "updated at", m.UpdatedAt, at(2*time.Second))
		equal(f, "attempts", len(attempts), 1)
		equal(f, "outcome", attempts[0].Outcome, core.OutcomeAccepted)
		equal(f, "provider ids", slices.Equal(attempts[0].ProviderIDs, []string{"p-1"}), true)
		equalTime(f, "finished", attempts[0].FinishedAt, at(time.Second))
		f.wantNextWake(time.Time{})
	}},
	{"each end of an attempt is kept", func(f *fixture) {
		cause := &core.SendError{Code: "invalid_recipient", ProviderCode: "X1", Message: "no such number", Fault: core.FaultMessage}
		for _, x := range []struct {
			t    store.Transition
			wake time.Time
		}{
			{store.Transition{Status: core.StatusFailed, Outcome: core.OutcomeRejected, Error: cause}, time.Time{}},
			{store.Transition{Status: core.StatusExpired, Outcome: core.OutcomeRetryable, Error: cause}, time.Time{}},
			{store.Transition{Status: core.StatusQueued, Outcome: core.OutcomeThrottled, Error: cause, NextAttempt: at(time.Minute)}, at(time.Minute)},
			{store.Transition{Status: core.StatusUncertain, Outcome: core.OutcomeUncertain, Error: cause, NextAttempt: at(time.Hour)}, at(time.Hour)},
		} {
			x.t.Record, x.t.Attempt = f.sending(), 1
			counted, _ := f.record(at(time.Second), x.t)
			equal(f, "counted", counted, true)
			m, attempts := f.get(x.t.Record)
			equal(f, "status", m.Status, x.t.Status)
			equal(f, "error", *m.Error, *cause)
			equal(f, "outcome", attempts[0].Outcome, x.t.Outcome)
			equal(f, "attempt's error", *attempts[0].Error, *cause)
			equal(f, "not sent", m.SentAt.IsZero(), true)
			f.wantNextWake(x.wake)
			f.record(at(2*time.Second), accepted(x.t.Record, 1)) // so that an uncertain one waits no more
			if x.t.Status == core.StatusQueued {
				equal(f, "claimed", f.claim(x.t.Record, 2, at(time.Minute)), true)
				f.record(at(time.Minute), accepted(x.t.Record, 2))
			}
		}
	}},
	{"only statuses that may follow sending are taken", func(f *fixture) {
		id := f.sending()
		for _, status := range []core.Status{core.StatusScheduled, core.StatusSending, core.StatusCanceled, "nonsense"} {
			if _, _, err := f.Record(f.ctx, []store.Transition{{Record: id, Attempt: 1, Status: status}}, t0); err == nil {
				f.Errorf("an attempt ended as %q", status)
			}
		}
		f.wantStatus(id, core.StatusSending)
	}},
	{"an end counts for the attempt that it names, and once", func(f *fixture) {
		id := f.sending()
		for _, attempt := range []int{0, 2} {
			counted, _ := f.record(t0, accepted(id, attempt, "wrong"))
			equal(f, "another attempt counted", counted, false)
		}
		f.wantStatus(id, core.StatusSending)
		counted, _ := f.record(t0, accepted(id, 1, "p"))
		equal(f, "counted", counted, true)
		counted, _ = f.record(t0, accepted(id, 1, "p"))
		equal(f, "repeat counted", counted, false)
		_, attempts := f.get(id)
		equal(f, "attempts with number 1", countNumber(attempts, 1), 1)
	}},
	{"an end that comes too late is evidence in the history and changes nothing else", func(f *fixture) {
		id := f.sending()
		f.record(at(time.Second), again(id, 1, at(time.Minute)))
		f.claim(id, 2, at(time.Minute))
		before, _ := f.get(id)
		late := accepted(id, 1, "late")
		counted, _ := f.record(at(2*time.Minute), late)
		equal(f, "counted", counted, false)
		f.record(at(3*time.Minute), late) // told twice, kept once
		after, attempts := f.get(id)
		equal(f, "status", after.Status, before.Status)
		equal(f, "provider id", after.ProviderID, before.ProviderID)
		equal(f, "attempts of number 1", countNumber(attempts, 1), 2)
		equal(f, "evidence", attempts[1].Outcome, core.OutcomeAccepted)
		equal(f, "evidence's connector", attempts[1].Connector, connector)
		equal(f, "running", attempts[2].Number, 2)
	}},
	{"the end of an unknown message is nothing", func(f *fixture) {
		counted, applied := f.record(t0, accepted(f.next+500, 1, "p"))
		equal(f, "counted", counted, false)
		equal(f, "applied", len(applied), 0)
	}},
	{"an uncertain message can still be resolved under the same attempt", func(f *fixture) {
		for _, end := range []store.Transition{
			{Status: core.StatusSent, Outcome: core.OutcomeAccepted},
			{Status: core.StatusFailed, Outcome: core.OutcomeRejected},
			{Status: core.StatusQueued, Outcome: core.OutcomeRetryable, NextAttempt: at(time.Hour)},
			{Status: core.StatusExpired, Outcome: core.OutcomeUncertain},
			{Status: core.StatusUncertain, Outcome: core.OutcomeUncertain, NextAttempt: at(2 * time.Hour)},
		} {
			id := f.sending()
			f.record(at(time.Second), unseen(id, 1, at(time.Hour)))
			end.Record, end.Attempt = id, 1
			counted, _ := f.record(at(time.Minute), end)
			equal(f, "counted as "+string(end.Status), counted, true)
			f.wantStatus(id, end.Status)
			counted, _ = f.record(at(time.Minute), accepted(id, 2))
			equal(f, "another attempt counted", counted, false)
		}
	}},
	{"the mark of doubt is never taken away", func(f *fixture) {
		id := f.sending()
		doubt := again(id, 1, t0)
		doubt.Doubtful = true
		f.record(t0, doubt)
		equal(f, "claimed", f.claim(id, 2, t0), true)
		f.record(t0, accepted(id, 2, "p"))
		m, _ := f.get(id)
		equal(f, "doubtful", m.Doubtful, true)
	}},
	{"the budget changes only when one is given", func(f *fixture) {
		id := f.sending()
		more := again(id, 1, t0)
		more.Budget = 6
		f.record(t0, more)
		m, _ := f.get(id)
		equal(f, "budget", m.Budget, 6)
		f.claim(id, 2, t0)
		f.record(t0, again(id, 2, t0))
		m, _ = f.get(id)
		equal(f, "budget", m.Budget, 6)
	}},
	{"a message queued again without a time is due at once", func(f *fixture) {
		id := f.sending()
		f.record(at(time.Second), again(id, 1, time.Time{}))
		f.equalIDs("woken", recordsOf(f.wake(at(time.Second)).Envelopes), []core.RecordID{id})
	}},
	{"an uncertain message without a time waits for people", func(f *fixture) {
		f.record(t0, unseen(f.sending(), 1, time.Time{}))
		f.wantNextWake(time.Time{})
	}},
	{"nothing to record is no error", func(f *fixture) {
		_, _, err := f.Record(f.ctx, nil, t0)
		f.check("Record", err)
	}},
}

func countNumber(attempts []core.Attempt, number int) int {
	n := 0
	for _, a := range attempts {
		if a.Number == number {
			n++
		}
	}
	return n
}
