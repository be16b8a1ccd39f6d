package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

const (
	defaultBacklog = 1_000_000
	// probe is how many messages the accept rate is measured with, when nothing is queued and when all is.
	probe = 100_000
	// urgentRate is how many urgent messages a second come while the connector works on the backlog.
	urgentRate = 10
	// movingRate is what a connector is set to that has a limit of its own.
	movingRate = 200
)

// measureBacklog queues low messages behind a connector that lets one a second through, then lets it move.
func measureBacklog(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, plain("rate = 1"))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if _, err := queueMessages(ctx, s, batchSize, int(core.MinPriority)); err != nil { // warm up
		return r, err
	}
	began := time.Now()
	messages := cmp.Or(o.messages, defaultBacklog)
	r = report{What: "backlog", Engines: o.engines, Messages: messages, Limits: raw}
	if err := r.fill(ctx, s, messages); err != nil {
		return r, err
	}
	r.Seconds = time.Since(began).Seconds()
	r.RSS, r.RSSWithPlugins = s.rss()
	syscall.Sync() // what is measured next is a backlog, not the disk that still writes it
	return r, r.move(ctx, s, o.duration/2)
}

// fill queues messages. The first and, when all are queued, some more tell what the backlog costs.
func (r *report) fill(ctx context.Context, s *subject, messages int) error {
	few := min(probe, messages)
	empty, err := acceptRate(ctx, s, "accepted while empty", few)
	if err != nil {
		return err
	}
	began := time.Now()
	batches, err := queueMessages(ctx, s, messages-few, int(core.MinPriority))
	if err != nil {
		return err
	}
	filling := float64(messages-few) / time.Since(began).Seconds()
	full, err := acceptRate(ctx, s, fmt.Sprintf("accepted with %s queued", thousands(float64(messages))), few)
	if err != nil {
		return err
	}
	var accept []time.Duration
	for _, b := range batches {
		accept = append(accept, b.done.Sub(b.due))
	}
	r.Parts = []part{empty, full}
	r.AcceptRate = cmp.Or(filling, empty.Rate)
	r.Rate = r.AcceptRate
	r.AcceptP50, r.AcceptP99 = quantile(accept, 0.5), quantile(accept, 0.99)
	r.Aims = []aim{atLeast("accept rate, as a part of that while empty", full.Rate/empty.Rate, 0.9, "")}
	return nil
}

func acceptRate(ctx context.Context, s *subject, name string, n int) (part, error) {
	began := time.Now()
	batches, err := queueMessages(ctx, s, n, int(core.MinPriority))
	p := part{Name: name, Count: n, Rate: float64(n) / time.Since(began).Seconds()}
	accept := make([]time.Duration, len(batches))
	for i, b := range batches {
		accept[i] = b.done.Sub(b.due)
	}
	p.P50, p.P99 = quantile(accept, 0.5), quantile(accept, 0.99)
	return p, err
}

// move lets the connector go, first at a rate, then as fast as it can, while urgent messages come.
func (r *report) move(ctx context.Context, s *subject, d time.Duration) error {
	for _, step := range []struct{ name, settings string }{
		{fmt.Sprintf("urgent, connector at %d a second", movingRate), fmt.Sprintf("rate = %d", movingRate)},
		{"urgent, connector at full speed", ""},
	} {
		if err := s.reload(ctx, plain(step.settings)); err != nil {
			return err
		}
		p, err := urgentBeside(ctx, s, step.name, d)
		if err != nil {
			return err
		}
		r.Parts = append(r.Parts, p)
		r.Aims = append(r.Aims, atMost(step.name+": p99", p.P99, 1000, "ms"))
	}
	return nil
}

// reload gives the gateway other settings and waits until the connector moves by them.
func (s *subject) reload(ctx context.Context, what setup) error {
	if err := s.configure(s, what); err != nil {
		return err
	}
	if err := s.command.Process.Signal(syscall.SIGHUP); err != nil {
		return err
	}
	return s.awaitReceived(ctx, s.received()+10) // at one a second it would take as many seconds
}

// urgentBeside sends urgent messages at a fixed rate and tells when they are at the plugin. The rate is that of all
// messages meanwhile.
func urgentBeside(ctx context.Context, s *subject, name string, d time.Duration) (part, error) {
	began, before := time.Now(), s.received()
	samples, err := openLoop(ctx, s.address, pacedConns, urgentRate, d, singleBody("null", int(core.MaxPriority)))
	if err != nil {
		return part{}, err
	}
	rate := float64(s.received()-before) / time.Since(began).Seconds()
	seen, err := s.awaitSamples(ctx, samples)
	p := sent(name, samples, seen)
	p.Rate = rate
	return p, err
}

// awaitSamples waits until messages are at the plugin, while others come too. What has not come in time counts as
// if it came now.
func (s *subject) awaitSamples(ctx context.Context, samples []sample) (map[int64]time.Time, error) {
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(200 * time.Millisecond) {
		seen, _, err := s.arrivals()
		if err != nil || len(endToEnd(samples, seen)) == len(samples) {
			return seen, err
		}
		if now := time.Now(); now.After(end) || ctx.Err() != nil {
			for _, x := range samples {
				if _, ok := seen[x.record]; !ok {
					seen[x.record] = now
				}
			}
			return seen, ctx.Err()
		}
	}
}
