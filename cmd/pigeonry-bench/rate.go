package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

const (
	// agreed is how many messages a second the provider takes.
	agreed = 50
	// leastRate is what the gateway has to make of it.
	leastRate = 48
)

// measureRate gives a connector of 50 a second a backlog for the duration. Its provider refuses what comes above that
// within any second, wherever the second begins.
func measureRate(ctx context.Context, o options) (r report, err error) {
	raw, s, err := prepare(ctx, o, setup{connectors: []connector{
		{channel: "null", settings: fmt.Sprintf("rate = %d", agreed), config: fmt.Sprintf("strict = %d", agreed)},
	}})
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	const warm = agreed / 2 // what a gateway does for the first time takes long, and comes to the provider bunched
	if _, err := queueMessages(ctx, s, warm, 5); err != nil {
		return r, err
	}
	if err := s.awaitReceived(ctx, warm); err != nil {
		return r, err
	}
	select { // until the provider's second is over
	case <-time.After(time.Second):
	case <-ctx.Done():
		return r, ctx.Err()
	}
	began := time.Now()
	batches, err := queueMessages(ctx, s, int(agreed*o.duration.Seconds()), 5)
	if err != nil {
		return r, err
	}
	total := 0
	for _, b := range batches {
		total += b.Accepted
	}
	if err := s.awaitReceived(ctx, warm+total); err != nil {
		return r, err
	}
	r = report{What: "rate", Engines: o.engines, Seconds: time.Since(began).Seconds(), Messages: total, Limits: raw}
	r.RSS, r.RSSWithPlugins = s.rss()
	if err := r.judgeBatches(s, batches, began); err != nil {
		return r, err
	}
	return r, r.judgeRate(s, warm)
}

// queueMessages sends so many messages in batches, one after the other.
func queueMessages(ctx context.Context, s *subject, n, priority int) (batches []sentBatch, err error) {
	c := &client{address: s.address}
	defer c.close()
	var body []byte
	for last := 0; n > 0; {
		if size := min(n, batchSize); size != last { // mostly the same
			if body, err = batchBody("null", size, priority); err != nil {
				return nil, err
			}
			last = size
		}
		b := sentBatch{due: time.Now()}
		if err := c.post(ctx, "/api/messages/send-batch", body, &b); err != nil {
			return nil, err
		}
		b.done = time.Now()
		batches = append(batches, b)
		n -= b.Accepted
	}
	return batches, ctx.Err()
}

// judgeRate looks at what the provider saw after the messages that warmed the gateway.
func (r *report) judgeRate(s *subject, warm int) error {
	entries, err := s.readLedger()
	if err != nil {
		return err
	}
	times := make([]time.Time, len(entries))
	for i, e := range entries {
		times[i] = e.at
	}
	slices.SortFunc(times, time.Time.Compare)
	times = times[warm:]
	r.PerSecond = perSecond(times)
	if len(r.PerSecond) == 0 {
		return errors.New("the run was too short: give -duration 3s or more")
	}
	whole := 0
	for _, n := range r.PerSecond {
		whole += n
	}
	r.Rate = float64(whole) / float64(len(r.PerSecond))
	r.Aims = []aim{
		atLeast("in a whole second, mean", r.Rate, leastRate, "/s"),
		atMost("in a whole second, most", float64(slices.Max(r.PerSecond)), agreed, "/s"),
		atMost("in any second, most", float64(mostWithin(times, time.Second)), agreed, "/s"),
		atMost("refused by the provider", float64(countEntries(s.ledger+".refused")), 0, ""),
	}
	return nil
}

// perSecond counts times, which are in order, in each whole second from the first on.
func perSecond(times []time.Time) []int {
	if len(times) == 0 {
		return nil
	}
	counts := make([]int, int(times[len(times)-1].Sub(times[0])/time.Second))
	for _, t := range times {
		if second := int(t.Sub(times[0]) / time.Second); second < len(counts) {
			counts[second]++
		}
	}
	return counts
}

// mostWithin is the largest number of times, which are in order, in any span so long.
func mostWithin(times []time.Time, span time.Duration) int {
	most, from := 0, 0
	for i, t := range times {
		for t.Sub(times[from]) >= span {
			from++
		}
		most = max(most, i-from+1)
	}
	return most
}
