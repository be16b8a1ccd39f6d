package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
)

const (
	batchSize   = 10_000
	openConns   = 256 // of an open loop: more than it has requests open
	warmUp      = time.Second
	batchesOpen = 3 // batches sent and not yet at the plugin, at most, besides those being sent
)

// measureSingle finds the most single sends that are accepted and delivered, then the latency at half of it, or at the
// rate asked for.
func measureSingle(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, plain(""))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	first, err := closedLoop(ctx, s.address, o.callers, warmUp)
	if err != nil {
		return r, err
	}
	warm := len(first)
	began := time.Now()
	full, err := closedLoop(ctx, s.address, o.callers, o.duration/2)
	if err != nil {
		return r, err
	}
	acceptRate := float64(len(full)) / time.Since(began).Seconds()
	if err := s.awaitReceived(ctx, warm+len(full)); err != nil {
		return r, err
	}
	rate := float64(len(full)) / time.Since(began).Seconds()
	calm := o.latency
	if calm == 0 {
		calm = rate / 2
	}
	half, err := openLoop(ctx, s.address, openConns, calm, warmUp+o.duration/2, singleBody("null", 5))
	if err != nil {
		return r, err
	}
	if err := s.awaitReceived(ctx, warm+len(full)+len(half)); err != nil {
		return r, err
	}
	r = report{
		What: "single", Engines: o.engines, Seconds: o.duration.Seconds(), Messages: len(full) + len(half), Callers: o.callers,
		Rate: rate, AcceptRate: acceptRate, LatencyRate: calm, Limits: raw,
	}
	r.RSS, r.RSSWithPlugins = s.rss()
	return r, r.judge(s, append(full, half...), warmed(half))
}

// warmed returns what was due when the connections were open.
func warmed(samples []sample) []sample {
	if len(samples) == 0 {
		return nil
	}
	byDue := func(a, b sample) int { return a.due.Compare(b.due) }
	began := slices.MinFunc(samples, byDue).due.Add(warmUp)
	return slices.DeleteFunc(slices.Clone(samples), func(s sample) bool { return s.due.Before(began) })
}

// judge compares what was accepted with what the plugin got, and takes latencies from the samples given.
func (r *report) judge(s *subject, accepted, timed []sample) error {
	seen, doubles, err := s.arrivals()
	if err != nil {
		return err
	}
	r.Doubles += doubles
	for _, a := range accepted {
		if _, ok := seen[a.record]; !ok {
			r.Lost++
		}
	}
	accept, endToEnd := make([]time.Duration, 0, len(timed)), make([]time.Duration, 0, len(timed))
	for _, t := range timed {
		accept = append(accept, t.done.Sub(t.due))
		if at, ok := seen[t.record]; ok {
			endToEnd = append(endToEnd, at.Sub(t.due))
		}
	}
	r.AcceptP50, r.AcceptP99 = quantile(accept, 0.5), quantile(accept, 0.99)
	r.EndToEndP50, r.EndToEndP99 = quantile(endToEnd, 0.5), quantile(endToEnd, 0.99)
	return nil
}

// sentBatch is one answered batch. Its messages have the ids that follow the batch's own.
type sentBatch struct {
	BatchID  int64 `json:"batch_id"`
	Accepted int   `json:"accepted"`

	due, done time.Time
}

// measureBatch sends batches for a while and counts what reaches the plugin.
func measureBatch(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, plain(""))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	body, err := batchBody("null", batchSize, 5)
	if err != nil {
		return r, err
	}
	began := time.Now()
	batches, err := sendBatches(ctx, s, body, batchesOpen, func(int) bool {
		return time.Since(began) < o.duration
	})
	if err != nil {
		return r, err
	}
	total := len(batches) * batchSize
	if err := s.awaitReceived(ctx, total); err != nil {
		return r, err
	}
	r = report{What: "batch", Engines: o.engines, Seconds: time.Since(began).Seconds(), Messages: total, Limits: raw}
	r.RSS, r.RSSWithPlugins = s.rss()
	return r, r.judgeBatches(s, batches, began)
}

func (r *report) judgeBatches(s *subject, batches []sentBatch, began time.Time) error {
	seen, doubles, err := s.arrivals()
	if err != nil {
		return err
	}
	r.Doubles += doubles
	last := began
	for _, at := range seen {
		if at.After(last) {
			last = at
		}
	}
	var accept, endToEnd []time.Duration
	for _, b := range batches {
		accept = append(accept, b.done.Sub(b.due))
		for id := b.BatchID + 1; id <= b.BatchID+int64(b.Accepted); id++ {
			at, ok := seen[id]
			if !ok {
				r.Lost++
				continue
			}
			endToEnd = append(endToEnd, at.Sub(b.due))
		}
	}
	r.Rate = float64(len(seen)) / last.Sub(began).Seconds()
	r.AcceptP50, r.AcceptP99 = quantile(accept, 0.5), quantile(accept, 0.99)
	r.EndToEndP50, r.EndToEndP99 = quantile(endToEnd, 0.5), quantile(endToEnd, 0.99)
	return nil
}

// sendBatches sends batches on two connections while more says so, never further ahead of the plugin than so many.
func sendBatches(ctx context.Context, s *subject, body []byte, ahead int, more func(sent int) bool) ([]sentBatch, error) {
	var mu sync.Mutex
	var batches []sentBatch
	sent := 0
	next := func() bool {
		for ctx.Err() == nil {
			mu.Lock()
			if !more(sent) {
				mu.Unlock()
				return false
			}
			if sent-s.received()/batchSize < ahead {
				sent++
				mu.Unlock()
				return true
			}
			mu.Unlock()
			time.Sleep(5 * time.Millisecond)
		}
		return false
	}
	_, err := connections(s.address, 2, func(c *client, _ func(sample)) error {
		for next() {
			b := sentBatch{due: time.Now()}
			if err := c.post(ctx, "/api/messages/send-batch", body, &b); err != nil {
				return err
			}
			b.done = time.Now()
			mu.Lock()
			batches = append(batches, b)
			mu.Unlock()
		}
		return nil
	})
	return batches, err
}

// batchBody is a batch of n messages.
func batchBody(channel string, n, priority int) ([]byte, error) {
	type request struct {
		Channel    string              `json:"channel"`
		Content    string              `json:"content"`
		Priority   int                 `json:"priority"`
		Recipients []string            `json:"recipients"`
		Variables  []map[string]string `json:"variables_list"`
	}
	r := request{Channel: channel, Priority: priority, Content: "Dear {{name}}, your coupon {{code}} is good for 20 % until the end of the month."}
	for i := range n {
		r.Recipients = append(r.Recipients, "recipient-"+strconv.Itoa(i))
		r.Variables = append(r.Variables, map[string]string{"name": "Customer " + strconv.Itoa(i), "code": fmt.Sprintf("P%07d", i)})
	}
	return json.Marshal(r)
}

// measureRest sends one message at a time to an idle gateway. Its end to end times count from the answer.
func measureRest(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, plain(""))
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	c := &client{address: s.address}
	defer c.close()
	body := singleBody("null", 5)
	var samples []sample
	for end := time.Now().Add(o.duration); time.Now().Before(end) && ctx.Err() == nil; {
		due := time.Now()
		var answer send
		if err := c.post(ctx, "/api/messages/send", body, &answer); err != nil {
			return r, err
		}
		samples = append(samples, sample{answer.RecordID, due, time.Now()})
		if err := s.awaitReceived(ctx, len(samples)); err != nil {
			return r, err
		}
		time.Sleep(50 * time.Millisecond) // the gateway comes to rest
	}
	r = report{What: "rest", Engines: o.engines, Seconds: o.duration.Seconds(), Messages: len(samples), Limits: raw}
	r.RSS, r.RSSWithPlugins = s.rss()
	if err := r.judge(s, samples, samples); err != nil {
		return r, err
	}
	return r, r.countFromAnswer(s, samples)
}

// countFromAnswer measures how long after its answer a message was at the plugin; before it counts as 0.
func (r *report) countFromAnswer(s *subject, samples []sample) error {
	at, _, err := s.arrivals()
	if err != nil {
		return err
	}
	after := make([]time.Duration, len(samples))
	for i, x := range samples {
		after[i] = max(0, at[x.record].Sub(x.done))
	}
	r.EndToEndP50, r.EndToEndP99 = quantile(after, 0.5), quantile(after, 0.99)
	return nil
}

// prepare starts the engines, measures the raw limits, then starts the gateway.
func prepare(ctx context.Context, o options, what setup) (map[string]float64, *subject, error) {
	f, err := fleetFor(ctx, o)
	if err != nil {
		return nil, nil, fmt.Errorf("start the engines: %w", err)
	}
	raw, err := rawLimits(ctx, o, f, min(2*time.Second, o.duration/10))
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("measure the raw limits: %w", err), f.stop(o.keep))
	}
	s, err := start(ctx, o, f, what)
	switch {
	case s == nil:
		err = errors.Join(err, f.stop(o.keep))
	case err != nil:
		err = errors.Join(err, s.stop())
	}
	return raw, s, err
}
