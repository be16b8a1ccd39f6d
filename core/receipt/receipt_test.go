package receipt_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/receipt"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
	"github.com/pigeonry/pigeonry/core/trace"
)

// parser stands for a plugin that parses callbacks.
type parser func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, receipt.Events, error)

// HandleCallback implements receipt.Parser.
func (p parser) HandleCallback(_ context.Context, id core.ConnectorID, r receipt.CallbackRequest) (receipt.CallbackResponse, receipt.Events, error) {
	return p(id, r)
}

// traces keeps what was recorded.
type traces []trace.Entry

// Record implements trace.Recorder.
func (ts *traces) Record(entries ...trace.Entry) { *ts = append(*ts, entries...) }

type rig struct {
	*receipt.Service
	store   store.Store
	traces  traces
	account core.Account
	matched map[bool]int
}

func newRig(t *testing.T, p parser) *rig {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	r := &rig{store: s, matched: map[bool]int{}}
	if r.account, err = s.EnsureAccount(t.Context(), core.Account{Name: "shop", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	r.Service = receipt.New(receipt.Options{
		Store: s, Traces: &r.traces, Parser: p, Logger: slog.New(slog.DiscardHandler),
		Observe: func(_ core.ConnectorID, _ core.ReceiptStatus, matched bool) { r.matched[matched]++ },
	})
	return r
}

// sent stores a message that a provider took under an id.
func (r *rig) sent(t *testing.T, providerID string) core.RecordID {
	t.Helper()
	id, err := r.store.ReserveIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	_, _, err = r.store.Accept(t.Context(), []store.Submission{{Account: r.account.ID, Messages: []core.Message{{
		ID: id, TraceID: core.NewTraceID(id, 1), Account: r.account.ID, Channel: "sms", Priority: 5, Recipient: "+8613800138000",
		Status: core.StatusQueued, Budget: 5, CreatedAt: now, UpdatedAt: now,
	}}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.store.Claim(t.Context(), []store.Claim{{Record: id, Attempt: 1, Connector: "sms/main"}}, now, now.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	_, applied, err := r.store.Record(t.Context(), []store.Transition{{
		Record: id, Attempt: 1, Status: core.StatusSent, Outcome: core.OutcomeAccepted,
		ProviderIDs: []string{providerID}, ExpectReceipts: true, StartedAt: now, FinishedAt: now,
	}}, now)
	if err != nil {
		t.Fatal(err)
	}
	r.Applied(applied)
	return id
}

func (r *rig) status(t *testing.T, id core.RecordID) core.Status {
	t.Helper()
	m, _, err := r.store.Message(t.Context(), r.account.ID, id)
	if err != nil {
		t.Fatal(err)
	}
	return m.Status
}

func delivered(providerID string) receipt.Events {
	return receipt.Events{Receipts: []core.Receipt{{
		Connector: "sms/main", DedupeKey: "d-" + providerID, ProviderID: providerID, Status: core.ReceiptDelivered,
	}}}
}

func TestReceiptFindsItsMessage(t *testing.T) {
	r := newRig(t, nil)
	id := r.sent(t, "p1")
	if err := r.Store(t.Context(), delivered("p1")); err != nil {
		t.Fatal(err)
	}
	if got := r.status(t, id); got != core.StatusDelivered {
		t.Errorf("status %s", got)
	}
	if len(r.traces) != 1 || r.traces[0].Nodes[0].Name != core.NodeCallback || r.traces[0].Nodes[0].Finish.IsZero() {
		t.Errorf("traces %+v", r.traces)
	}
	if r.matched[true] != 1 || r.matched[false] != 0 {
		t.Errorf("counted %v", r.matched)
	}
}

func TestReceiptBeforeItsMessageIsRecorded(t *testing.T) {
	r := newRig(t, nil)
	if err := r.Store(t.Context(), delivered("p1")); err != nil {
		t.Fatal(err)
	}
	if r.matched[false] != 1 || len(r.traces) != 0 {
		t.Errorf("counted %v, traces %v", r.matched, r.traces)
	}
	if got := r.status(t, r.sent(t, "p1")); got != core.StatusDelivered {
		t.Errorf("status %s", got)
	}
	if len(r.traces) != 1 {
		t.Errorf("traces %+v", r.traces)
	}
}

func TestRepeatedReceiptChangesNothing(t *testing.T) {
	r := newRig(t, nil)
	r.sent(t, "p1")
	for range 3 {
		if err := r.Store(t.Context(), delivered("p1")); err != nil {
			t.Fatal(err)
		}
	}
	if len(r.traces) != 1 || r.matched[true] != 1 {
		t.Errorf("three times the same receipt: %d trace entries, counted %v", len(r.traces), r.matched)
	}
}

func TestClockThatRunsAheadIsNotBelieved(t *testing.T) {
	r := newRig(t, nil)
	r.sent(t, "p1")
	events := delivered("p1")
	events.Receipts[0].At = time.Now().Add(time.Hour)
	if err := r.Store(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if n := r.traces[0].Nodes[0]; n.Duration() < 0 {
		t.Errorf("node %+v", n)
	}
}

func TestCallbackIsStoredBeforeItIsAnswered(t *testing.T) {
	var id core.RecordID
	r := newRig(t, func(_ core.ConnectorID, q receipt.CallbackRequest) (receipt.CallbackResponse, receipt.Events, error) {
		return receipt.CallbackResponse{Status: http.StatusOK, Body: []byte("ok")}, delivered(string(q.Body)), nil
	})
	id = r.sent(t, "p1")
	response, err := r.Handle(t.Context(), "sms/main", receipt.CallbackRequest{Method: http.MethodPost, Body: []byte("p1")})
	if err != nil || string(response.Body) != "ok" {
		t.Fatalf("%+v, %v", response, err)
	}
	if got := r.status(t, id); got != core.StatusDelivered {
		t.Errorf("status %s", got)
	}
}

func TestCallbackThatCannotBeStoredIsToBeRepeated(t *testing.T) {
	r := newRig(t, func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, receipt.Events, error) {
		return receipt.CallbackResponse{Status: http.StatusOK}, delivered("p1"), nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Handle(ctx, "sms/main", receipt.CallbackRequest{})
	var e *core.Error
	if !errors.As(err, &e) || e.Kind != core.KindUnavailable || e.RetryAfter <= 0 {
		t.Errorf("got %v", err)
	}
}

func TestRefusedCallbackStoresNothing(t *testing.T) {
	refusal := core.Errorf(core.KindUnauthorized, "bad signature")
	r := newRig(t, func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, receipt.Events, error) {
		return receipt.CallbackResponse{}, delivered("p1"), refusal
	})
	if _, err := r.Handle(t.Context(), "sms/main", receipt.CallbackRequest{}); !errors.Is(err, refusal) {
		t.Errorf("got %v", err)
	}
	if got := r.status(t, r.sent(t, "p1")); got != core.StatusSent {
		t.Errorf("status %s: the receipt was kept", got)
	}
}
