package pluginhost

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// open enters a session for a call that is not about handing over attempts. Errors are *core.Error:
// not found, or unavailable.
func (h *Host) open(connector core.ConnectorID) (*session, error) {
	c, ok := (*h.desired.Load())[connector]
	if !ok {
		return nil, core.NotFound("connector " + string(connector))
	}
	g := h.generationOf(c)
	if g == nil {
		return nil, core.Errorf(core.KindUnavailable, "plugin %s cannot be started", c.Plugin)
	}
	s, err := g.enter(connector, 0)
	if err != nil {
		return nil, unavailable(err)
	}
	return s, nil
}

func unavailable(cause error) *core.Error {
	e := core.Errorf(core.KindUnavailable, "the connector's plugin cannot answer now")
	e.RetryAfter = time.Second
	e.Cause = cause
	return e
}

// Query asks a connector's provider what became of uncertain attempts. It returns a result for each
// attempt that the provider knows; core.OutcomeUncertain means that it does not know either. The
// error is a *core.Error: not found, unprocessable if the plugin cannot ask, or unavailable.
func (h *Host) Query(ctx context.Context, connector core.ConnectorID, inquiries []core.Inquiry) ([]core.Result, error) {
	s, err := h.open(connector)
	if err != nil {
		return nil, err
	}
	defer s.close()
	if !s.about.capabilities.GetQuery() {
		return nil, core.Errorf(core.KindUnprocessable, "plugin %s cannot ask its provider about attempts", s.g.plugin.name)
	}
	batch := make([]core.Delivery, len(inquiries))
	request := &channelv1.QueryRequest{Connector: string(connector)}
	for i, q := range inquiries {
		batch[i] = core.Delivery{Message: &core.Message{ID: q.Record}, Attempt: q.Attempt}
		request.Items = append(request.Items, &channelv1.QueryItem{
			AttemptId: fmt.Sprintf("%d.%d", q.Record, q.Attempt), MessageId: fmt.Sprint(q.Record),
			IdempotencyKey: q.IdempotencyKey, ProviderIds: q.ProviderIDs, Recipient: q.Recipient,
			SentAt: timestamppb.New(q.SentAt),
		})
	}
	started := time.Now()
	reply, err := s.process.service.Query(ctx, request)
	if err != nil {
		return nil, unavailable(callError("Query", err))
	}
	return s.g.answers(batch, reply.GetResults(), time.Since(started)), nil
}

// answers picks the first result of each attempt that was asked about.
func (g *generation) answers(asked []core.Delivery, given []*channelv1.Result, latency time.Duration) []core.Result {
	open := make(map[string]core.Delivery, len(asked))
	for i, id := range attemptIDs(asked) {
		open[id] = asked[i]
	}
	var results []core.Result
	for _, r := range given {
		d, ok := open[r.GetAttemptId()]
		if !ok {
			g.violations.foreign.Add(1)
			continue
		}
		delete(open, r.GetAttemptId())
		results = append(results, g.toResult(d, r, latency))
	}
	return results
}

// Check has a connector reach its provider and log in, without sending anything. That the provider
// cannot be reached is a result; the error is a *core.Error: not found, or unavailable.
func (h *Host) Check(ctx context.Context, connector core.ConnectorID) (core.CheckResult, error) {
	s, err := h.open(connector)
	if err != nil {
		return core.CheckResult{}, err
	}
	defer s.close()
	if !s.about.capabilities.GetCheck() {
		return core.CheckResult{OK: true, Message: "The connector is configured; its plugin has no check that reaches the provider."}, nil
	}
	started := time.Now()
	reply, err := s.process.service.Check(ctx, &channelv1.CheckRequest{Connector: string(connector)})
	if err != nil {
		return core.CheckResult{}, unavailable(callError("Check", err))
	}
	result := core.CheckResult{
		OK: reply.GetOk(), Latency: s.g.duration(reply.GetLatency()),
		Message: s.g.redactor.redact(clean(reply.GetMessage(), maxErrorText)),
	}
	if result.Latency == 0 {
		result.Latency = time.Since(started)
	}
	if failure := s.g.toSendError(reply.GetError()); failure != nil && result.Message == "" {
		result.Message = failure.Error()
	}
	return result, nil
}
