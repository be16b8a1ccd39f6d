package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// receiver is a channel whose events come out of a test: emit sends one and gives its error back.
type receiver struct {
	instant
	events chan sdk.Events
	stored chan error
	runs   chan struct{}
	fail   chan error
}

func newReceiver() *receiver {
	return &receiver{
		events: make(chan sdk.Events), stored: make(chan error, 1), runs: make(chan struct{}, 100), fail: make(chan error),
	}
}

func (r *receiver) Receive(ctx context.Context, emit sdk.Emit) error {
	r.runs <- struct{}{}
	for {
		select {
		case e := <-r.events:
			r.stored <- emit(ctx, e)
		case err := <-r.fail:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

func delivered(id string) sdk.Events {
	return sdk.Events{Receipts: []sdk.DeliveryReceipt{{ProviderID: id, Status: sdk.Delivered}}}
}

// listening is a gateway's Receive stream.
type listening struct {
	t      testing.TB
	stream channelv1.ChannelService_ReceiveClient
}

// listen opens a Receive stream on a connection of its own, so that cancelling it is a broken line.
func (g *gateway) listen(ctx context.Context) *listening {
	g.t.Helper()
	stream, err := channelv1.NewChannelServiceClient(g.dial()).Receive(ctx)
	if err != nil {
		g.t.Fatal(err)
	}
	l := &listening{g.t, stream}
	l.ack(0)
	return l
}

func (l *listening) ack(n int64) {
	l.t.Helper()
	if err := l.stream.Send(&channelv1.ReceiveRequest{Ack: n}); err != nil {
		l.t.Fatal(err)
	}
}

// next returns the next batch as "sequence connector provider-id".
func (l *listening) next() string {
	l.t.Helper()
	resp, err := l.stream.Recv()
	if err != nil {
		l.t.Fatal(err)
	}
	return fmt.Sprint(resp.GetSequence(), " ", resp.GetConnector(), " ", resp.GetEvents().GetReceipts()[0].GetProviderId())
}

func receiving(t *testing.T) (*gateway, *receiver) {
	t.Helper()
	r := newReceiver()
	gw := start(t, plugin(r))
	gw.configure("test/a", 1, `{}`)
	return gw, r
}

// emit returns once the gateway has acknowledged, not before.
func TestReceive(t *testing.T) {
	gw, r := receiving(t)
	l := gw.listen(t.Context())
	r.events <- delivered("p1")
	if got := l.next(); got != "1 test/a p1" {
		t.Fatal(got)
	}
	select {
	case err := <-r.stored:
		t.Fatalf("emit returned before the acknowledgement: %v", err)
	default:
	}
	l.ack(1)
	if err := <-r.stored; err != nil {
		t.Errorf("emit: %v", err)
	}
	r.events <- delivered("p2")
	if got := l.next(); got != "2 test/a p2" {
		t.Error(got)
	}
	l.ack(2)
	if err := <-r.stored; err != nil {
		t.Errorf("emit: %v", err)
	}
}

// Nothing is received before the gateway listens.
func TestReceiveWaitsForTheGateway(t *testing.T) {
	gw, r := receiving(t)
	if verdict(gw.one("test/a", nil)) != "accepted" || len(r.runs) != 0 {
		t.Error("Receive runs though nobody listens")
	}
	gw.listen(t.Context())
	<-r.runs
	// A connector that comes later receives as well.
	gw.configure("test/b", 1, `{}`)
	<-r.runs
}

// What a broken stream left unacknowledged goes out again on the next one.
func TestReceiveResumes(t *testing.T) {
	gw, r := receiving(t)
	ctx, hangUp := context.WithCancel(t.Context())
	first := gw.listen(ctx)
	r.events <- delivered("p1")
	first.next()
	hangUp()
	second := gw.listen(t.Context())
	if got := second.next(); got != "1 test/a p1" {
		t.Errorf("after the reconnect: %s", got)
	}
	second.ack(1)
	if err := <-r.stored; err != nil {
		t.Errorf("emit: %v", err)
	}
	if len(r.runs) != 1 {
		t.Errorf("Receive was started %d times, want once", len(r.runs))
	}
}

// A newer stream takes over from one that looks alive.
func TestReceiveTakeover(t *testing.T) {
	gw, r := receiving(t)
	first := gw.listen(t.Context())
	<-r.runs
	second := gw.listen(t.Context())
	if _, err := first.stream.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the first stream: %v", err)
	}
	r.events <- delivered("p1")
	second.next()
	second.ack(1)
	if err := <-r.stored; err != nil {
		t.Errorf("emit: %v", err)
	}
}

// Closing its side is the gateway's word that it wants nothing more: Receive ends, and an emit that
// was not acknowledged says so.
func TestReceiveStops(t *testing.T) {
	gw, r := receiving(t)
	l := gw.listen(t.Context())
	r.events <- delivered("p1")
	l.next()
	if err := l.stream.CloseSend(); err != nil {
		t.Fatal(err)
	}
	if err := <-r.stored; !errors.Is(err, context.Canceled) {
		t.Errorf("emit: %v", err)
	}
	<-r.runs
	gw.listen(t.Context()) // and may want it again
	<-r.runs
}

// A Receive that fails shows in the health, and is run again.
func TestReceiveFails(t *testing.T) {
	gw, r := receiving(t)
	gw.listen(t.Context())
	<-r.runs
	health := gw.health()
	r.fail <- errors.New("connection reset")
	health.await("test/a DEGRADED receiving failed: connection reset")
	<-r.runs
	health.await("test/a SERVING ")
}

// A Receive that returns too early is run again, too, whatever it returns.
func TestReceiveReturns(t *testing.T) {
	gw, r := receiving(t)
	gw.listen(t.Context())
	<-r.runs
	health := gw.health()
	r.fail <- nil
	health.await("test/a DEGRADED receiving failed: Receive returned without an error before its ctx had ended")
	<-r.runs
	health.await("test/a SERVING ")
}

// Events get a key by which the gateway knows repeats, even where the author gives none.
func TestDedupeKeys(t *testing.T) {
	gw, r := receiving(t)
	l := gw.listen(t.Context())
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	keys := func(e sdk.Events) (out []string) {
		r.events <- e
		resp, err := l.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		l.ack(resp.GetSequence())
		<-r.stored
		for _, x := range resp.GetEvents().GetReceipts() {
			out = append(out, x.GetDedupeKey())
		}
		for _, x := range resp.GetEvents().GetInbound() {
			out = append(out, x.GetDedupeKey())
		}
		return out
	}
	e := sdk.Events{
		Receipts: []sdk.DeliveryReceipt{
			{DedupeKey: "own", ProviderID: "p"},
			{ProviderID: "p", Status: sdk.Delivered},
			{ProviderID: "p", Status: sdk.Read},
			{ProviderID: "p", Status: sdk.Delivered, Recipient: "+861"},
			{ProviderID: "p", Status: sdk.Delivered, Recipient: "+862"},
		},
		Inbound: []sdk.Inbound{{ProviderID: "in1"}, {From: "a", Text: "hi", At: at}, {From: "a", Text: "ho", At: at}},
	}
	first, again := keys(e), keys(e)
	if strings.Join(first, " ") != strings.Join(again, " ") {
		t.Errorf("a repeat has other keys: %v, %v", first, again)
	}
	seen := make(map[string]bool)
	for _, k := range first {
		if k == "" || seen[k] {
			t.Errorf("keys are not distinct: %v", first)
		}
		seen[k] = true
	}
	if first[0] != "own" || first[5] != "in1" {
		t.Errorf("the author's own keys: %v", first)
	}
}

// Nobody can tell a text that is sent a second time from one that the provider repeats, where it gives neither an id
// nor a time. Stored twice is better than lost.
func TestInboundWithoutIDAndTime(t *testing.T) {
	gw, r := receiving(t)
	l := gw.listen(t.Context())
	seen := make(map[string]bool)
	for range 2 {
		r.events <- sdk.Events{Inbound: []sdk.Inbound{{From: "+861", To: "1069", Text: "1"}}}
		resp, err := l.stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		l.ack(resp.GetSequence())
		<-r.stored
		in := resp.GetEvents().GetInbound()[0]
		if in.GetDedupeKey() == "" || seen[in.GetDedupeKey()] {
			t.Errorf("the second %q has the key of the first, or none: %q", in.GetText(), in.GetDedupeKey())
		}
		seen[in.GetDedupeKey()] = true
	}
}

// A receipt's error carries code and fault.
func TestReceiptError(t *testing.T) {
	gw, r := receiving(t)
	l := gw.listen(t.Context())
	r.events <- sdk.Events{Receipts: []sdk.DeliveryReceipt{{
		ProviderID: "p", Status: sdk.Undelivered, Recipient: "+861", At: time.Unix(1, 0),
		Err: sdk.Permanent(errors.New("absent"), sdk.Code("absent_subscriber"), sdk.ProviderCode("27")),
	}}}
	resp, err := l.stream.Recv()
	if err != nil {
		t.Fatal(err)
	}
	got := resp.GetEvents().GetReceipts()[0]
	if got.GetStatus() != channelv1.ReceiptStatus_RECEIPT_STATUS_UNDELIVERED || got.GetError().GetCode() != "absent_subscriber" ||
		got.GetError().GetProviderCode() != "27" || got.GetAt().GetSeconds() != 1 || got.GetRecipient() != "+861" {
		t.Errorf("got %v", got)
	}
	l.ack(1)
	<-r.stored
}
