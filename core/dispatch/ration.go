package dispatch

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/limit"
)

// ration takes up to n of the connector's rate, waiting for it until ctx ends. It returns how many may
// be sent now; 0 when ctx ended first.
func (d *Dispatcher) ration(ctx context.Context, c *connector, n int) int {
	rate := c.rate()
	if rate <= 0 {
		return n
	}
	n = min(n, max(1, int(rate))) // a burst is one second's worth
	rule := limit.Rule{Resource: "connector:" + string(c.id), Type: limit.QPS, Max: rate}
	for {
		decision, err := d.o.Limiter.Allow(ctx, limit.Request{Rule: rule, Key: string(c.id), N: n})
		if errors.Is(err, limit.ErrNever) && n > 1 {
			n /= 2 // more than a burst
			continue
		}
		if err != nil {
			if ctx.Err() == nil {
				d.o.Logger.ErrorContext(ctx, "dispatch: cannot ask the limiter", "connector", c.id, "error", err)
				sleep(ctx, retryPause) // or the messages would go round between queue and workers
			}
			return 0
		}
		if decision.Allowed {
			return n
		}
		wait := max(decision.RetryAfter, time.Millisecond)
		if end, ok := ctx.Deadline(); n > 1 && ok && time.Until(end) < wait {
			n = (n + 1) / 2 // fewer may still fit in
			continue
		}
		sleep(ctx, wait+rand.N(wait/4+time.Millisecond))
		if ctx.Err() != nil {
			return 0
		}
	}
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
