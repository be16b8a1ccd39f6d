// Package storetest is the contract of core/store as tests. Every technology passes the same suite:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Factory{Open: open})
//	}
//
// Read it as documentation: each test is named for what holds.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Factory makes the stores that the suite tests.
type Factory struct {
	// Open returns a store on an empty database of its own. The suite closes it, and opens several at a time.
	Open func(t *testing.T) store.Store
	// Another opens a second store on the database of s, as a second gateway would. It is nil where the
	// technology lets only one process have a database.
	Another func(t *testing.T, s store.Store) store.Store
	// Exec runs a statement of plain SQL on the database of s, beside the store, as an operator would. Without
	// it the tests that need it are skipped.
	Exec func(t *testing.T, s store.Store, statement string) error
}

// Run tests that the stores of a factory keep the contract.
func Run(t *testing.T, f Factory) {
	t.Helper()
	groups := []struct {
		name  string
		tests []test
	}{
		{"Intake", intakeTests},
		{"Outbox", outboxTests},
		{"Claim", claimTests},
		{"Record", recordTests},
		{"Waiting", waitingTests},
		{"Sweep", sweepTests},
		{"Receipts", receiptTests},
		{"Parts", partTests},
		{"Messages", messageTests},
		{"List", listTests},
		{"Steer", steerTests},
		{"Templates", templateTests},
		{"Accounts", accountTests},
		{"Tuning", tuningTests},
		{"Versions", versionTests},
		{"Rollouts", rolloutTests},
		{"RolloutReports", reportTests},
		{"RolloutHistory", rolloutHistoryTests},
		{"RolloutConcurrency", rolloutConcurrencyTests},
		{"Shared", sharedTests},
		{"Isolation", isolationTests},
		{"Concurrency", concurrencyTests},
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for _, x := range g.tests {
				t.Run(x.holds, func(t *testing.T) { x.run(newFixture(t, f)) })
			}
		})
	}
	t.Run("Model", func(t *testing.T) {
		t.Parallel()
		testModel(t, f)
	})
}

// test says what holds and checks it on an empty store.
type test struct {
	holds string
	run   func(f *fixture)
}

// t0 is the time at which the tests begin. The clock of the machine plays no part.
var t0 = time.Date(2026, time.January, 15, 10, 0, 0, 0, time.UTC)

// at is a time on the clock of the tests.
func at(d time.Duration) time.Time { return t0.Add(d) }

const (
	lease     = time.Minute
	connector = core.ConnectorID("sms/main")
)

// fixture is a store under test with short names for what tests do with it. Any error ends the test.
type fixture struct {
	*testing.T
	store.Store
	factory Factory
	ctx     context.Context
	account core.AccountID
	other   core.AccountID // another tenant
	next    core.RecordID
}

func newFixture(t *testing.T, factory Factory) *fixture {
	t.Helper()
	f := &fixture{T: t, Store: factory.Open(t), factory: factory, ctx: t.Context(), next: core.FirstRecordID(t0)}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	f.account = f.ensureAccount("acme").ID
	f.other = f.ensureAccount("rival").ID
	return f
}

func (f *fixture) ensureAccount(name string) core.Account {
	f.Helper()
	a, err := f.EnsureAccount(f.ctx, core.Account{Name: name, DefaultRegion: "CN", CreatedAt: t0})
	f.check("EnsureAccount", err)
	return a
}

// check ends the test on an error.
func (f *fixture) check(what string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s: %v", what, err)
	}
}

// equal reports a difference.
func equal[T comparable](f *fixture, what string, got, want T) {
	f.Helper()
	if got != want {
		f.Errorf("%s = %v, want %v", what, got, want)
	}
}

// equalTime reports a difference between times, which are kept to the millisecond in any location.
func equalTime(f *fixture, what string, got, want time.Time) {
	f.Helper()
	if got.UnixMilli() != want.UnixMilli() {
		f.Errorf("%s = %v, want %v", what, got, want)
	}
}

// wantKind reports an error of another kind.
func (f *fixture) wantKind(what string, err error, kind core.Kind) {
	f.Helper()
	if err == nil || core.KindOf(err) != kind {
		f.Errorf("%s: error %v, want one of kind %d", what, err, kind)
	}
}

// message makes a message, with changes.
func (f *fixture) message(changes ...func(*core.Message)) core.Message {
	f.next++
	m := core.Message{
		ID: f.next, TraceID: core.NewTraceID(f.next, 42), Account: f.account, Channel: "sms",
		Priority: core.DefaultPriority, Recipient: "+8613800000001", Content: core.Content{Text: "hello"},
		Budget: 5, CreatedAt: t0,
	}
	for _, change := range changes {
		change(&m)
	}
	return m
}

// accept accepts messages in one submission for each account, and returns the envelopes.
func (f *fixture) accept(messages ...core.Message) []core.Envelope {
	f.Helper()
	var submissions []store.Submission
	for _, m := range messages {
		n := len(submissions)
		if n == 0 || submissions[n-1].Account != m.Account {
			submissions = append(submissions, store.Submission{Account: m.Account})
			n++
		}
		submissions[n-1].Messages = append(submissions[n-1].Messages, m)
	}
	envelopes, refused, err := f.Accept(f.ctx, submissions)
	f.check("Accept", err)
	for i, err := range refused {
		f.check(fmt.Sprintf("Accept submission %d", i), err)
	}
	return envelopes
}

// queued accepts one message and returns its id.
func (f *fixture) queued(changes ...func(*core.Message)) core.RecordID {
	f.Helper()
	m := f.message(changes...)
	f.accept(m)
	return m.ID
}

// claim claims one attempt.
func (f *fixture) claim(id core.RecordID, attempt int, now time.Time) bool {
	f.Helper()
	won, err := f.Claim(f.ctx, []store.Claim{{Record: id, Attempt: attempt, Connector: connector}}, now, now.Add(lease))
	f.check("Claim", err)
	return won[0]
}

// sending accepts a message and claims its first attempt at t0.
func (f *fixture) sending(changes ...func(*core.Message)) core.RecordID {
	f.Helper()
	id := f.queued(changes...)
	if !f.claim(id, 1, t0) {
		f.Fatal("the first claim of a fresh message was lost")
	}
	return id
}

// record records one transition at a time.
func (f *fixture) record(now time.Time, t store.Transition) (bool, []store.Applied) {
	f.Helper()
	counted, applied, err := f.Record(f.ctx, []store.Transition{t}, now)
	f.check("Record", err)
	return counted[0], applied
}

// sent brings a message to sent, expecting receipts for the provider's ids.
func (f *fixture) sent(ids ...string) core.RecordID {
	f.Helper()
	id := f.sending()
	f.record(at(time.Second), accepted(id, 1, ids...))
	return id
}

// accepted is the transition of an attempt that the provider took.
func accepted(id core.RecordID, attempt int, ids ...string) store.Transition {
	return store.Transition{
		Record: id, Attempt: attempt, Status: core.StatusSent, Outcome: core.OutcomeAccepted, ProviderIDs: ids,
		ExpectReceipts: true, Segments: max(1, len(ids)), StartedAt: t0, FinishedAt: at(time.Second),
	}
}

// again is the transition of an attempt that failed and will be repeated.
func again(id core.RecordID, attempt int, next time.Time) store.Transition {
	return store.Transition{
		Record: id, Attempt: attempt, Status: core.StatusQueued, Outcome: core.OutcomeRetryable, NextAttempt: next,
		Error: &core.SendError{Code: "busy", ProviderCode: "451", Message: "try later", Fault: core.FaultProvider},
	}
}

// unseen is the transition of an attempt whose outcome is unknown.
func unseen(id core.RecordID, attempt int, look time.Time) store.Transition {
	return store.Transition{
		Record: id, Attempt: attempt, Status: core.StatusUncertain, Outcome: core.OutcomeUncertain, NextAttempt: look,
		Error: &core.SendError{Code: core.CodeConnectionLost, Message: "the plugin ended"},
	}
}

// get returns a message and its attempts.
func (f *fixture) get(id core.RecordID) (core.Message, []core.Attempt) {
	f.Helper()
	m, attempts, err := f.Message(f.ctx, f.account, id)
	f.check("Message", err)
	return m, attempts
}

// wantStatus reports another status.
func (f *fixture) wantStatus(id core.RecordID, want core.Status) core.Message {
	f.Helper()
	m, _ := f.get(id)
	equal(f, "status", m.Status, want)
	return m
}

// wake sweeps at a time.
func (f *fixture) wake(now time.Time) store.Woken {
	f.Helper()
	woken, err := f.Wake(f.ctx, now, now.Add(lease), 100)
	f.check("Wake", err)
	return woken
}

// wantNextWake reports another time of the next wake than the one wanted; the zero time is none. Times at
// which a sweep finds nothing are passed over.
func (f *fixture) wantNextWake(want time.Time) {
	f.Helper()
	for {
		next, ok, err := f.NextWake(f.ctx)
		f.check("NextWake", err)
		if ok && (want.IsZero() || next.Before(want)) {
			woken := f.wake(next)
			if found := len(woken.Envelopes) + len(woken.Expired) + len(woken.Lapsed); found > 0 {
				f.Errorf("%d messages were due at %v, want none before %v", found, next, want)
				return
			}
			continue
		}
		equal(f, "something waits for a time", ok, !want.IsZero())
		if ok {
			equalTime(f, "next wake", next, want)
		}
		return
	}
}

// recordsOf lists the messages of envelopes.
func recordsOf(envelopes []core.Envelope) []core.RecordID {
	var ids []core.RecordID
	for _, e := range envelopes {
		ids = append(ids, e.Records...)
	}
	return ids
}

// equalIDs reports a difference between lists of ids.
func (f *fixture) equalIDs(what string, got, want []core.RecordID) {
	f.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		f.Errorf("%s = %v, want %v", what, got, want)
	}
}
