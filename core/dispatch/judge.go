package dispatch

import (
	"math/rand/v2"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// judgement decides what an outcome means for a message.
type judgement struct {
	message *core.Message
	result  *core.Result
	policy  Policy
	status  core.ConnectorStatus
	now     time.Time
	maxAge  time.Duration
	// safe: the provider drops a repeat that comes soon, see core.CodeRepeatSafe.
	safe bool
}

// queryAfter is how long after an uncertain attempt the provider is first asked about it.
const queryAfter = 5 * time.Second

func (j judgement) transition() store.Transition {
	r := j.result
	t := store.Transition{
		Record: r.Record, Attempt: r.Attempt, Outcome: r.Outcome, Error: r.Error, ProviderIDs: r.ProviderIDs,
		ExpectReceipts: j.status.Receipts && len(r.ProviderIDs) > 0,
		Segments:       r.Segments, Cost: r.Cost, FinishedAt: j.now,
	}
	switch r.Outcome {
	case core.OutcomeAccepted:
		t.Status, t.Error = core.StatusSent, nil
	case core.OutcomeRejected:
		j.rejected(&t)
	case core.OutcomeRetryable:
		j.again(&t, r.Error != nil && r.Error.Code == core.CodeNotSent)
	case core.OutcomeThrottled:
		j.again(&t, true)
	default:
		t.Outcome = core.OutcomeUncertain
		j.uncertain(&t)
	}
	// The attempt before may have been taken, and this one says nothing about that: the message is not to forget it.
	if j.message.Outcome == core.OutcomeUncertain && r.Attempt > j.message.Attempt && r.Outcome != core.OutcomeAccepted {
		t.Doubtful = true
	}
	return t
}

// rejected ends the message when it is to blame. A configuration that is wrong is mended one day: the
// message waits for that within its budget.
func (j judgement) rejected(t *store.Transition) {
	switch {
	case t.Error != nil && t.Error.Code == core.CodeExpired:
		t.Status = core.StatusExpired
	case t.Error != nil && (t.Error.Fault == core.FaultConfig || t.Error.Fault == core.FaultPlugin):
		j.again(t, false)
	default:
		t.Status = core.StatusFailed
	}
}

// again plans a further attempt for a message that was surely not sent. A free one does not count
// against the budget: nobody tried, or the provider asked to wait.
func (j judgement) again(t *store.Transition, free bool) {
	m := j.message
	wait := max(backoff(j.policy, j.result.Attempt), j.result.RetryAfter)
	if free {
		wait = j.freeWait()
		t.Budget = m.Budget + 1
	}
	next := j.now.Add(wait)
	switch {
	case m.Expired(next):
		t.Status = core.StatusExpired
	case !free && j.result.Attempt >= m.Budget, free && j.hopeless():
		t.Status = core.StatusFailed
		t.Error = exhausted(t.Error)
	default:
		t.Status, t.NextAttempt = core.StatusQueued, next
	}
}

// freeWait is when the provider asked to come back or, where it did not say, a backoff that begins quickly: a
// plugin restarts within a second.
func (j judgement) freeWait() time.Duration {
	if after := j.result.RetryAfter; after > 0 {
		return after + rand.N(after/2+time.Millisecond)
	}
	quick := j.policy
	quick.Backoff = min(quick.Backoff, time.Second)
	return backoff(quick, j.result.Attempt)
}

// patience is how many attempts a message has even if it is old: it may have become so before the first, scheduled
// far ahead or retried by its caller.
const patience = 2 * core.DefaultBudget

// hopeless says whether free attempts have gone on for too long.
func (j judgement) hopeless() bool {
	return j.result.Attempt > patience && j.now.Sub(j.message.CreatedAt) > j.maxAge
}

// uncertain keeps a message whose attempt may have reached the provider from being sent again blindly.
// Where the provider can be asked, it is, and the message waits for that.
func (j judgement) uncertain(t *store.Transition) {
	t.Status = core.StatusUncertain
	if j.status.Query {
		t.NextAttempt = j.now.Add(queryAfter)
		return
	}
	j.unresolved(t)
}

// unresolved applies the policy to an uncertain attempt that nobody can clear up. Where the policy is to
// send again and no attempt is left, the message fails with the mark: it may have arrived all the same, and
// a late receipt will say so.
func (j judgement) unresolved(t *store.Transition) {
	m := j.message
	next := j.now.Add(backoff(j.policy, j.result.Attempt))
	t.NextAttempt = time.Time{}
	switch {
	case m.Expired(next):
		t.Status, t.Doubtful = core.StatusExpired, true
	case j.policy.OnUncertain == Hold && !j.safe:
		t.Status = core.StatusUncertain
	case j.result.Attempt >= m.Budget:
		t.Status, t.Doubtful, t.Error = core.StatusFailed, true, exhausted(t.Error)
	default:
		t.Status, t.NextAttempt = core.StatusQueued, next
		// A provider that drops repeats cannot make a double.
		t.Doubtful = !j.status.Idempotent && !j.safe
	}
}

// backoff is a random part of a bound that grows fourfold with each attempt.
func backoff(p Policy, attempt int) time.Duration {
	bound := p.Backoff
	for range attempt - 1 {
		if bound *= 4; bound >= p.MaxBackoff {
			bound = p.MaxBackoff
			break
		}
	}
	return max(rand.N(bound), 50*time.Millisecond)
}

func exhausted(last *core.SendError) *core.SendError {
	e := core.SendError{Code: core.CodeOutOfAttempts, Message: "no attempts are left"}
	if last != nil {
		e.Message += "; the last one: " + last.Error()
		e.ProviderCode, e.Fault = last.ProviderCode, last.Fault
	}
	return &e
}
