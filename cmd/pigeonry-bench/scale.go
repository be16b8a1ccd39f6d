package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// A worker has as many messages in flight as its connector lets it, for as long as the provider takes: 250
	// a second each at best, which no processor is the limit of.
	scalePlaces  = 50
	scaleLatency = 200 * time.Millisecond
	// scaleSettle is how long new workers get before they are measured.
	scaleSettle = 2 * time.Second
)

// measureScale measures how fast 1, 2 and 4 gateways send through a slow provider. Another gateway takes the requests
// and sends nothing.
func measureScale(ctx context.Context, o options) (r report, err error) {
	if o.engines != production {
		return r, errors.New("several gateways need engines that they share: use -engines production")
	}
	c := connector{
		channel: "null", settings: fmt.Sprintf("max_in_flight = %d", scalePlaces),
		config: fmt.Sprintf("latency = %q", scaleLatency),
	}
	raw, s, err := prepare(ctx, o, setup{connectors: []connector{c}, roles: "api,scheduler"})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r = report{What: "scale", Engines: o.engines, Seconds: o.duration.Seconds(), Limits: raw}
	for _, workers := range []int{1, 2, 4} {
		if err := hire(ctx, s, workers, setup{connectors: []connector{c}, roles: "worker"}); err != nil {
			return r, err
		}
		p, err := scaleStep(ctx, s, workers, o.duration/3)
		if err != nil {
			return r, err
		}
		r.Parts = append(r.Parts, p)
		r.Messages += p.Count
	}
	r.RSS, r.RSSWithPlugins = s.rss()
	_, r.Doubles, err = s.arrivals()
	one := max(r.Parts[0].Rate, 0.001)
	r.Rate = r.Parts[2].Rate
	r.Aims = []aim{
		atLeast("rate of 2 workers, by that of 1", r.Parts[1].Rate/one, 1.9, ""),
		atLeast("rate of 4 workers, by that of 1", r.Parts[2].Rate/one, 3.6, ""),
	}
	return r, err
}

// hire starts workers until there are so many.
func hire(ctx context.Context, s *subject, n int, what setup) error {
	for len(s.workers) < n {
		g, err := s.launch(ctx, fmt.Sprintf("worker-%d", len(s.workers)+1), what)
		if g != nil {
			s.workers = append(s.workers, g)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// scaleStep keeps the workers busy for a while and counts what they send.
func scaleStep(ctx context.Context, s *subject, workers int, d time.Duration) (part, error) {
	best := float64(workers*scalePlaces) / scaleLatency.Seconds()
	enough := int(best*(scaleSettle+d).Seconds()) + batchSize // at the end there is still a batch
	if _, err := queueMessages(ctx, s, enough, 5); err != nil {
		return part{}, err
	}
	time.Sleep(scaleSettle)
	began, before := time.Now(), s.received()
	time.Sleep(d)
	arrived := s.received() - before
	return part{
		Name: fmt.Sprintf("workers: %d", workers), Count: arrived, Rate: float64(arrived) / time.Since(began).Seconds(),
	}, ctx.Err()
}
