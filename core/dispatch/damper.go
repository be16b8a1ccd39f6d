package dispatch

import (
	"sync"
	"time"
)

const (
	// leastDiverted is the share of a connector's messages that may go to others as soon as it fails.
	leastDiverted = 0.1
	// freelyDiverted is how many messages a second, of a channel, go elsewhere whatever the share: they are no load.
	freelyDiverted = 10
	// divertedBurst is how many of them may do so at once.
	divertedBurst = 20
)

// damper keeps the load of a connector that fails from falling on another one all at once. The share that may go to others
// grows while it cannot be used, and shrinks as fast while it can, so that one that comes and goes starts no wave each time.
type damper struct {
	level float64 // 0 to 1
	at    time.Time
	out   bool // the connector could not be used at that time
}

// look returns the share of the connector's messages that may go to others now.
func (d *damper) look(usable bool, ramp time.Duration, now time.Time) float64 {
	if passed := now.Sub(d.at); !d.at.IsZero() && passed > 0 {
		step := 1.0
		if ramp > 0 {
			step = float64(passed) / float64(ramp)
		}
		if !d.out {
			step = -step
		}
		d.level = min(1, max(0, d.level+step))
	}
	if !now.Before(d.at) { // the clocks of the workers differ by the time they wait for each other
		d.at, d.out = now, !usable
	}
	if ramp <= 0 {
		return 1
	}
	return leastDiverted + (1-leastDiverted)*d.level
}

// divert returns the share of the connector's messages that may go to others now.
func (c *connector) divert(usable bool, now time.Time) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.damper.look(usable, c.policy.Ramp, now)
}

// allowance is what may go elsewhere in any case: a bucket of tokens.
type allowance struct {
	mu     sync.Mutex
	tokens float64
	at     time.Time
}

func (a *allowance) take(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at.IsZero() {
		a.tokens = divertedBurst
	} else if passed := now.Sub(a.at); passed > 0 {
		a.tokens = min(divertedBurst, a.tokens+passed.Seconds()*freelyDiverted)
	}
	if now.After(a.at) {
		a.at = now
	}
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}
