package api_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
)

func TestTrace(t *testing.T) {
	h := newHarness(t)
	sent := h.send(anSMS)
	path := "/api/messages/traces/" + sent.TraceId
	trace := data[api.Trace](t, h.want(h.do("GET", path, ""), 200, 0))
	if len(trace.TraceData.Nodes) != 1 || trace.TraceData.Nodes[0].Name != "queue" || trace.TraceData.Nodes[0].Status != "pending" {
		t.Errorf("a queued message's trace: %+v", trace)
	}
	h.sent(sent.RecordId, core.StatusSent, nil)
	start := time.Now().Add(-time.Second)
	for i, name := range []string{core.NodeQueue, core.NodeProcess, core.NodeSend, core.NodeCallback} {
		h.nodes[core.TraceID(sent.TraceId)] = append(h.nodes[core.TraceID(sent.TraceId)], core.Node{
			Name: name, Attempt: 1, Status: core.NodeSuccess, Detail: "sms/main",
			Start: start.Add(time.Duration(i) * 1500 * time.Microsecond), Finish: start.Add(time.Duration(i+1) * 1500 * time.Microsecond),
		})
	}
	a := h.want(h.do("GET", path, ""), 200, 0)
	trace = data[api.Trace](t, a)
	if s := trace.Statistics; s.NodeCount != 4 || s.SuccessRate != 1 || s.TotalDurationMs != 6 {
		t.Errorf("statistics %+v", s)
	}
	for i, want := range []string{"queue", "process", "send", "callback"} {
		if n := trace.TraceData.Nodes[i]; string(n.Name) != want || n.DurationMs != 1.5 || n.FinishTime == nil {
			t.Errorf("node %d: %+v; want %s", i, n, want)
		}
	}
	if trace.TraceId != sent.TraceId || trace.RecordId != sent.RecordId {
		t.Errorf("trace %+v", trace)
	}
}

// lostTraces cannot be read.
type lostTraces struct{}

func (lostTraces) Nodes(context.Context, core.AccountID, core.TraceID) ([]core.Node, error) {
	return nil, errSecret
}

func TestTraceWithoutItsStore(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.Traces = lostTraces{} })
	sent := h.send(anSMS)
	trace := data[api.Trace](t, h.want(h.do("GET", "/api/messages/traces/"+sent.TraceId, ""), 200, 0))
	if len(trace.TraceData.Nodes) != 1 || !strings.Contains(h.log.String(), "cannot read a trace") {
		t.Errorf("trace %+v, log %s", trace, h.log.String())
	}
}
