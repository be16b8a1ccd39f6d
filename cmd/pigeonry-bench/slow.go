package main

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

const (
	// fastRate is the load of the channel that is measured: well below what it can do.
	fastRate = 200
	// slowRate is what keeps coming for the channel that hangs, after slowFirst that are there at once.
	slowRate  = 2
	slowFirst = 5000
	// spells is how many parts of a phase have a p99 of their own: the one in the middle counts, so that a stall of
	// the machine in one phase says nothing about the other.
	spells = 5
)

// measureSlow measures a channel alone, then beside one whose provider takes 30 s for whatever it gets.
func measureSlow(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, setup{connectors: []connector{
		{channel: "null"},
		// The plugin answers before the gateway gives up: no breaker takes the load off.
		{channel: "void", settings: `timeout = "60s"`, config: `latency = "30s"`},
	}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if _, err := fast(ctx, s, min(time.Second, o.duration/4)); err != nil { // warm up
		return r, err
	}
	alone, err := fast(ctx, s, o.duration/2)
	if err != nil {
		return r, err
	}
	beside, err := fastBesideSlow(ctx, s, o.duration/2)
	if err != nil {
		return r, err
	}
	r = report{What: "slow", Engines: o.engines, Seconds: o.duration.Seconds(), Messages: len(alone) + len(beside), LatencyRate: fastRate, Limits: raw}
	r.RSS, r.RSSWithPlugins = s.rss()
	if err := s.kill(); err != nil {
		return r, err
	}
	return r, r.judgeSlow(s, alone, beside)
}

// fast loads the channel that is measured and waits until all has arrived.
func fast(ctx context.Context, s *subject, d time.Duration) ([]sample, error) {
	before := s.received()
	samples, err := openLoop(ctx, s.address, openConns, fastRate, d, singleBody("null", 5))
	if err != nil {
		return nil, err
	}
	return samples, s.awaitReceived(ctx, before+len(samples))
}

// fastBesideSlow gives the other channel more than it has places for, lets that come to rest, and goes on with both.
func fastBesideSlow(ctx context.Context, s *subject, d time.Duration) (samples []sample, err error) {
	body, err := batchBody("void", slowFirst, 5)
	if err != nil {
		return nil, err
	}
	c := &client{address: s.address}
	defer c.close()
	var b sentBatch
	if err := c.post(ctx, "/api/messages/send-batch", body, &b); err != nil {
		return nil, err
	}
	time.Sleep(min(2*time.Second, d/4))
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		_, err := openLoop(ctx, s.address, 8, slowRate, d, singleBody("void", 5))
		return err
	})
	group.Go(func() (err error) {
		samples, err = fast(ctx, s, d)
		return err
	})
	return samples, group.Wait()
}

func (r *report) judgeSlow(s *subject, alone, beside []sample) error {
	if err := r.judge(s, append(alone, beside...), append(alone, beside...)); err != nil {
		return err
	}
	seen, _, err := s.arrivals()
	if err != nil {
		return err
	}
	first, second := steady("fast channel alone", alone, seen), steady("beside the channel that hangs", beside, seen)
	r.Parts = []part{first, second}
	r.Aims = []aim{atMost("p99 beside it, by p99 alone", second.P99/max(first.P99, 0.001), 1.2, "")}
	return nil
}

// steady is a part whose p99 is the one in the middle of those of its spells.
func steady(name string, samples []sample, seen map[int64]time.Time) part {
	p := sent(name, samples, seen)
	p.P99 = middle(samples, func(spell []sample) float64 { return quantile(endToEnd(spell, seen), 0.99) })
	return p
}

// middle is the figure in the middle of those of the spells.
func middle(samples []sample, figure func(spell []sample) float64) float64 {
	inOrder := slices.SortedFunc(slices.Values(samples), func(a, b sample) int { return a.due.Compare(b.due) })
	var each []float64
	for spell := range slices.Chunk(inOrder, max(1, (len(inOrder)+spells-1)/spells)) {
		each = append(each, figure(spell))
	}
	return median(each)
}

// median is the one in the middle, 0 of none. It sorts them.
func median(figures []float64) float64 {
	if len(figures) == 0 {
		return 0
	}
	slices.Sort(figures)
	return figures[len(figures)/2]
}

// endToEnd lists how long after it was due each message was at the plugin.
func endToEnd(samples []sample, seen map[int64]time.Time) []time.Duration {
	times := make([]time.Duration, 0, len(samples))
	for _, x := range samples {
		if at, ok := seen[x.record]; ok {
			times = append(times, at.Sub(x.due))
		}
	}
	return times
}
