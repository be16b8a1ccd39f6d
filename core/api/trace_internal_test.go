package api

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

func TestTraceIsCompletedFromTheMessage(t *testing.T) {
	at := func(ms int) time.Time { return time.UnixMilli(1_800_000_000_000 + int64(ms)) }
	sent := core.Attempt{Number: 1, Connector: "sms/main", Outcome: core.OutcomeAccepted, StartedAt: at(10), FinishedAt: at(30)}
	refused := core.Attempt{
		Number: 1, Connector: "sms/main", Outcome: core.OutcomeRetryable, StartedAt: at(10), FinishedAt: at(30),
		Error: &core.SendError{Code: "busy"},
	}
	running := core.Attempt{Number: 1, Connector: "sms/main", StartedAt: at(10)}
	recorded := []core.Node{
		{Name: core.NodeQueue, Attempt: 1, Start: at(0), Finish: at(9), Status: core.NodeSuccess},
		{Name: core.NodeProcess, Attempt: 1, Start: at(9), Finish: at(10), Status: core.NodeSuccess},
		{Name: core.NodeSend, Attempt: 1, Start: at(10), Finish: at(30), Status: core.NodeSuccess},
	}
	receipt := core.Node{Name: core.NodeCallback, Attempt: 1, Start: at(50), Finish: at(60), Status: core.NodeSuccess}
	tests := []struct {
		about    string
		status   core.Status
		attempt  int
		attempts []core.Attempt
		recorded []core.Node
		want     string // name.attempt=status
		total    float64
		rate     float64
	}{
		{"queued", core.StatusQueued, 0, nil, nil, "queue.1=pending", 0, 0},
		{"scheduled", core.StatusScheduled, 0, nil, nil, "queue.1=pending", 0, 0},
		{"canceled while it waited", core.StatusCanceled, 0, nil, nil, "queue.1=failed", 100, 0},
		{"expired while it waited", core.StatusExpired, 0, nil, nil, "queue.1=failed", 100, 0},
		{"sending", core.StatusSending, 1, []core.Attempt{running}, nil, "queue.1=success send.1=pending", 10, 1},
		{"sent, trace lost", core.StatusSent, 1, []core.Attempt{sent}, nil, "queue.1=success send.1=success", 30, 1},
		{"sent", core.StatusSent, 1, []core.Attempt{sent}, recorded, "queue.1=success process.1=success send.1=success", 30, 1},
		{
			"delivered", core.StatusDelivered, 1,
			[]core.Attempt{sent},
			append([]core.Node{receipt}, recorded...), "queue.1=success process.1=success send.1=success callback.1=success", 60, 1,
		},
		{"delivered, trace lost", core.StatusDelivered, 1, []core.Attempt{sent}, nil, "queue.1=success send.1=success callback.1=success", 100, 1},
		{"undelivered, trace lost", core.StatusUndelivered, 1, []core.Attempt{sent}, nil, "queue.1=success send.1=success callback.1=failed", 100, 0.6667},
		{
			"waits for another attempt", core.StatusQueued, 1,
			[]core.Attempt{refused},
			nil, "queue.1=success send.1=failed queue.2=pending", 30, 0.5,
		},
		{
			"second attempt", core.StatusSending, 2,
			[]core.Attempt{refused, {Number: 2, Connector: "sms/main", StartedAt: at(70)}},
			nil,
			"queue.1=success send.1=failed queue.2=success send.2=pending", 70, 0.6667,
		},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			m := core.Message{ID: 5, TraceID: core.NewTraceID(5, 1), Status: test.status, Attempt: test.attempt, CreatedAt: at(0), UpdatedAt: at(100)}
			trace := traceOf(&m, steps(&m, test.attempts, test.recorded))
			var got []string
			for _, n := range trace.TraceData.Nodes {
				got = append(got, fmt.Sprintf("%s.%d=%s", n.Name, n.Attempt, n.Status))
				if (n.FinishTime == nil) != (n.Status == "pending") {
					t.Errorf("node %+v: only a pending one has no finish", n)
				}
			}
			if strings.Join(got, " ") != test.want {
				t.Errorf("nodes %v; want %s", got, test.want)
			}
			if s := trace.Statistics; s.TotalDurationMs != test.total || s.SuccessRate != test.rate || s.NodeCount != len(got) {
				t.Errorf("statistics %+v; want %v ms, rate %v", s, test.total, test.rate)
			}
		})
	}
}
