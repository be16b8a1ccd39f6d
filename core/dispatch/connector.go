package dispatch

import (
	"context"
	"sync"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"

	"github.com/pigeonry/pigeonry/core"
)

// OnUncertain says what becomes of a message whose attempt ended unseen and cannot be cleared up.
type OnUncertain string

// The policies for uncertain attempts.
const (
	// Retry sends again and marks the message: the recipient may get it twice.
	Retry OnUncertain = "retry"
	// Hold leaves the message uncertain until somebody decides.
	Hold OnUncertain = "hold"
)

// Policy is how one connector is used.
type Policy struct {
	ID     core.ConnectorID
	Weight int // share among connectors of the same order; default 1
	Order  int // connectors of a lower order come first; higher ones are for when none of those can
	Match  Match
	// Ramp is how long it takes, once the connector cannot be used, until all of its messages may go to others; 0 lets
	// them at once.
	Ramp time.Duration
	// OnUncertain defaults to Retry.
	OnUncertain OnUncertain
	// Rate bounds messages a second; 0 takes what the plugin suggests, which may be none.
	Rate float64
	// MaxInFlight bounds messages handed over and without a result; 0 takes what the plugin allows, or 2000.
	MaxInFlight int
	// Timeout bounds one delivery; default 30 s.
	Timeout time.Duration
	// Backoff before the second attempt, growing fourfold up to MaxBackoff; defaults 2 s and 10 min.
	// The wait is a random part of it (full jitter).
	Backoff    time.Duration
	MaxBackoff time.Duration
}

const defaultInFlight = 2000

func (p Policy) withDefaults() Policy {
	if p.Weight == 0 {
		p.Weight = 1
	}
	if p.OnUncertain == "" {
		p.OnUncertain = Retry
	}
	if p.Timeout == 0 {
		p.Timeout = 30 * time.Second
	}
	if p.Backoff == 0 {
		p.Backoff = 2 * time.Second
	}
	if p.MaxBackoff == 0 {
		p.MaxBackoff = 10 * time.Minute
	}
	return p
}

// connector is the state of one connector in this process: its bulkhead, its breaker and its pause.
type connector struct {
	id      core.ConnectorID
	breaker circuitbreaker.CircuitBreaker[any]
	turns   turns // at its rate and limits

	mu          sync.Mutex
	policy      Policy
	status      core.ConnectorStatus
	inFlight    int
	pausedUntil time.Time
	damper      damper
	throttled   time.Time     // when its rate or a limit last made somebody wait
	freed       chan struct{} // closed and replaced when places are given back
}

// newConnector returns a connector that is unavailable until its plugin is observed. Its breaker opens
// when half of at least five calls within ten seconds failed, and tries again after five.
func newConnector(id core.ConnectorID) *connector {
	return &connector{
		id: id, status: core.ConnectorStatus{ID: id, State: core.ConnectorUnavailable}, freed: make(chan struct{}),
		breaker: circuitbreaker.NewBuilder[any]().
			WithFailureRateThreshold(0.5, 5, 10*time.Second).
			WithDelay(5 * time.Second).WithJitter(time.Second).
			WithSuccessThreshold(1).Build(),
	}
}

func (c *connector) configure(p Policy) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.policy = p
}

func (c *connector) observe(s core.ConnectorStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = s
}

// view is a consistent look at the policy and the state.
func (c *connector) view() (Policy, core.ConnectorStatus) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.policy, c.status
}

// availableAt returns when the connector may be worth a try: now or before if it is at once.
func (c *connector) availableAt(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.pausedUntil
	if c.status.State != core.ConnectorReady && c.status.State != core.ConnectorDegraded {
		at = later(at, now.Add(time.Second))
	}
	if wait := c.breaker.RemainingDelay(); wait > 0 {
		at = later(at, now.Add(wait))
	}
	return at
}

func (c *connector) available(now time.Time) bool { return !c.availableAt(now).After(now) }

// pause keeps the connector from being used until a time: its provider asked for it.
func (c *connector) pause(until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pausedUntil = later(c.pausedUntil, until)
}

// throttle notes that the rate or a limit makes somebody wait.
func (c *connector) throttle(now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.throttled = now
}

// paced is when what is let pass now may be delivered: at once, unless somebody had to wait in the last second.
func (c *connector) paced(now time.Time) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.throttled.IsZero() || now.Sub(c.throttled) > time.Second {
		return time.Time{}
	}
	return now.Add(lead)
}

// slots is how many messages may be in flight.
func (c *connector) slots() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.slotsLocked()
}

func (c *connector) slotsLocked() int {
	switch {
	case c.policy.MaxInFlight > 0 && c.status.MaxInFlight > 0:
		return min(c.policy.MaxInFlight, c.status.MaxInFlight)
	case c.policy.MaxInFlight > 0:
		return c.policy.MaxInFlight
	case c.status.MaxInFlight > 0:
		return c.status.MaxInFlight
	default:
		return defaultInFlight
	}
}

// acquire takes up to want places, at least one, waiting for it until ctx ends.
func (c *connector) acquire(ctx context.Context, want int) (int, error) {
	for {
		c.mu.Lock()
		if n := min(want, c.slotsLocked()-c.inFlight); n > 0 {
			c.inFlight += n
			c.mu.Unlock()
			return n, nil
		}
		freed := c.freed
		c.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (c *connector) release(n int) {
	if n == 0 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inFlight -= n
	close(c.freed)
	c.freed = make(chan struct{})
}

// trialPause is how long a connector rests after the breaker refused a call for the sake of a trial.
const trialPause = 200 * time.Millisecond

// permit asks the breaker for a call with n messages and returns how many it may carry. A trial, after the breaker
// was open, risks one message. While it runs all other calls are refused, and the connector rests, as the
// refused messages would else go round and round between queue and workers.
func (c *connector) permit(n int, now time.Time) int {
	switch {
	case !c.breaker.TryAcquirePermit():
		c.pause(now.Add(trialPause))
		return 0
	case c.breaker.IsHalfOpen():
		return 1
	default:
		return n
	}
}

// judge tells the breaker how a call went: it failed if most of its results are the fault of the
// provider, the configuration or the plugin. A recipient's own error never counts.
func (c *connector) judge(results []core.Result) {
	bad := 0
	for i := range results {
		if faulty(&results[i]) {
			bad++
		}
	}
	if bad*2 > len(results) {
		c.breaker.RecordFailure()
		return
	}
	c.breaker.RecordSuccess()
}

func faulty(r *core.Result) bool {
	switch r.Outcome {
	case core.OutcomeAccepted, core.OutcomeThrottled:
		return false
	default:
		return r.Error == nil || r.Error.Fault != core.FaultMessage
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
