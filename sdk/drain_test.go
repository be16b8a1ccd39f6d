package sdk_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// drainable is a channel that sends for as long as the test wants, and has more to finish.
type drainable struct {
	began, release chan struct{}
	drained        chan int // items that were in flight when Drain was called
}

func (d *drainable) Send(ctx context.Context, _ *sdk.Message) (sdk.Receipt, error) {
	d.began <- struct{}{}
	select {
	case <-d.release:
		return sdk.Receipt{}, nil
	case <-ctx.Done():
		return sdk.Receipt{}, ctx.Err()
	}
}

func (d *drainable) Drain(context.Context) error {
	d.drained <- len(d.release)
	return nil
}

func draining(t *testing.T) (*gateway, *drainable, chan map[string]*channelv1.Result) {
	t.Helper()
	d := &drainable{began: make(chan struct{}), release: make(chan struct{}), drained: make(chan int, 1)}
	gw := opened(t, d)
	results := make(chan map[string]*channelv1.Result, 1)
	go func() {
		r, err := gw.deliver(t.Context(), batchOf("test/a", 2))
		if err != nil {
			t.Errorf("deliver: %v", err)
		}
		results <- r
	}()
	<-d.began
	<-d.began
	return gw, d, results
}

// Draining finishes what is in flight, refuses what comes, and says how far it is.
func TestDrain(t *testing.T) {
	gw, d, results := draining(t)
	health := gw.health()
	p := gw.drain(patience)
	if got := p.next(); got.GetInFlight() != 2 || got.GetDone() {
		t.Errorf("first report: %v", got)
	}
	health.await("NOT_SERVING draining: no messages are taken any more")
	if r := gw.one("test/a", nil); verdict(r) != "retryable draining plugin" {
		t.Errorf("while draining: %s", verdict(r))
	}
	_, err := gw.Configure(t.Context(), &channelv1.ConfigureRequest{Connector: "test/b"})
	if status.Code(err) != codes.FailedPrecondition {
		t.Errorf("Configure while draining: %v", err)
	}
	if len(d.drained) != 0 {
		t.Error("the Drainer was called with items in flight")
	}
	close(d.release)
	if got := p.last(); got.GetInFlight() != 0 {
		t.Errorf("last report: %v", got)
	}
	for id, r := range <-results {
		if verdict(r) != "accepted" {
			t.Errorf("%s: %s", id, verdict(r))
		}
	}
	if len(d.drained) != 1 {
		t.Error("the Drainer was not called")
	}
	if got := gw.drain(patience).last(); got.GetInFlight() != 0 { // draining twice is draining once
		t.Errorf("a second Drain: %v", got)
	}
}

// At the deadline of the drain items in flight are given up as uncertain, with their results sent.
func TestDrainDeadline(t *testing.T) {
	gw, _, results := draining(t)
	p := gw.drain(50 * time.Millisecond)
	for id, r := range <-results {
		if verdict(r) != "uncertain timeout provider" {
			t.Errorf("%s: %s", id, verdict(r))
		}
	}
	if got := p.last(); got.GetInFlight() != 0 {
		t.Errorf("last report: %v", got)
	}
}

// Draining ends Receive once its events are stored.
func TestDrainEndsReceive(t *testing.T) {
	gw, r := receiving(t)
	l := gw.listen(t.Context())
	r.events <- delivered("p1")
	l.next()
	p := gw.drain(patience)
	p.next()
	l.ack(1)
	if err := <-r.stored; err != nil {
		t.Errorf("emit while draining: %v", err)
	}
	p.last()
	if len(r.runs) != 1 {
		t.Errorf("Receive ran %d times", len(r.runs))
	}
}
