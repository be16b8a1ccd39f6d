package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// queryTimeout bounds one question to a provider.
	queryTimeout = 10 * time.Second
	// giveUpAfter is the age of an uncertain attempt at which the provider is not asked any more.
	giveUpAfter = 10 * time.Minute
	// returnAfter is how soon the connector's plugin is first looked for again when it is not there.
	returnAfter = time.Second
)

// Resolve decides about messages whose attempt ended unseen: their worker died, or their outcome was
// uncertain. Where the provider can be asked, it is; otherwise the connector's policy decides. Connectors do not
// wait for each other.
func (d *Dispatcher) Resolve(ctx context.Context, lapsed []store.Lapsed) {
	byConnector := map[core.ConnectorID][]store.Lapsed{}
	for _, l := range lapsed {
		byConnector[l.Message.Connector] = append(byConnector[l.Message.Connector], l)
	}
	var wg sync.WaitGroup
	for id, group := range byConnector {
		wg.Go(func() { d.resolve(ctx, id, group) })
	}
	wg.Wait()
}

func (d *Dispatcher) resolve(ctx context.Context, id core.ConnectorID, lapsed []store.Lapsed) {
	policy, status := Policy{ID: id}.withDefaults(), core.ConnectorStatus{ID: id}
	if c, ok := d.connector(id); ok {
		policy, status = c.view()
	}
	answers := d.query(ctx, status, lapsed)
	now := d.o.Now()
	transitions := make([]store.Transition, len(lapsed))
	for i := range lapsed {
		transitions[i] = d.conclude(&lapsed[i], policy, status, answers[lapsed[i].Message.ID], now)
	}
	if _, err := d.record(ctx, transitions, now); err != nil && ctx.Err() == nil {
		d.o.Logger.ErrorContext(ctx, "dispatch: cannot resolve uncertain messages", "error", err)
	}
}

// answer is what a provider said about one attempt.
type answer struct {
	result core.Result
	known  bool // the provider knows the attempt
	later  bool // the provider could not be asked, or does not know yet: it may another time
	safe   bool // the provider does not know, but drops a repeat that comes soon
}

// conclude turns the provider's answer, or its silence, into a transition.
func (d *Dispatcher) conclude(l *store.Lapsed, p Policy, s core.ConnectorStatus, a answer, now time.Time) store.Transition {
	m := &l.Message
	result := a.result
	if !a.known {
		result = core.Result{
			Record: m.ID, Attempt: m.Attempt, Outcome: core.OutcomeUncertain, ProviderIDs: l.ProviderIDs, Error: m.Error,
		}
		if m.Status == core.StatusSending {
			result.Error = &core.SendError{
				Code: core.CodeLeaseExpired, Fault: core.FaultPlugin,
				Message: "the worker that held the message ended before its outcome was recorded",
			}
		}
	}
	safe := a.safe && now.Before(repeatSafeUntil(m, l.StartedAt))
	if safe {
		result.Error = a.result.Error
	}
	j := judgement{message: m, result: &result, policy: p, status: s, now: now, maxAge: d.o.MaxAge, safe: safe}
	if a.known {
		t := j.transition()
		t.StartedAt = l.StartedAt
		return t
	}
	t := store.Transition{
		Record: m.ID, Attempt: m.Attempt, Status: core.StatusUncertain, Outcome: core.OutcomeUncertain,
		Error: result.Error, ProviderIDs: l.ProviderIDs, StartedAt: l.StartedAt, FinishedAt: now,
	}
	if !safe && a.later && now.Sub(l.StartedAt) < giveUpAfter {
		t.NextAttempt = now.Add(max(queryAfter, now.Sub(l.StartedAt)/2))
		if s.State == core.ConnectorUnavailable {
			t.NextAttempt = now.Add(max(returnAfter, now.Sub(l.StartedAt)/4))
		}
		return t
	}
	j.unresolved(&t)
	return t
}

// query asks the provider about attempts. One that it leaves out it cannot tell anything about, for
// instance because it knows messages by an id that was never heard. While the plugin is not there, as when the
// gateway has just started, it is not known whether the provider can be asked.
func (d *Dispatcher) query(ctx context.Context, s core.ConnectorStatus, lapsed []store.Lapsed) map[core.RecordID]answer {
	switch {
	case s.Query:
		return d.ask(ctx, s.ID, lapsed)
	case s.State == core.ConnectorUnavailable:
		return askLater(lapsed)
	default:
		return nil
	}
}

func askLater(lapsed []store.Lapsed) map[core.RecordID]answer {
	answers := make(map[core.RecordID]answer, len(lapsed))
	for i := range lapsed {
		answers[lapsed[i].Message.ID] = answer{later: true}
	}
	return answers
}

func (d *Dispatcher) ask(ctx context.Context, id core.ConnectorID, lapsed []store.Lapsed) map[core.RecordID]answer {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	inquiries := make([]core.Inquiry, len(lapsed))
	for i := range lapsed {
		m := &lapsed[i].Message
		inquiries[i] = core.Inquiry{
			Record: m.ID, Attempt: m.Attempt, IdempotencyKey: string(m.TraceID),
			ProviderIDs: lapsed[i].ProviderIDs, Recipient: m.Recipient, SentAt: lapsed[i].StartedAt,
		}
	}
	results, err := d.o.Carrier.Query(ctx, id, inquiries)
	if err != nil {
		d.o.Logger.WarnContext(ctx, "dispatch: cannot ask the provider about uncertain messages", "connector", id, "error", err)
		return askLater(lapsed)
	}
	answers := make(map[core.RecordID]answer, len(results))
	for _, r := range results {
		unclear := r.Outcome == core.OutcomeUncertain
		safe := unclear && r.Error != nil && r.Error.Code == core.CodeRepeatSafe
		answers[r.Record] = answer{result: r, known: !unclear, later: unclear, safe: safe}
	}
	return answers
}
