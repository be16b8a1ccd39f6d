package sdk_test

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// full has every optional interface that asks the provider something.
type full struct {
	instant
	attempts []sdk.Attempt
	request  *sdk.CallbackRequest
	err      error
	answer   *sdk.CallbackResponse
	panics   bool
}

func (f *full) Check(ctx context.Context) error {
	if f.panics {
		panic("boom")
	}
	sdk.SetHealth(ctx, sdk.Degraded, "2 of 3 binds")
	return f.err
}

func (f *full) Query(_ context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	f.attempts = attempts
	return []sdk.QueryResult{
		{AttemptID: "a0", Receipt: sdk.Accepted("p0")},
		{AttemptID: "a1", Err: sdk.Retryable(errors.New("never seen"), sdk.RetryAfter(time.Second))},
	}, f.err
}

func (f *full) HandleCallback(_ context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	f.request = r
	return f.answer, delivered("p0"), f.err
}

func TestCheck(t *testing.T) {
	f := &full{}
	gw := opened(t, f)
	health := gw.health()
	get := func() *channelv1.CheckResponse {
		resp, err := gw.Check(t.Context(), &channelv1.CheckRequest{Connector: "test/a"})
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if r := get(); !r.GetOk() || r.GetError() != nil || r.GetLatency() == nil {
		t.Errorf("well: %v", r)
	}
	health.await("test/a DEGRADED 2 of 3 binds")
	f.err = sdk.Permanent(errors.New("wrong password"), sdk.Code("auth_failed"), sdk.Blame(sdk.FaultConfig))
	if r := get(); r.GetOk() || r.GetMessage() != "wrong password" || r.GetError().GetCode() != "auth_failed" ||
		r.GetError().GetFault() != channelv1.Fault_FAULT_CONFIG {
		t.Errorf("unwell: %v", r)
	}
	f.panics = true
	if r := get(); r.GetOk() || r.GetMessage() != "Check panicked: boom" {
		t.Errorf("panic: %v", r)
	}
}

func TestQuery(t *testing.T) {
	f := &full{}
	gw := opened(t, f)
	at := time.Unix(1700000000, 0).UTC()
	req := &channelv1.QueryRequest{Connector: "test/a", Items: []*channelv1.QueryItem{{
		AttemptId: "a0", MessageId: "m0", IdempotencyKey: "k0", ProviderIds: []string{"p"}, Recipient: "r", SentAt: timestamppb.New(at),
	}}}
	resp, err := gw.Query(t.Context(), req)
	if err != nil || len(resp.GetResults()) != 2 {
		t.Fatalf("%v, %v", resp, err)
	}
	want := []sdk.Attempt{{AttemptID: "a0", MessageID: "m0", IdempotencyKey: "k0", ProviderIDs: []string{"p"}, Recipient: "r", SentAt: at}}
	if !reflect.DeepEqual(f.attempts, want) {
		t.Errorf("the author sees %+v", f.attempts)
	}
	first, second := resp.GetResults()[0], resp.GetResults()[1]
	if verdict(first) != "accepted" || first.GetProviderIds()[0] != "p0" ||
		verdict(second) != "retryable unavailable provider" || second.GetRetryAfter().AsDuration() != time.Second {
		t.Errorf("got %v", resp)
	}
	f.err = errors.New("provider is down")
	if _, err := gw.Query(t.Context(), req); status.Code(err) != codes.Unavailable {
		t.Errorf("an error: %v", err)
	}
}

func TestHandleCallback(t *testing.T) {
	f := &full{}
	gw := opened(t, f)
	req := &channelv1.HandleCallbackRequest{
		Connector: "test/a", Method: "POST", Path: "/r", Query: "a=b", Body: []byte("raw"), RemoteAddr: "1.2.3.4:5", Url: "https://x/r",
		Headers: []*channelv1.Header{{Name: "x-sign", Values: []string{"s1", "s2"}}},
	}
	resp, err := gw.HandleCallback(t.Context(), req)
	if err != nil || resp.GetStatus() != 200 || resp.GetEvents().GetReceipts()[0].GetProviderId() != "p0" {
		t.Fatalf("no answer given: %v, %v", resp, err)
	}
	want := &sdk.CallbackRequest{
		Method: "POST", Path: "/r", Query: "a=b", Body: []byte("raw"), RemoteAddr: "1.2.3.4:5", URL: "https://x/r",
		Header: http.Header{"X-Sign": {"s1", "s2"}},
	}
	if !reflect.DeepEqual(f.request, want) {
		t.Errorf("the author sees %+v", f.request)
	}
	f.answer = &sdk.CallbackResponse{Status: 401, Header: http.Header{"B": {"1"}, "A": {"2", "3"}}, Body: []byte("no")}
	resp, err = gw.HandleCallback(t.Context(), req)
	if err != nil || resp.GetStatus() != 401 || string(resp.GetBody()) != "no" || resp.GetHeaders()[0].GetName() != "A" {
		t.Errorf("an answer: %v, %v", resp, err)
	}
	f.err = errors.New("bad json")
	if _, err := gw.HandleCallback(t.Context(), req); status.Code(err) != codes.Internal {
		t.Errorf("an error: %v", err)
	}
}

// Optional parts are described from the Prototype, and refused where they are missing.
func TestOptionalInterfaces(t *testing.T) {
	p := plugin((*full)(nil))
	p.Capabilities = sdk.Capabilities{Idempotent: true, Receipts: true, HTML: true}
	p.Limits = sdk.Limits{MaxBatch: 10, MaxBatchBytes: 1000, MaxMessageBytes: 100, SuggestedRate: 2.5}
	d, err := start(t, p).Describe(t.Context(), &channelv1.DescribeRequest{})
	if err != nil {
		t.Fatal(err)
	}
	c := d.GetCapabilities()
	if !c.GetCheck() || !c.GetQuery() || !c.GetCallback() || c.GetReceive() || !c.GetIdempotentSend() || !c.GetReceipts() || !c.GetHtml() {
		t.Errorf("capabilities: %v", c)
	}
	if l := d.GetLimits(); l.GetMaxBatch() != 10 || l.GetMaxBatchBytes() != 1000 || l.GetMaxMessageBytes() != 100 ||
		l.GetSuggestedRate() != 2.5 || l.GetMaxInFlight() != 64 {
		t.Errorf("limits: %v", l)
	}
	if d.GetChannels()[0] != "test" || d.GetApiVersions()[0] != sdk.APIVersion || d.GetInstanceNonce() == "" {
		t.Errorf("description: %v", d)
	}

	gw := opened(t, instant{})
	for name, call := range map[string]func() error{
		"Check": func() error {
			_, err := gw.Check(t.Context(), &channelv1.CheckRequest{Connector: "test/a"})
			return err
		},
		"Query": func() error {
			_, err := gw.Query(t.Context(), &channelv1.QueryRequest{Connector: "test/a"})
			return err
		},
		"HandleCallback": func() error {
			_, err := gw.HandleCallback(t.Context(), &channelv1.HandleCallbackRequest{Connector: "test/a"})
			return err
		},
	} {
		if err := call(); status.Code(err) != codes.Unimplemented {
			t.Errorf("%s: %v", name, err)
		}
	}
}
