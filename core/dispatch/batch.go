package dispatch

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/trace"
)

// recordGrace is how long results that come when the worker is cut off may take to be recorded.
const recordGrace = time.Second

// batch is one call to a connector.
type batch struct {
	d         *Dispatcher
	connector *connector
	policy    Policy
	status    core.ConnectorStatus
	taken     time.Time // the worker took the envelope
	handed    time.Time // the plugin got the batch
	messages  map[core.RecordID]*core.Message
	results   []core.Result
}

// record makes results durable as they come. What cannot be recorded before the worker is stopped is
// found by its lease.
func (b *batch) record(ctx context.Context, results []core.Result) {
	b.results = append(b.results, results...)
	now := b.d.o.Now()
	transitions := make([]store.Transition, 0, len(results))
	for i := range results {
		r := &results[i]
		m, ok := b.messages[r.Record]
		if !ok {
			continue
		}
		if r.Outcome == core.OutcomeThrottled {
			b.connector.pause(now.Add(r.RetryAfter))
		}
		t := judgement{message: m, result: r, policy: b.policy, status: b.status, now: now, maxAge: b.d.o.MaxAge}.transition()
		t.StartedAt = b.handed
		t.Doubtful = t.Doubtful || doubtsRepeat(m, b.connector.id, b.handed)
		transitions = append(transitions, t)
	}
	if ctx.Err() != nil { // the worker is being cut off; what is known is not to be lost for that
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), recordGrace)
		defer cancel()
	}
	counted, err := b.d.record(ctx, transitions, now)
	if err != nil {
		return
	}
	b.tell(results, transitions, counted, now)
}

// record stores transitions and passes on the receipts that had waited for them.
func (d *Dispatcher) record(ctx context.Context, transitions []store.Transition, now time.Time) ([]bool, error) {
	var counted []bool
	err := d.insist(ctx, "record results", func(ctx context.Context) error {
		var applied []store.Applied
		var err error
		counted, applied, err = d.o.Store.Record(ctx, transitions, now)
		if err == nil && len(applied) > 0 {
			d.o.Applied(applied)
		}
		return err
	})
	return counted, err
}

// tell writes the traces and the statistics of results that counted.
func (b *batch) tell(results []core.Result, transitions []store.Transition, counted []bool, now time.Time) {
	entries := make([]trace.Entry, 0, len(transitions))
	for i := range transitions {
		if !counted[i] {
			continue
		}
		t := &transitions[i]
		m := b.messages[t.Record]
		entries = append(entries, trace.Entry{TraceID: m.TraceID, Account: m.Account, Nodes: b.nodes(m, t, now)})
		b.d.o.Observer.Outcome(b.connector.id, t.Outcome, t.Status, results[i].Latency)
	}
	b.d.o.Traces.Record(entries...)
}

// nodes are the steps of one attempt.
func (b *batch) nodes(m *core.Message, t *store.Transition, now time.Time) []core.Node {
	queued := m.CreatedAt
	if t.Attempt > 1 || m.NextAttempt.After(queued) {
		queued = later(m.UpdatedAt, m.NextAttempt)
	}
	if queued.After(b.taken) {
		queued = b.taken
	}
	send := core.Node{Name: core.NodeSend, Attempt: t.Attempt, Start: b.handed, Finish: now, Status: core.NodeSuccess, Detail: string(b.connector.id)}
	if t.Outcome != core.OutcomeAccepted {
		send.Status = core.NodeFailed
		if t.Error != nil {
			send.Detail += ": " + t.Error.Code
		}
	}
	return []core.Node{
		{Name: core.NodeQueue, Attempt: t.Attempt, Start: queued, Finish: b.taken, Status: core.NodeSuccess},
		{Name: core.NodeProcess, Attempt: t.Attempt, Start: b.taken, Finish: b.handed, Status: core.NodeSuccess},
		send,
	}
}
