package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"
)

const (
	// swapRounds is into how many rounds a run is divided, each a quiet time and as long a time with its part of the
	// swaps: a machine that is faster at one time than at another says nothing about the swaps.
	swapRounds = 5
	// singleRate is how many of the messages are sent one by one: those whose acceptance is timed. The others come
	// in batches of smallBatch.
	singleRate = 500
	smallBatch = 100
	// swapEvery is the time from the begin of a swap to that of the next, if the one before has ended by then.
	swapEvery = time.Second
	// swapPoll is how often a rollout is looked at: often enough to time it, and seldom enough to cost nothing beside it.
	swapPoll = 20 * time.Millisecond
	// swapPatience is how long a swap may take until the run is given up.
	swapPatience = 40 * time.Second
)

// swapFigures are those of a run in which versions change places.
type swapFigures struct {
	Swaps     int     `json:"swaps"`
	SwapP50   float64 `json:"swap_p50_ms"` // from the request to the promotion
	SwapP99   float64 `json:"swap_p99_ms"`
	APIErrors int     `json:"api_errors"` // of all requests: sends, batches, rollouts
}

// measureSwap loads a channel evenly, by turns quietly and while two versions of its plugin change places.
func measureSwap(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, setup{connectors: []connector{{channel: "null"}}, versions: []string{"0.1.0", "0.2.0"}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	r = report{What: "swap", Engines: o.engines, LatencyRate: min(singleRate, o.rate), Limits: raw}
	w := &swapRun{subject: s, rate: o.rate}
	began := time.Now()
	if err := w.run(ctx, o); err != nil {
		return r, err
	}
	r.Seconds, r.Messages = time.Since(began).Seconds(), w.messages()
	r.RSS, r.RSSWithPlugins = s.rss()
	return r, r.judgeSwap(w)
}

// swapRun is a load with what came of it.
type swapRun struct {
	*subject
	rate         float64
	warm         *traffic
	quiet, under []*traffic // of each round
	swaps        []time.Duration
	failures     failures // of requests about rollouts
}

func (w *swapRun) run(ctx context.Context, o options) (err error) {
	if w.warm, err = w.during(ctx, pauseFor(ctx, o.duration/10)); err != nil {
		return err
	}
	for round := range swapRounds {
		swaps := o.swaps*(round+1)/swapRounds - o.swaps*round/swapRounds
		quiet, err := w.during(ctx, pauseFor(ctx, time.Duration(swaps)*swapEvery))
		if err != nil {
			return err
		}
		under, err := w.during(ctx, func() error { return w.swapTimes(ctx, swaps) })
		if err != nil {
			return err
		}
		w.quiet, w.under = append(w.quiet, quiet), append(w.under, under)
	}
	return nil
}

func (w *swapRun) messages() int {
	n := 0
	for _, t := range slices.Concat([]*traffic{w.warm}, w.quiet, w.under) {
		n += t.messages()
	}
	return n
}

func pauseFor(ctx context.Context, d time.Duration) func() error {
	return func() error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// during loads the gateway for as long as f takes, and waits until all has arrived.
func (w *swapRun) during(ctx context.Context, f func() error) (*traffic, error) {
	body, err := batchBody("null", smallBatch, 5)
	if err != nil {
		return nil, err
	}
	before := w.received()
	done, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(done)
		ended <- f()
	}()
	t := loadUntil(ctx, w.address, w.rate, body, done)
	if err := <-ended; err != nil {
		return t, fmt.Errorf("%w\n%s", err, w.logTail())
	}
	return t, w.awaitReceived(ctx, before+t.messages())
}

// swapTimes has the versions change places so many times.
func (w *swapRun) swapTimes(ctx context.Context, times int) error {
	c := &client{address: w.address}
	defer c.close()
	active := ""
	w.await(ctx, func() (over bool, err error) {
		active, _, err = places(ctx, c)
		return active != "", err
	})
	for range times {
		next := time.Now().Add(swapEvery)
		to := "0.1.0"
		if active == to {
			to = "0.2.0"
		}
		if err := w.swap(ctx, c, to); err != nil {
			return err
		}
		if err := pauseFor(ctx, time.Until(next))(); err != nil {
			return err
		}
		active = to
	}
	return nil
}

// swap gives a version everything and waits until the other one has nothing left to take. The time counts until the
// promotion.
func (w *swapRun) swap(ctx context.Context, c *client, to string) error {
	began := time.Now()
	body, err := json.Marshal(map[string]string{"version": to, "strategy": "immediate"})
	if err != nil {
		return err
	}
	var begun struct{ ID int64 }
	w.await(ctx, func() (bool, error) {
		err := c.post(ctx, "/api/plugins/null/rollouts", body, &begun)
		return err == nil, err
	})
	var detail struct {
		Rollout struct{ State, Reason string }
	}
	w.await(ctx, func() (bool, error) {
		err := c.get(ctx, fmt.Sprintf("/api/plugins/null/rollouts/%d", begun.ID), &detail)
		return detail.Rollout.State == "promoted" || detail.Rollout.State == "rolled_back", err
	})
	if detail.Rollout.State != "promoted" {
		return fmt.Errorf("the rollout of version %s is %q after %s: %s", to, detail.Rollout.State, time.Since(began), detail.Rollout.Reason)
	}
	w.swaps = append(w.swaps, time.Since(began))
	w.await(ctx, func() (bool, error) {
		active, others, err := places(ctx, c)
		return active == to && others == 0, err
	})
	return ctx.Err()
}

// await asks until it is so, or for too long. An error is counted, and asked again.
func (w *swapRun) await(ctx context.Context, holds func() (bool, error)) {
	ctx, cancel := context.WithTimeout(ctx, swapPatience)
	defer cancel()
	tick := time.NewTicker(swapPoll)
	defer tick.Stop()
	for {
		ok, err := holds()
		w.failures.note(err)
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// places tells which version of the null plugin carries messages, and how many others could.
func places(ctx context.Context, c *client) (active string, others int, err error) {
	var list struct {
		Items []struct {
			Name, Active string
			Generations  []struct{ Version, State string }
		}
	}
	if err := c.get(ctx, "/api/plugins", &list); err != nil {
		return "", 0, err
	}
	for _, p := range list.Items {
		if p.Name != "null" {
			continue
		}
		active = p.Active
		for _, g := range p.Generations {
			if g.Version != p.Active && slices.Contains([]string{"starting", "ready", "canary", "active"}, g.State) {
				others++
			}
		}
	}
	return active, others, nil
}

func (r *report) judgeSwap(w *swapRun) error {
	var all []sample
	failed, first := w.failures.count, w.failures.first
	for _, t := range slices.Concat([]*traffic{w.warm}, w.quiet, w.under) {
		all = append(append(all, t.singles...), expand(t.batches)...)
		failed += t.failures.count
		if first == nil {
			first = t.failures.first
		}
	}
	if first != nil {
		fmt.Fprintln(os.Stderr, "the first of the API errors:", first)
	}
	quiet, under := singlesOf(w.quiet), singlesOf(w.under)
	if err := r.judge(w.subject, all, slices.Concat(under...)); err != nil {
		return err
	}
	seen, _, err := w.arrivals()
	if err != nil {
		return err
	}
	r.swapFigures = &swapFigures{
		Swaps: len(w.swaps), SwapP50: quantile(w.swaps, 0.5), SwapP99: quantile(w.swaps, 0.99), APIErrors: failed,
	}
	r.Parts = []part{w.part("single sends, quiet", w.quiet, seen), w.part("single sends, under swaps", w.under, seen)}
	r.Rate = r.Parts[1].Rate
	ratios := make([]float64, len(under))
	for i := range under {
		ratios[i] = acceptP99(under[i]) / max(acceptP99(quiet[i]), 0.001)
	}
	r.Aims = []aim{
		atLeast("messages under swaps, by those asked for", r.Rate/w.rate, 0.95, ""),
		atMost("a swap, p99", r.SwapP99, 1000, "ms"),
		atMost("accept p99 under swaps, by quiet", median(ratios), 1.2, ""),
		atMost("API errors", float64(failed), 0, ""),
		atMost("lost", float64(r.Lost), 0, ""),
		atMost("doubles", float64(r.Doubles), 0, ""),
	}
	return nil
}

// singlesOf lists the single sends of each round.
func singlesOf(rounds []*traffic) [][]sample {
	singles := make([][]sample, len(rounds))
	for i, t := range rounds {
		singles[i] = t.singles
	}
	return singles
}

// part tells of the single sends of all rounds, with the accept p99 of the round in the middle and the rate of all
// messages.
func (w *swapRun) part(name string, rounds []*traffic, seen map[int64]time.Time) part {
	singles := singlesOf(rounds)
	p := sent(name, slices.Concat(singles...), seen)
	each := make([]float64, len(rounds))
	messages, took := 0, time.Duration(0)
	for i, t := range rounds {
		each[i] = acceptP99(t.singles)
		messages += t.messages()
		took += t.took
	}
	p.Accepted, p.Rate = median(each), float64(messages)/took.Seconds()
	return p
}

// installVersions puts copies of the built null plugin into a folder, each with other bytes than the others: a version
// of a plugin never means the bytes of another one.
func installVersions(folder, bin string, versions []string) error {
	if len(versions) == 0 {
		return nil
	}
	executable, err := nullPlugin(bin)
	if err != nil {
		return err
	}
	program, err := os.ReadFile(executable)
	if err != nil {
		return err
	}
	for _, v := range versions {
		home := filepath.Join(folder, "null", v)
		if err := os.MkdirAll(home, 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(home, "null"), append(slices.Clone(program), v...), 0o700); err != nil { //nolint:gosec // it is executed
			return err
		}
	}
	return nil
}
