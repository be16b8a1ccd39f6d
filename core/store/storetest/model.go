package storetest

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// testModel plays random steps of many messages against the store and against a model that fits on a
// page, and compares them after every step: whatever interleaving of claims, ends, receipts, sweeps and
// steering, both are to agree.
func testModel(t *testing.T, f Factory) {
	t.Helper()
	rapid.Check(t, func(rt *rapid.T) {
		s := f.Open(t)
		defer func() { _ = s.Close() }()
		account, err := s.EnsureAccount(t.Context(), core.Account{Name: "acme", DefaultRegion: "CN", CreatedAt: t0})
		if err != nil {
			rt.Fatal(err)
		}
		m := &model{
			T: rt, store: s, test: t, account: account.ID, now: t0,
			messages: map[core.RecordID]*modelMessage{}, known: map[string]reference{}, told: map[string]bool{},
		}
		rt.Repeat(map[string]func(*rapid.T){
			"accept": m.accept, "claim": m.claim, "record": m.record, "receipt": m.receipt, "wake": m.wake,
			"cancel": m.cancel, "retry": m.retry, "postpone": m.postpone, "finish": m.finish, "": m.compare,
		})
	})
}

// modelMessage is what the model knows of a message.
type modelMessage struct {
	status          core.Status
	attempt, budget int
	doubtful        bool
	expire, wake    time.Time // the zero time: none
	next            time.Time
}

type reference struct {
	record  core.RecordID
	attempt int
}

type model struct {
	*rapid.T
	store   store.Store
	test    *testing.T
	account core.AccountID
	now     time.Time

	messages map[core.RecordID]*modelMessage
	ids      []core.RecordID
	known    map[string]reference // provider ids
	told     map[string]bool      // dedupe keys
	waiting  []core.Receipt
}

func (m *model) check(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

// some draws one of the messages.
func (m *model) some(t *rapid.T) (core.RecordID, *modelMessage) {
	if len(m.ids) == 0 {
		t.Skip("there are no messages yet")
	}
	id := rapid.SampledFrom(m.ids).Draw(t, "message")
	return id, m.messages[id]
}

// later draws a time within a few minutes, or none.
func (m *model) later(t *rapid.T, what string) time.Time {
	if minutes := rapid.IntRange(0, 5).Draw(t, what); minutes > 0 {
		return m.now.Add(time.Duration(minutes) * time.Minute)
	}
	return time.Time{}
}

func earliest(times ...time.Time) time.Time {
	var first time.Time
	for _, t := range times {
		if first.IsZero() || !t.IsZero() && t.Before(first) {
			first = t
		}
	}
	return first
}

func (m *model) accept(t *rapid.T) {
	id := core.FirstRecordID(t0) + core.RecordID(len(m.ids)) + 1
	x := &modelMessage{status: core.StatusQueued, budget: 3, next: m.later(t, "send at"), expire: m.later(t, "expire at")}
	x.wake = earliest(x.next, x.expire)
	if !x.next.IsZero() {
		x.status = core.StatusScheduled
	}
	m.messages[id], m.ids = x, append(m.ids, id)
	_, _, err := m.store.Accept(m.test.Context(), []store.Submission{{Account: m.account, Messages: []core.Message{{
		ID: id, TraceID: core.NewTraceID(id, 1), Account: m.account, Channel: "sms", Recipient: "x", Budget: x.budget,
		NextAttempt: x.next, ExpireAt: x.expire, CreatedAt: m.now,
	}}}})
	m.check(err)
}

func (m *model) claim(t *rapid.T) {
	id, x := m.some(t)
	attempt := x.attempt + rapid.SampledFrom([]int{1, 1, 1, 0, 2}).Draw(t, "attempt")
	lease := m.now.Add(time.Duration(rapid.IntRange(1, 3).Draw(t, "lease")) * time.Minute)
	want := x.status == core.StatusQueued && attempt == x.attempt+1 && !x.next.After(m.now) &&
		(x.expire.IsZero() || x.expire.After(m.now))
	won, err := m.store.Claim(m.test.Context(), []store.Claim{{Record: id, Attempt: attempt, Connector: connector}}, m.now, lease)
	m.check(err)
	if won[0] != want {
		m.Fatalf("claim of attempt %d of %+v was won: %v", attempt, *x, won[0])
	}
	if want {
		x.status, x.attempt, x.wake, x.next = core.StatusSending, attempt, lease, time.Time{}
	}
}

func (m *model) record(t *rapid.T) {
	id, x := m.some(t)
	tr := store.Transition{
		Record: id, Attempt: x.attempt - rapid.SampledFrom([]int{0, 0, 0, 1}).Draw(t, "behind"), ExpectReceipts: true,
		Status: rapid.SampledFrom([]core.Status{
			core.StatusSent, core.StatusSent, core.StatusQueued, core.StatusFailed, core.StatusUncertain, core.StatusExpired,
		}).Draw(t, "status"),
		Doubtful: rapid.Bool().Draw(t, "doubtful"), NextAttempt: m.later(t, "next"),
	}
	tr.ProviderIDs = []string{fmt.Sprintf("p-%d-%d", id, tr.Attempt)}
	want := (x.status == core.StatusSending || x.status == core.StatusUncertain) && tr.Attempt == x.attempt
	if want {
		x.status, x.doubtful, x.wake, x.next = tr.Status, x.doubtful || tr.Doubtful, time.Time{}, time.Time{}
		switch tr.Status {
		case core.StatusQueued:
			x.next = tr.NextAttempt
			if x.next.IsZero() {
				x.next = m.now
			}
			x.wake = earliest(x.next, x.expire)
		case core.StatusUncertain:
			x.wake = tr.NextAttempt
		}
	}
	if tr.Attempt >= 1 {
		m.known[tr.ProviderIDs[0]] = reference{id, tr.Attempt}
	}
	wantApplied := m.applyWaiting(reference{id, tr.Attempt}, want && tr.Status == core.StatusQueued)
	counted, applied, err := m.store.Record(m.test.Context(), []store.Transition{tr}, m.now)
	m.check(err)
	if counted[0] != want || len(applied) != wantApplied {
		m.Fatalf("record counted: %v, want %v; applied %d receipts, want %d", counted[0], want, len(applied), wantApplied)
	}
}

// applyWaiting applies the receipts that wait for an attempt and says how many.
func (m *model) applyWaiting(ref reference, overrule bool) int {
	n := 0
	m.waiting = slices.DeleteFunc(m.waiting, func(r core.Receipt) bool {
		found, ok := m.find(r)
		if !ok || found != ref {
			return false
		}
		m.apply(r, ref, overrule)
		n++
		return true
	})
	return n
}

// find returns the attempt that a receipt is about, unless that still runs.
func (m *model) find(r core.Receipt) (reference, bool) {
	if r.ProviderID != "" {
		ref, ok := m.known[r.ProviderID]
		return ref, ok
	}
	x := m.messages[r.Record]
	running := x.status == core.StatusSending && r.Attempt == x.attempt
	return reference{r.Record, r.Attempt}, r.Attempt >= 1 && r.Attempt <= x.attempt && !running
}

func (m *model) apply(r core.Receipt, ref reference, overrule bool) {
	x := m.messages[ref.record]
	if ref.attempt < x.attempt && r.Status == core.ReceiptUndelivered {
		return
	}
	from := x.status
	if overrule && from == core.StatusQueued {
		from = core.StatusSending
	}
	if after := from.AfterReceipt(r.Status); after != from {
		x.status, x.wake, x.next = after, time.Time{}, time.Time{}
	}
}

func (m *model) receipt(t *rapid.T) {
	id, x := m.some(t)
	r := core.Receipt{
		Connector: connector, At: m.now, ReceivedAt: m.now,
		Status: rapid.SampledFrom([]core.ReceiptStatus{
			core.ReceiptDelivered, core.ReceiptUndelivered, core.ReceiptRead, core.ReceiptProgress,
		}).Draw(t, "status"),
	}
	attempt := max(1, x.attempt-rapid.IntRange(0, 1).Draw(t, "behind"))
	if rapid.Bool().Draw(t, "by provider id") {
		r.ProviderID = fmt.Sprintf("p-%d-%d", id, attempt)
	} else {
		r.Record, r.Attempt = id, attempt
	}
	r.DedupeKey = fmt.Sprintf("%s/%d/%d/%s", r.ProviderID, r.Record, r.Attempt, r.Status)
	want := 0
	if !m.told[r.DedupeKey] {
		m.told[r.DedupeKey] = true
		if ref, ok := m.find(r); ok {
			m.apply(r, ref, false)
			want = 1
		} else {
			m.waiting = append(m.waiting, r)
		}
	}
	applied, err := m.store.SaveReceipts(m.test.Context(), []core.Receipt{r})
	m.check(err)
	if len(applied) != want {
		m.Fatalf("applied %d receipts, want %d", len(applied), want)
	}
}

func (m *model) wake(t *rapid.T) {
	m.now = m.now.Add(time.Duration(rapid.IntRange(0, 120).Draw(t, "seconds")) * time.Second)
	lease := m.now.Add(time.Minute)
	var queued, expired, lapsed []core.RecordID
	for _, id := range m.ids {
		x := m.messages[id]
		switch {
		case x.wake.IsZero() || x.wake.After(m.now):
		case x.status == core.StatusSending || x.status == core.StatusUncertain:
			lapsed, x.wake = append(lapsed, id), lease
		case !x.expire.IsZero() && !x.expire.After(m.now):
			expired, x.status, x.wake, x.next = append(expired, id), core.StatusExpired, time.Time{}, time.Time{}
		default:
			queued, x.status, x.wake, x.next = append(queued, id), core.StatusQueued, x.expire, time.Time{}
		}
	}
	woken, err := m.store.Wake(m.test.Context(), m.now, lease, 1000)
	m.check(err)
	var gotLapsed []core.RecordID
	for _, l := range woken.Lapsed {
		gotLapsed = append(gotLapsed, l.Message.ID)
	}
	for _, x := range []struct {
		what      string
		got, want []core.RecordID
	}{{"queued", recordsOf(woken.Envelopes), queued}, {"expired", woken.Expired, expired}, {"lapsed", gotLapsed, lapsed}} {
		slices.Sort(x.got)
		if !slices.Equal(x.got, x.want) {
			m.Fatalf("woken as %s: %v, want %v", x.what, x.got, x.want)
		}
	}
}

func (m *model) cancel(t *rapid.T) {
	id, x := m.some(t)
	want := 0
	if x.status.Cancelable() {
		want, x.status, x.wake, x.next = 1, core.StatusCanceled, time.Time{}, time.Time{}
	}
	n, err := m.store.Cancel(m.test.Context(), m.account, store.Target{Record: id}, m.now)
	m.check(err)
	if n != want {
		m.Fatalf("canceled %d, want %d", n, want)
	}
}

func (m *model) retry(t *rapid.T) {
	id, x := m.some(t)
	_, err := m.store.Retry(m.test.Context(), m.account, id, 2, m.now)
	if !x.status.Retryable() {
		if core.KindOf(err) != core.KindConflict {
			m.Fatalf("retry of a message that is %s: %v", x.status, err)
		}
		return
	}
	m.check(err)
	if !x.expire.After(m.now) {
		x.expire = time.Time{}
	}
	x.doubtful = x.doubtful || x.status == core.StatusUncertain
	x.status, x.budget, x.wake, x.next = core.StatusQueued, x.attempt+2, x.expire, time.Time{}
}

func (m *model) postpone(t *rapid.T) {
	id, x := m.some(t)
	until := m.now.Add(time.Duration(rapid.IntRange(0, 5).Draw(t, "minutes")) * time.Minute)
	if x.status == core.StatusQueued {
		x.next, x.wake = until, earliest(until, x.expire)
	}
	m.check(m.store.Postpone(m.test.Context(), []store.Postponement{{Record: id, Until: until}}, m.now))
}

func (m *model) finish(t *rapid.T) {
	id, x := m.some(t)
	if x.status == core.StatusQueued {
		x.status, x.wake, x.next = core.StatusFailed, time.Time{}, time.Time{}
	}
	m.check(m.store.Finish(m.test.Context(), []core.RecordID{id}, core.StatusFailed, nil, m.now))
}

// compare checks that store and model agree.
func (m *model) compare(*rapid.T) {
	loaded, err := m.store.Load(m.test.Context(), m.ids)
	m.check(err)
	if len(loaded) != len(m.ids) {
		m.Fatalf("loaded %d messages of %d", len(loaded), len(m.ids))
	}
	for _, got := range loaded {
		x := m.messages[got.ID]
		if got.Status != x.status || got.Attempt != x.attempt || got.Budget != x.budget || got.Doubtful != x.doubtful ||
			!got.NextAttempt.Equal(x.next) || !got.ExpireAt.Equal(x.expire) {
			m.Fatalf("message %d is %+v, want %+v", got.ID, got, *x)
		}
	}
	var wakes []time.Time
	for x := range maps.Values(m.messages) {
		wakes = append(wakes, x.wake)
	}
	want := earliest(wakes...)
	next, ok, err := m.store.NextWake(m.test.Context())
	m.check(err)
	if !want.IsZero() && (!ok || next.After(want)) { // earlier is no fault: a sweep then finds nothing
		m.Fatalf("next wake %v (%v), want %v or earlier", next, ok, want)
	}
}
