// Package clock is the time that all gateways of one store agree on: the store's. Leases, schedules and keys that
// one gateway writes are judged by another, so the clocks of their machines must not matter, nor a step that
// one of these makes.
//
// A Clock runs on the machine's monotonic clock and is held to the store's by a look at it now and then. It never
// jumps and never runs backwards: what it is wrong by is made up for at a quarter of its speed, so that no
// lease ends early because somebody set a clock.
package clock

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"
)

const (
	// lookEvery is the time between two looks at the store's clock.
	lookEvery = 10 * time.Second
	// lookTimeout bounds one look, which asks so many times: the fastest answer says the most. A store that is far away
	// or busy is worth waiting for, as what a slow answer leaves open is reckoned with.
	lookTimeout = 5 * time.Second
	asks        = 4
	// slew is the part of its speed by which a clock that is wrong runs faster or slower.
	slew = 4
	// worthSaying is a difference that no drift explains: a clock was set.
	worthSaying = 5 * time.Second
)

// Source is the clock to follow. Its answer lies between the call and the return.
type Source interface {
	Now(ctx context.Context) (time.Time, error)
}

// Clock tells the time. Several goroutines may use it.
type Clock struct {
	source Source
	course atomic.Pointer[course]
}

// course is how a clock goes on from a look at its source.
type course struct {
	since time.Time     // of this machine, with its monotonic reading
	shows time.Time     // what the clock showed then
	wrong time.Duration // what it was behind its source
}

func (c *course) at(now time.Time) time.Time {
	passed := now.Sub(c.since)
	most := passed / slew
	return c.shows.Add(passed + max(-most, min(c.wrong, most)))
}

// New returns a clock that shows what the source does. The error is that of the source.
func New(ctx context.Context, source Source) (*Clock, error) {
	c := &Clock{source: source}
	seen, err := c.look(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the store's clock: %w", err)
	}
	c.course.Store(&course{since: seen.at, shows: seen.shows})
	return c, nil
}

// Now is the time, in UTC. It is for comparison with the times of the store and of other gateways; a deadline for this
// process is set by time.Now or a duration.
func (c *Clock) Now() time.Time { return c.course.Load().at(time.Now()) }

// Run follows the source until ctx ends, and tells when it was set. While the source does not answer the clock goes on
// by itself.
func (c *Clock) Run(ctx context.Context, logger *slog.Logger) {
	t := time.NewTicker(lookEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			c.follow(ctx, logger)
		}
	}
}

func (c *Clock) follow(ctx context.Context, logger *slog.Logger) {
	seen, err := c.look(ctx)
	if err != nil {
		return // the store's absence is told by those who need more of it
	}
	last := c.course.Load()
	next := &course{since: seen.at, shows: last.at(seen.at)}
	next.wrong = surely(seen.shows.Sub(next.shows), seen.within)
	if next.wrong.Abs() > worthSaying && last.wrong.Abs() <= worthSaying {
		logger.WarnContext(ctx, "clock: the store's clock was set; it is followed at a quarter of the speed, so that no lease ends early",
			"behind", next.wrong.Round(time.Millisecond).String())
	}
	c.course.Store(next)
}

// surely is what is left of a difference that was measured to within so much.
func surely(difference, within time.Duration) time.Duration {
	if difference > 0 {
		return max(0, difference-within)
	}
	return min(0, difference+within)
}

// sight is what a look saw: the source's time at a time of this machine, right to within so much.
type sight struct {
	at, shows time.Time
	within    time.Duration
}

// look asks the source some times and returns the best answer, of which one is enough.
func (c *Clock) look(ctx context.Context) (best sight, err error) {
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	for i := range asks {
		asked := time.Now()
		shows, err := c.source.Now(ctx)
		if err != nil && i == 0 {
			return best, err
		}
		if err != nil {
			break
		}
		if within := time.Since(asked) / 2; i == 0 || within < best.within {
			best = sight{at: asked.Add(within), shows: shows.Round(0).UTC(), within: within}
		}
	}
	return best, nil
}
