package main

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// bad is a good server but for the fault.
type bad struct {
	*sdk.Server
	configured atomic.Bool
	removed    atomic.Bool
	drained    atomic.Bool
	busy       atomic.Bool
	refused    atomic.Int64
}

func (b *bad) Describe(ctx context.Context, req *channelv1.DescribeRequest) (*channelv1.DescribeResponse, error) {
	resp, err := b.Server.Describe(ctx, req)
	if fault == "handshake" {
		resp = proto.CloneOf(resp)
		resp.InstanceNonce = "always the same"
	}
	return resp, err
}

func (b *bad) ValidateConfig(ctx context.Context, req *channelv1.ValidateConfigRequest) (*channelv1.ValidateConfigResponse, error) {
	resp, err := b.Server.ValidateConfig(ctx, req)
	switch {
	case fault == "schema" && err == nil:
		resp.Diagnostics = append(resp.Diagnostics, &channelv1.Diagnostic{
			Severity: channelv1.Severity_SEVERITY_ERROR, Summary: "no config will do",
		})
	case fault == "bad config":
		return &channelv1.ValidateConfigResponse{}, nil
	}
	return resp, err
}

func (b *bad) Configure(ctx context.Context, req *channelv1.ConfigureRequest) (*channelv1.ConfigureResponse, error) {
	b.configured.Store(true)
	if fault == "revisions" {
		req.Revision = 7
	}
	return b.Server.Configure(ctx, req)
}

func (b *bad) Check(ctx context.Context, req *channelv1.CheckRequest) (*channelv1.CheckResponse, error) {
	if fault == "check" {
		return &channelv1.CheckResponse{Message: "login failed"}, nil
	}
	return b.Server.Check(ctx, req)
}

func (b *bad) Remove(ctx context.Context, req *channelv1.RemoveRequest) (*channelv1.RemoveResponse, error) {
	b.removed.Store(true)
	if fault == "remove" {
		req.Connector = "another"
	}
	return b.Server.Remove(ctx, req)
}

type deliverStream = grpc.ServerStreamingServer[channelv1.DeliverResponse]

func (b *bad) Deliver(req *channelv1.DeliverRequest, stream deliverStream) error {
	items := req.GetItems()
	switch fault {
	case "sends what it gives back":
		if !b.configured.Load() || b.removed.Load() || b.drained.Load() {
			reach(len(items))
		}
	case "sends what has expired":
		for _, item := range items {
			if t := item.GetNotAfter(); t != nil && t.AsTime().Before(time.Now()) {
				reach(1)
			}
		}
	case "one result per attempt":
		if len(items) == 50 {
			req.Items = items[1:]
		}
	case "unknown connector":
		if !b.configured.Load() {
			return answer(items, stream, channelv1.Outcome_OUTCOME_ACCEPTED)
		}
	case "expired items unsent":
		for _, item := range items {
			item.NotAfter = nil
		}
	case "deadline honoured":
		if at, ok := stream.Context().Deadline(); ok && time.Until(at) < time.Second {
			return answer(items, stream, channelv1.Outcome_OUTCOME_ACCEPTED)
		}
	case "concurrent batches":
		if len(items) == 25 {
			return b.deliverAlone(req, stream)
		}
	case "a panic costs one item":
		if slices.ContainsFunc(items, func(item *channelv1.Item) bool { return item.GetRecipient() == "panic" }) {
			return answer(items, stream, channelv1.Outcome_OUTCOME_UNCERTAIN)
		}
	}
	return b.Server.Deliver(req, stream)
}

// deliverAlone takes one batch at a time, and waits for a second one to refuse it.
func (b *bad) deliverAlone(req *channelv1.DeliverRequest, stream deliverStream) error {
	if !b.busy.CompareAndSwap(false, true) {
		b.refused.Add(1)
		return status.Error(codes.ResourceExhausted, "busy")
	}
	for b.refused.Load() == 0 && stream.Context().Err() == nil {
		time.Sleep(time.Millisecond)
	}
	b.busy.Store(false)
	return b.Server.Deliver(req, stream)
}

// answer gives every item this outcome without sending it.
func answer(items []*channelv1.Item, stream deliverStream, outcome channelv1.Outcome) error {
	resp := &channelv1.DeliverResponse{}
	for _, item := range items {
		resp.Results = append(resp.Results, &channelv1.Result{AttemptId: item.GetAttemptId(), Outcome: outcome})
	}
	return stream.Send(resp)
}

func (b *bad) Health(req *channelv1.HealthRequest, stream grpc.ServerStreamingServer[channelv1.HealthResponse]) error {
	if fault != "health" {
		return b.Server.Health(req, stream)
	}
	err := stream.Send(&channelv1.HealthResponse{State: channelv1.HealthState_HEALTH_STATE_SERVING})
	<-stream.Context().Done() // it never tells of a change
	return err
}

func (b *bad) Drain(req *channelv1.DrainRequest, stream grpc.ServerStreamingServer[channelv1.DrainResponse]) error {
	b.drained.Store(true)
	if fault == "drain" {
		return stream.Send(&channelv1.DrainResponse{Done: true})
	}
	return b.Server.Drain(req, stream)
}

func (b *bad) HandleCallback(ctx context.Context, req *channelv1.HandleCallbackRequest) (*channelv1.HandleCallbackResponse, error) {
	switch fault {
	case "callback":
		return &channelv1.HandleCallbackResponse{Status: 200, Events: &channelv1.Events{
			Receipts: []*channelv1.Receipt{{ProviderId: "1", Status: channelv1.ReceiptStatus_RECEIPT_STATUS_DELIVERED}},
		}}, nil
	case "callback unserved":
		return b.UnimplementedChannelServiceServer.HandleCallback(ctx, req)
	case "callback fails":
		return nil, status.Error(codes.Internal, "cannot parse")
	case "callback with an odd status":
		return &channelv1.HandleCallbackResponse{Status: 7}, nil
	}
	return b.Server.HandleCallback(ctx, req)
}

func (b *bad) Query(ctx context.Context, req *channelv1.QueryRequest) (*channelv1.QueryResponse, error) {
	answer := func(attempt string, outcome channelv1.Outcome) (*channelv1.QueryResponse, error) {
		return &channelv1.QueryResponse{Results: []*channelv1.Result{{AttemptId: attempt, Outcome: outcome}}}, nil
	}
	switch fault {
	case "query":
		return answer(req.GetItems()[0].GetAttemptId(), channelv1.Outcome_OUTCOME_ACCEPTED)
	case "query about another":
		return answer("another", channelv1.Outcome_OUTCOME_UNCERTAIN)
	case "query without outcome":
		return answer(req.GetItems()[0].GetAttemptId(), channelv1.Outcome_OUTCOME_UNSPECIFIED)
	case "query unserved":
		return b.UnimplementedChannelServiceServer.Query(ctx, req)
	}
	return b.Server.Query(ctx, req)
}

func (b *bad) Receive(stream grpc.BidiStreamingServer[channelv1.ReceiveRequest, channelv1.ReceiveResponse]) error {
	switch fault {
	case "receive":
		<-stream.Context().Done() // the gateway closes its side in vain
		return nil
	case "receive unserved":
		return b.UnimplementedChannelServiceServer.Receive(stream)
	case "receive ends":
		return nil
	case "receive for a stranger":
		_ = stream.Send(&channelv1.ReceiveResponse{Sequence: 1, Connector: "bad/another"})
	case "receive counts wrongly":
		_ = stream.Send(&channelv1.ReceiveResponse{Sequence: 2, Connector: "bad/channeltest"})
	}
	return b.Server.Receive(stream)
}

func (b *bad) Share(stream grpc.BidiStreamingServer[channelv1.ShareRequest, channelv1.ShareResponse]) error {
	look := &channelv1.ShareResponse_Look{Look: &channelv1.ShareLook{}}
	switch fault {
	case "share":
		_ = stream.Send(&channelv1.ShareResponse{Id: 1, Question: look})
	case "share asks nothing":
		_ = stream.Send(&channelv1.ShareResponse{Id: 1, Name: "token"})
	case "share keeps too much":
		_ = stream.Send(&channelv1.ShareResponse{Id: 1, Name: "token", Question: &channelv1.ShareResponse_Keep{
			Keep: &channelv1.ShareKeep{Value: make([]byte, 17<<10)},
		}})
	case "share keeps for ever":
		_ = stream.Send(&channelv1.ShareResponse{Id: 1, Name: "token", Question: &channelv1.ShareResponse_Keep{
			Keep: &channelv1.ShareKeep{Value: []byte("x"), ExpiresAt: timestamppb.New(time.Now().AddDate(1, 0, 0))},
		}})
	case "share unserved":
		return b.UnimplementedChannelServiceServer.Share(stream)
	case "share never ends":
		<-stream.Context().Done()
		return nil
	case "share in clear":
		_ = stream.Send(&channelv1.ShareResponse{Id: 1, Name: "token", Question: &channelv1.ShareResponse_Keep{
			Keep: &channelv1.ShareKeep{Value: []byte("s3cret-token")},
		}})
	}
	return b.Server.Share(stream)
}
