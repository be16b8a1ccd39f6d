package sdk

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// borrow finds the connector of a call about the provider and the author's ctx for it. The caller
// releases the connector.
func (s *Server) borrow(ctx context.Context, id string) (*connector, context.Context, error) {
	c := s.acquire(id)
	if c == nil {
		return nil, nil, status.Errorf(codes.NotFound, "connector %q is not configured here", id)
	}
	return c, s.context(ctx, id, c.health), nil
}

// without says that the connector's type lacks the optional interface.
func without(c *connector, name string) error {
	return status.Errorf(codes.Unimplemented, "plugin %s has no %s", c.server.plugin.name, name)
}

// Check reaches the provider through the connector's Checker.
func (s *Server) Check(ctx context.Context, req *channelv1.CheckRequest) (*channelv1.CheckResponse, error) {
	c, ctx, err := s.borrow(ctx, req.GetConnector())
	if err != nil {
		return nil, err
	}
	defer c.release()
	checker, ok := c.sender.(Checker)
	if !ok {
		return nil, without(c, "Checker")
	}
	began := time.Now()
	err = s.guard("Check", func() error { return checker.Check(ctx) })
	out := &channelv1.CheckResponse{Ok: err == nil, Message: "reached", Latency: durationpb.New(time.Since(began))}
	if err != nil {
		e := classify(err)
		out.Error = s.protoError(e, err.Error())
		out.Message = out.GetError().GetMessage()
	}
	return out, nil
}

// Query asks the provider about uncertain attempts through the connector's Querier.
func (s *Server) Query(ctx context.Context, req *channelv1.QueryRequest) (*channelv1.QueryResponse, error) {
	c, ctx, err := s.borrow(ctx, req.GetConnector())
	if err != nil {
		return nil, err
	}
	defer c.release()
	querier, ok := c.sender.(Querier)
	if !ok {
		return nil, without(c, "Querier")
	}
	var results []QueryResult
	err = s.guard("Query", func() (err error) {
		results, err = querier.Query(ctx, attemptsFromProto(req.GetItems()))
		return err
	})
	if err != nil {
		return nil, status.Errorf(codes.Unavailable, "query: %s", s.redact.clean(err.Error()))
	}
	out := &channelv1.QueryResponse{}
	for i := range results {
		out.Results = append(out.Results, s.queryResult(&results[i]))
	}
	return out, nil
}

func attemptsFromProto(items []*channelv1.QueryItem) []Attempt {
	out := make([]Attempt, len(items))
	for i, item := range items {
		out[i] = Attempt{
			AttemptID: item.GetAttemptId(), MessageID: item.GetMessageId(),
			IdempotencyKey: item.GetIdempotencyKey(), ProviderIDs: item.GetProviderIds(),
			Recipient: item.GetRecipient(),
		}
		if t := item.GetSentAt(); t != nil {
			out[i].SentAt = t.AsTime()
		}
	}
	return out
}

func (s *Server) queryResult(q *QueryResult) *channelv1.Result {
	out := &channelv1.Result{AttemptId: valid(q.AttemptID), Outcome: channelv1.Outcome(OutcomeOf(q.Err))}
	setReceipt(out, q.Receipt)
	if q.Err != nil {
		e := classify(q.Err)
		out.Error = s.protoError(e, q.Err.Error())
		if e.RetryAfter > 0 {
			out.RetryAfter = durationpb.New(e.RetryAfter)
		}
	}
	return out
}

// HandleCallback hands a provider's request to the connector's CallbackHandler.
func (s *Server) HandleCallback(ctx context.Context, req *channelv1.HandleCallbackRequest) (*channelv1.HandleCallbackResponse, error) {
	c, ctx, err := s.borrow(ctx, req.GetConnector())
	if err != nil {
		return nil, err
	}
	defer c.release()
	handler, ok := c.sender.(CallbackHandler)
	if !ok {
		return nil, without(c, "CallbackHandler")
	}
	var answer *CallbackResponse
	var events Events
	err = s.guard("HandleCallback", func() (err error) {
		answer, events, err = handler.HandleCallback(ctx, callbackFromProto(req))
		return err
	})
	if err != nil {
		return nil, status.Errorf(codes.Internal, "callback: %s", s.redact.clean(err.Error()))
	}
	answer = cmp.Or(answer, &CallbackResponse{})
	return &channelv1.HandleCallbackResponse{
		Status:  int32(cmp.Or(answer.Status, http.StatusOK)),
		Headers: headersToProto(answer.Header),
		Body:    answer.Body,
		Events:  protoEvents(events, s.redact.clean),
	}, nil
}

func callbackFromProto(req *channelv1.HandleCallbackRequest) *CallbackRequest {
	out := &CallbackRequest{
		Method: req.GetMethod(), Path: cmp.Or(req.GetPath(), "/"), Query: req.GetQuery(), Body: req.GetBody(),
		RemoteAddr: req.GetRemoteAddr(), URL: req.GetUrl(), Header: make(http.Header),
	}
	for _, h := range req.GetHeaders() {
		for _, v := range h.GetValues() {
			out.Header.Add(h.GetName(), v)
		}
	}
	return out
}

func headersToProto(header http.Header) []*channelv1.Header {
	var out []*channelv1.Header
	for name, values := range header {
		out = append(out, &channelv1.Header{Name: valid(name), Values: validAll(values)})
	}
	slices.SortFunc(out, func(a, b *channelv1.Header) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return out
}
