package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// LogDiscard silences the plugin's log.
func (g *gateway) LogDiscard() { g.server.LogTo(io.Discard) }

// configure opens a connector and fails the test when the plugin refuses.
func (g *gateway) configure(id string, revision int64, config string) {
	g.t.Helper()
	resp, err := g.Configure(g.t.Context(), &channelv1.ConfigureRequest{
		Connector: id, Revision: revision, Config: []byte(config),
	})
	if err != nil {
		g.t.Fatalf("configure %s: %v", id, err)
	}
	for _, d := range resp.GetDiagnostics() {
		if d.GetSeverity() == channelv1.Severity_SEVERITY_ERROR {
			g.t.Fatalf("configure %s: %s", id, show(d))
		}
	}
}

// batchOf is a batch of n items with the attempt ids a0, a1, …
func batchOf(connector string, n int) *channelv1.DeliverRequest {
	req := &channelv1.DeliverRequest{BatchId: "b", Connector: connector}
	for i := range n {
		req.Items = append(req.Items, &channelv1.Item{
			AttemptId: fmt.Sprintf("a%d", i), MessageId: fmt.Sprintf("m%d", i), IdempotencyKey: fmt.Sprintf("k%d", i),
			Account: "acme", Attempt: 1, Recipient: fmt.Sprintf("r%d", i), Content: &channelv1.Content{Text: "hello"},
		})
	}
	return req
}

// deliver sends the batch and returns the results by attempt id. A second result for one attempt
// fails the test.
func (g *gateway) deliver(ctx context.Context, req *channelv1.DeliverRequest) (map[string]*channelv1.Result, error) {
	g.t.Helper()
	out := make(map[string]*channelv1.Result)
	stream, err := g.Deliver(ctx, req)
	if err != nil {
		return out, err
	}
	for {
		resp, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
		for _, r := range resp.GetResults() {
			if out[r.GetAttemptId()] != nil {
				g.t.Errorf("attempt %s has two results", r.GetAttemptId())
			}
			out[r.GetAttemptId()] = r
		}
	}
}

// one delivers one item and returns its result.
func (g *gateway) one(connector string, change func(*channelv1.Item)) *channelv1.Result {
	g.t.Helper()
	req := batchOf(connector, 1)
	if change != nil {
		change(req.GetItems()[0])
	}
	ctx, cancel := context.WithTimeout(g.t.Context(), 10*time.Second)
	defer cancel()
	results, err := g.deliver(ctx, req)
	if err != nil || results["a0"] == nil {
		g.t.Fatalf("deliver: %v, results %v", err, results)
	}
	return results["a0"]
}

// verdict is a result in short: "rejected expired message".
func verdict(r *channelv1.Result) string {
	word := func(s, prefix string) string { return strings.ToLower(strings.TrimPrefix(s, prefix)) }
	out := word(r.GetOutcome().String(), "OUTCOME_")
	if e := r.GetError(); e != nil {
		out += " " + e.GetCode() + " " + word(e.GetFault().String(), "FAULT_")
	}
	return out
}

// show is a diagnostic in short: `tls.mode: "x" is not allowed (one of: a, b)`.
func show(d *channelv1.Diagnostic) string {
	var path strings.Builder
	for i, step := range d.GetPath() {
		switch s := step.GetStep().(type) {
		case *channelv1.PathStep_Name:
			if i > 0 {
				path.WriteByte('.')
			}
			path.WriteString(s.Name)
		case *channelv1.PathStep_Index:
			fmt.Fprintf(&path, "[%d]", s.Index)
		}
	}
	out := d.GetSummary()
	if path.Len() > 0 {
		out = path.String() + ": " + out
	}
	if d.GetDetail() != "" {
		out += " (" + d.GetDetail() + ")"
	}
	return out
}

// progress is a Drain on its way.
type progress struct {
	gw     *gateway
	stream channelv1.ChannelService_DrainClient
}

// drain starts to drain the plugin.
func (g *gateway) drain(deadline time.Duration) *progress {
	g.t.Helper()
	stream, err := g.Drain(g.t.Context(), &channelv1.DrainRequest{Deadline: durationpb.New(deadline), Reason: "test"})
	if err != nil {
		g.t.Fatalf("drain: %v", err)
	}
	return &progress{g, stream}
}

// next waits for a report.
func (p *progress) next() *channelv1.DrainResponse {
	p.gw.t.Helper()
	resp, err := p.stream.Recv()
	if err != nil {
		p.gw.t.Fatalf("drain: %v", err)
	}
	return resp
}

// last waits for the end.
func (p *progress) last() (resp *channelv1.DrainResponse) {
	p.gw.t.Helper()
	for !resp.GetDone() {
		resp = p.next()
	}
	return resp
}

// healthStream is a Health call.
type healthStream struct {
	gw     *gateway
	stream channelv1.ChannelService_HealthClient
}

func (g *gateway) health() *healthStream {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(g.t.Context(), patience)
	g.t.Cleanup(cancel)
	stream, err := g.Health(ctx, &channelv1.HealthRequest{})
	if err != nil {
		g.t.Fatal(err)
	}
	return &healthStream{g, stream}
}

// await waits until a connector's line is the wanted one: "test/a DEGRADED message".
func (h *healthStream) await(want string) {
	h.gw.t.Helper()
	var last []string
	for {
		resp, err := h.stream.Recv()
		if err != nil {
			h.gw.t.Fatalf("health: want %q, got %v: %v", want, last, err)
		}
		last = []string{strings.TrimPrefix(resp.GetState().String(), "HEALTH_STATE_") + " " + resp.GetMessage()}
		for _, c := range resp.GetConnectors() {
			state := strings.TrimPrefix(c.GetState().String(), "HEALTH_STATE_")
			last = append(last, c.GetConnector()+" "+state+" "+c.GetMessage())
		}
		if slices.Contains(last, want) {
			return
		}
	}
}
