// Package receipt brings what providers say later to the messages it is about: receipts that plugins
// stream, receipts and inbound messages in HTTP callbacks, and receipts that waited for their message.
// Everything is stored before the provider gets its answer.
package receipt

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/trace"
)

// CallbackRequest is a provider's HTTP request, exactly as received.
type CallbackRequest struct {
	Method     string
	Path       string // below the connector's callback URL, with a leading slash; "/" is the URL itself
	Query      string
	Header     http.Header
	Body       []byte
	RemoteAddr string
	URL        string
}

// CallbackResponse is the answer for the provider.
type CallbackResponse struct {
	Status int
	Header http.Header
	Body   []byte
}

// Parser verifies and parses callbacks: the plugin of the connector.
type Parser interface {
	HandleCallback(ctx context.Context, connector core.ConnectorID, r CallbackRequest) (CallbackResponse, Events, error)
}

// Events are what came from a provider at once.
type Events struct {
	Receipts []core.Receipt
	Inbound  []core.Inbound
}

// Options are what a Service needs. All are required except those with a default.
type Options struct {
	Store  store.Receipts
	Traces trace.Recorder
	Parser Parser
	// Observe counts receipts by connector and status, and whether they found their message.
	Observe func(connector core.ConnectorID, status core.ReceiptStatus, matched bool)
	Logger  *slog.Logger
	// Now is the time that goes into the store; default time.Now.
	Now func() time.Time
}

// Service stores and applies receipts.
type Service struct{ o Options }

// New returns a service.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Service{o: o}
}

// Handle answers a callback of a provider. The events in it are stored before it returns. An error is
// a *core.Error; the provider should then repeat the callback.
func (s *Service) Handle(ctx context.Context, connector core.ConnectorID, r CallbackRequest) (CallbackResponse, error) {
	response, events, err := s.o.Parser.HandleCallback(ctx, connector, r)
	if err != nil {
		return CallbackResponse{}, err
	}
	if err := s.Store(ctx, events); err != nil {
		return CallbackResponse{}, &core.Error{
			Kind: core.KindUnavailable, Code: core.CodeUnavailable, RetryAfter: time.Second, Cause: err,
			Message: "the callback could not be stored; repeat it",
		}
	}
	return response, nil
}

// Store makes events durable and applies the receipts that find their message. Only when it returns
// nil may a provider be told that they arrived.
func (s *Service) Store(ctx context.Context, events Events) error {
	now := s.o.Now()
	for i := range events.Receipts {
		stamp(&events.Receipts[i].At, &events.Receipts[i].ReceivedAt, now)
	}
	for i := range events.Inbound {
		stamp(&events.Inbound[i].At, &events.Inbound[i].ReceivedAt, now)
	}
	if len(events.Receipts) > 0 {
		applied, err := s.o.Store.SaveReceipts(ctx, events.Receipts)
		if err != nil {
			return fmt.Errorf("store receipts: %w", err)
		}
		s.Applied(applied)
		s.countUnmatched(events.Receipts, applied)
	}
	if len(events.Inbound) > 0 {
		if err := s.o.Store.SaveInbound(ctx, events.Inbound); err != nil {
			return fmt.Errorf("store inbound messages: %w", err)
		}
	}
	return nil
}

// stamp fills in the times that the provider did not give.
func stamp(at, received *time.Time, now time.Time) {
	*received = now
	if at.IsZero() {
		*at = now
	}
}

// Applied writes the traces and the statistics of receipts that found their message.
func (s *Service) Applied(applied []store.Applied) {
	entries := make([]trace.Entry, 0, len(applied))
	for i := range applied {
		a := &applied[i]
		entries = append(entries, trace.Entry{TraceID: a.TraceID, Account: a.Account, Nodes: []core.Node{node(a)}})
		s.o.Observe(a.Receipt.Connector, a.Receipt.Status, true)
	}
	s.o.Traces.Record(entries...)
}

func (s *Service) countUnmatched(all []core.Receipt, applied []store.Applied) {
	matched := make(map[string]bool, len(applied))
	for i := range applied {
		matched[applied[i].Receipt.DedupeKey] = true
	}
	for i := range all {
		if !matched[all[i].DedupeKey] {
			s.o.Observe(all[i].Connector, all[i].Status, false)
		}
	}
}

// node is the callback's step in the trace of its message. It starts when the provider says that it
// happened and ends when it reached us; a provider's clock that runs ahead is not believed.
func node(a *store.Applied) core.Node {
	r := &a.Receipt
	n := core.Node{
		Name: core.NodeCallback, Attempt: a.Attempt, Start: r.At, Finish: r.ReceivedAt,
		Status: core.NodeSuccess, Detail: string(r.Status),
	}
	if n.Start.After(n.Finish) {
		n.Start = n.Finish
	}
	if r.Status == core.ReceiptUndelivered {
		n.Status = core.NodeFailed
		if r.Error != nil {
			n.Detail += ": " + r.Error.Code
		}
	}
	return n
}
