package main

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// floodAhead is how many batches a flood is ahead of the plugin: more than it gets in the time of a few looks.
	floodAhead = 10
	// pacedRate is how many messages a second the lanes get that are not flooded, on as many connections as seconds of
	// waiting need.
	pacedRate  = 50
	pacedConns = 256
)

// pacedPriorities are those of a lane each.
func pacedPriorities() []core.Priority {
	return []core.Priority{core.MaxPriority, 7, core.DefaultPriority}
}

// measureMixed floods the low lane with batches, so that more is there than fits, while each other lane gets single
// sends at a fixed rate.
func measureMixed(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, plain(""))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	m := mixed{from: time.Now().Add(o.duration / 10)}
	m.until = m.from.Add(o.duration)
	if err := m.load(ctx, s); err != nil {
		return r, err
	}
	r = report{What: "mixed", Engines: o.engines, Seconds: o.duration.Seconds(), Limits: raw}
	r.RSS, r.RSSWithPlugins = s.rss()
	for i := range m.paced {
		r.Messages += len(m.paced[i])
	}
	r.Messages += len(m.flood) * batchSize
	if err := s.awaitReceived(ctx, r.Messages); err != nil {
		return r, err
	}
	return r, m.judge(&r, s)
}

// mixed is the load of all lanes, measured for a time.
type mixed struct {
	from, until time.Time
	paced       [3][]sample // by pacedPriorities
	flood       []sentBatch
}

// load begins with the flood, and the others when it is under way.
func (m *mixed) load(ctx context.Context, s *subject) error {
	body, err := batchBody("null", batchSize, int(core.MinPriority))
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		m.flood, err = sendBatches(ctx, s, body, floodAhead, func(int) bool { return time.Now().Before(m.until) })
		return err
	})
	for i, p := range pacedPriorities() {
		group.Go(func() (err error) {
			time.Sleep(time.Until(m.from))
			m.paced[i], err = openLoop(ctx, s.address, pacedConns, pacedRate, m.until.Sub(m.from), singleBody("null", int(p)))
			return err
		})
	}
	return group.Wait()
}

func (m *mixed) judge(r *report, s *subject) error {
	seen, doubles, err := s.arrivals()
	if err != nil {
		return err
	}
	r.Doubles = doubles
	for i, p := range pacedPriorities() {
		m.lane(r, p.Lane(), m.paced[i], seen)
	}
	m.lane(r, core.LaneLow, expand(m.flood), seen)
	for _, lane := range r.Parts {
		r.Rate += lane.Rate
	}
	r.Aims = append(r.Aims, atMost("urgent, end to end p99", r.Parts[0].P99, 1000, "ms"))
	return nil
}

// lane adds a part. Its rate counts what came while all lanes were loaded.
func (m *mixed) lane(r *report, l core.Lane, samples []sample, seen map[int64]time.Time) {
	within := 0
	for _, x := range samples {
		switch at, ok := seen[x.record]; {
		case !ok:
			r.Lost++
		case at.After(m.from) && at.Before(m.until):
			within++
		}
	}
	lane := sent(l.String(), samples, seen)
	lane.Rate = float64(within) / m.until.Sub(m.from).Seconds()
	r.Parts = append(r.Parts, lane)
}

// expand lists the messages of batches.
func expand(batches []sentBatch) []sample {
	var samples []sample
	for _, b := range batches {
		for n := range int64(b.Accepted) {
			samples = append(samples, sample{record: b.BatchID + 1 + n, due: b.due, done: b.done})
		}
	}
	return samples
}
