package dispatch

import (
	"cmp"
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/limit"
)

// noneLeft is the wait after a refusal that names no time: nothing passes until the limit is raised.
const noneLeft = 100 * time.Millisecond

// maxSpread is how far those who wait for the same moment are spread at most: what they come late is lost to a rate.
const maxSpread = 5 * time.Millisecond

// lead is how long before its delivery a message gets its part of a rate that is used up. It is claimed meanwhile, which takes
// now more and now less: delivered at once, messages would come to the provider closer together than they were let go.
const lead = 50 * time.Millisecond

// grant is what a connector may send.
type grant struct {
	n       int       // messages; 0: none in the time there was
	due     time.Time // not before this; zero: at once
	release func()    // gives places of concurrent limits back
}

func noGrant() grant { return grant{release: func() {}} }

// ration takes up to n of what the connector's rate and limits let pass, all in one call, waiting for it
// until ctx ends.
func (d *Dispatcher) ration(ctx context.Context, c *connector, lane core.Lane, n int) grant {
	if len(d.rules(c)) == 0 {
		return grant{n: n, release: func() {}}
	}
	if err := c.turns.take(ctx, lane); err != nil {
		return noGrant()
	}
	defer c.turns.give()
	for {
		rules := d.rules(c) // anew each time: a limit that was raised lets those pass that wait
		if len(rules) == 0 {
			return grant{n: n, release: func() {}}
		}
		n = within(rules, n)
		decision, err := d.o.Limiter.Allow(ctx, ask(c, rules, n)...)
		if errors.Is(err, limit.ErrNever) && n > 1 {
			n /= 2 // more than a burst
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				d.o.Logger.ErrorContext(ctx, "dispatch: cannot ask the limiter", "connector", c.id, "error", err)
				sleep(ctx, retryPause) // or the messages would go round between queue and workers
			}
			return noGrant()
		}
		if decision.Allowed {
			return grant{n: n, due: c.paced(time.Now()), release: decision.Release}
		}
		c.throttle(time.Now())
		wait := cmp.Or(max(decision.RetryAfter, 0), noneLeft)
		end, ok := ctx.Deadline()
		if n > 1 && (rules[decision.Refused].Type == limit.Concurrent || ok && time.Until(end) < wait) {
			n = (n + 1) / 2 // fewer may still fit in
			continue
		}
		sleep(ctx, wait+rand.N(min(wait/4, maxSpread)+time.Millisecond))
		if ctx.Err() != nil {
			return noGrant()
		}
	}
}

// rules are what the connector may get: its rate first, then the limits that are kept for it.
func (d *Dispatcher) rules(c *connector) []limit.Rule {
	resource := ResourceConnector + string(c.id)
	var rules []limit.Rule
	if rate := c.rate(); rate > 0 {
		rules = append(rules, strict(resource, rate)...)
	}
	if d.o.Rules == nil {
		return rules
	}
	return append(rules, d.o.Rules(resource)...)
}

// guard is what a second is longer for us than for a provider: not all messages take the same time on the way to it.
const guard = 25 * time.Millisecond

// pace is the time in which no more than its part of a rate passes, and haste times as much, to make up for who comes late to
// his turn: an urgent message then does not wait for a second that others have used up at its beginning.
const (
	pace  = 30 * time.Millisecond
	haste = 1.2
)

// strict are the rules for a rate that no second exceeds, wherever it begins: a provider that counts would refuse what
// a burst has too much. Whole messages pass, so the span is that of as many as a second has whole.
func strict(resource string, rate float64) []limit.Rule {
	whole := math.Floor(rate)
	if whole < 1 {
		return []limit.Rule{{Resource: resource, Type: limit.QPS, Max: rate}} // its burst is one message
	}
	span := time.Duration(whole / rate * float64(time.Second+guard))
	return []limit.Rule{
		{Resource: resource, Type: limit.SlidingWindow, Max: whole, Window: span},
		{Resource: resource, Type: limit.SlidingWindow, Max: math.Ceil(rate * haste * pace.Seconds()), Window: pace},
	}
}

// gulps is how many parts of a second's worth of a rate are asked for one by one: more at once would come to the
// provider as one lot, after a wait for all of it.
const gulps = 25

// within is how many of n may pass at once at best.
func within(rules []limit.Rule, n int) int {
	for _, rule := range rules {
		most := rule.Max
		if rule.Type == limit.QPS || rule.Type == limit.SlidingWindow && rule.Window > pace && rule.Window < 2*time.Second {
			most /= gulps
		}
		n = max(1, min(n, int(min(most, core.MaxEnvelope))))
	}
	return n
}

// ask makes the requests of one call. A limit of the connector counts beside its own rate, under another key.
func ask(c *connector, rules []limit.Rule, n int) []limit.Request {
	requests := make([]limit.Request, len(rules))
	for i, rule := range rules {
		key := string(c.id)
		if rule.By == limit.ByConnector {
			key = string(limit.ByConnector) + ":" + key
		}
		requests[i] = limit.Request{Rule: rule, Key: key, N: n}
	}
	return requests
}

// rate is how many messages a second the connector may get, 0 for no bound.
func (c *connector) rate() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.policy.Rate > 0 {
		return c.policy.Rate
	}
	return c.status.Rate
}

// batchSize is how many messages one call may carry.
func (c *connector) batchSize() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.status.MaxBatch > 0 {
		return min(c.status.MaxBatch, core.MaxEnvelope)
	}
	return core.MaxEnvelope
}
