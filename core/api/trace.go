package api

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
)

// GetTrace tells the path of a message: the steps that were recorded, completed by what the message
// itself tells, as traces are written a moment later and may be dropped.
func (s *server) GetTrace(c *gin.Context, traceID string) {
	id := core.TraceID(traceID)
	record, ok := id.RecordID()
	if !ok {
		s.fail(c, noTrace(core.NotFound("trace")))
		return
	}
	ctx, account := c.Request.Context(), accountOf(c)
	m, attempts, err := s.o.Messages.Message(ctx, account, record)
	if err != nil {
		s.fail(c, noTrace(err))
		return
	}
	if m.TraceID != id { // the half that is random was guessed
		s.fail(c, noTrace(core.NotFound("trace")))
		return
	}
	nodes, err := s.o.Traces.Nodes(ctx, account, id)
	if err != nil { // nothing depends on traces; what the message tells is still an answer
		s.o.Logger.WarnContext(ctx, "api: cannot read a trace", "request_id", callOf(c).id, "error", err)
		nodes = nil
	}
	s.ok(c, "the trace", traceOf(&m, steps(&m, attempts, nodes)))
}

func noTrace(err error) error { return absent(err, core.CodeTraceNotFound, "trace") }

// steps adds to the recorded nodes those that the message tells of, and orders them.
func steps(m *core.Message, attempts []core.Attempt, recorded []core.Node) []core.Node {
	nodes := slices.Clone(recorded)
	has := func(name string, attempt int) bool {
		return slices.ContainsFunc(nodes, func(n core.Node) bool { return n.Name == name && n.Attempt == attempt })
	}
	queuedAt := m.CreatedAt
	for _, a := range attempts {
		if !has(core.NodeQueue, a.Number) {
			nodes = append(nodes, core.Node{
				Name: core.NodeQueue, Attempt: a.Number, Start: queuedAt, Finish: a.StartedAt, Status: core.NodeSuccess,
			})
		}
		if !has(core.NodeSend, a.Number) {
			nodes = append(nodes, sendNode(a))
		}
		queuedAt = a.FinishedAt
	}
	if n, waiting := queueNode(m, len(attempts)); waiting {
		nodes = append(nodes, n)
	}
	if n, called := callbackNode(m); called && !hasName(nodes, core.NodeCallback) {
		nodes = append(nodes, n)
	}
	slices.SortStableFunc(nodes, func(a, b core.Node) int {
		return cmp.Or(cmp.Compare(a.Attempt, b.Attempt), cmp.Compare(order(a), order(b)), a.Start.Compare(b.Start))
	})
	return nodes
}

// queueNode is the wait of a message that no worker has taken, or none has taken again.
func queueNode(m *core.Message, attempts int) (core.Node, bool) {
	n := core.Node{Name: core.NodeQueue, Attempt: m.Attempt + 1, Start: m.CreatedAt, Status: core.NodePending}
	if attempts > 0 {
		n.Start = m.UpdatedAt
	}
	switch m.Status {
	case core.StatusScheduled, core.StatusQueued:
		return n, true
	case core.StatusCanceled, core.StatusExpired, core.StatusFailed:
		// It ended while it waited, before any attempt.
		n.Finish, n.Status, n.Detail = m.UpdatedAt, core.NodeFailed, string(m.Status)
		return n, m.Attempt == 0
	default:
		return n, false
	}
}

func sendNode(a core.Attempt) core.Node {
	n := core.Node{
		Name: core.NodeSend, Attempt: a.Number, Start: a.StartedAt, Finish: a.FinishedAt,
		Status: core.NodePending, Detail: string(a.Connector),
	}
	switch a.Outcome {
	case "":
	case core.OutcomeAccepted:
		n.Status = core.NodeSuccess
	default:
		n.Status = core.NodeFailed
		if a.Error != nil {
			n.Detail += ": " + a.Error.Code
		}
	}
	return n
}

// callbackNode is the receipt that the message's status tells of.
func callbackNode(m *core.Message) (core.Node, bool) {
	n := core.Node{
		Name: core.NodeCallback, Attempt: m.Attempt, Start: m.UpdatedAt, Finish: m.UpdatedAt,
		Status: core.NodeSuccess, Detail: string(m.Status),
	}
	switch m.Status {
	case core.StatusDelivered, core.StatusRead:
		return n, true
	case core.StatusUndelivered:
		n.Status = core.NodeFailed
		return n, true
	default:
		return n, false
	}
}

func hasName(nodes []core.Node, name string) bool {
	return slices.ContainsFunc(nodes, func(n core.Node) bool { return n.Name == name })
}

// order is the place of a node on the way of a message.
func order(n core.Node) int {
	return slices.Index([]string{core.NodeQueue, core.NodeProcess, core.NodeSend, core.NodeCallback}, n.Name)
}

// traceOf makes the answer of the nodes and counts them up.
func traceOf(m *core.Message, nodes []core.Node) Trace {
	t := Trace{TraceId: string(m.TraceID), RecordId: int64(m.ID)}
	t.TraceData.Nodes = make([]TraceNode, len(nodes))
	var first, last time.Time
	finished, succeeded := 0, 0
	for i, n := range nodes {
		t.TraceData.Nodes[i] = nodeOf(n)
		if first.IsZero() || n.Start.Before(first) {
			first = n.Start
		}
		if n.Finish.After(last) {
			last = n.Finish
		}
		if n.Status != core.NodePending {
			finished++
		}
		if n.Status == core.NodeSuccess {
			succeeded++
		}
	}
	t.Statistics.NodeCount = len(nodes)
	if last.After(first) {
		t.Statistics.TotalDurationMs = milliseconds(last.Sub(first))
	}
	if finished > 0 {
		t.Statistics.SuccessRate = math.Round(float64(succeeded)/float64(finished)*1e4) / 1e4
	}
	return t
}

func nodeOf(n core.Node) TraceNode {
	answer := TraceNode{
		Name: TraceNodeName(n.Name), Attempt: n.Attempt, StartTime: n.Start, Status: TraceNodeStatus(n.Status),
		DurationMs: milliseconds(n.Duration()), Detail: n.Detail,
	}
	if !n.Finish.IsZero() {
		answer.FinishTime = &n.Finish
	}
	return answer
}

// milliseconds keeps microseconds as a fraction.
func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }
