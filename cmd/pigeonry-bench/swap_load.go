package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// traffic is what was accepted of a load, and what was not.
type traffic struct {
	singles  []sample
	batches  []sentBatch
	failures failures
	took     time.Duration
}

func (t *traffic) messages() int {
	n := len(t.singles)
	for _, b := range t.batches {
		n += b.Accepted
	}
	return n
}

// failures counts requests that got no good answer.
type failures struct {
	mu    sync.Mutex
	count int
	first error
}

func (f *failures) note(err error) {
	if err == nil {
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.count++; f.first == nil {
		f.first = err
	}
}

// loadUntil sends messages at a rate until it is told to end.
func loadUntil(ctx context.Context, address string, rate float64, body []byte, done <-chan struct{}) *traffic {
	t := &traffic{}
	began := time.Now()
	var mu sync.Mutex
	var load sync.WaitGroup
	load.Go(func() {
		single := singleBody("null", 5)
		p := pace{address: address, conns: openConns, rate: min(singleRate, rate), done: done}
		p.calls(ctx, &t.failures, func(c *client, due time.Time) error {
			var answer send
			if err := c.post(ctx, "/api/messages/send", single, &answer); err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			t.singles = append(t.singles, sample{answer.RecordID, due, time.Now()})
			return nil
		})
	})
	load.Go(func() {
		p := pace{address: address, conns: openConns, rate: (rate - singleRate) / smallBatch, done: done}
		p.calls(ctx, &t.failures, func(c *client, due time.Time) error {
			b := sentBatch{due: due}
			if err := c.post(ctx, "/api/messages/send-batch", body, &b); err != nil {
				return err
			}
			b.done = time.Now()
			mu.Lock()
			defer mu.Unlock()
			t.batches = append(t.batches, b)
			return nil
		})
	})
	load.Wait()
	t.took = time.Since(began)
	return t
}

// pace is how calls are made: call i is due at i/rate, whatever became of those before it, until it is told to end.
type pace struct {
	address string
	conns   int
	rate    float64
	done    <-chan struct{}
}

// calls makes the calls. One that fails is counted.
func (p pace) calls(ctx context.Context, f *failures, call func(c *client, due time.Time) error) {
	if p.rate <= 0 {
		return
	}
	began := time.Now()
	var next atomic.Int64
	var work sync.WaitGroup
	for range p.conns {
		work.Go(func() {
			c := &client{address: p.address}
			defer c.close()
			for {
				due := began.Add(time.Duration(float64(next.Add(1)-1) / p.rate * float64(time.Second)))
				if !sleepUntil(ctx, due, p.done) {
					return
				}
				f.note(call(c, due))
			}
		})
	}
	work.Wait()
}

// sleepUntil says whether the time has come before the end has.
func sleepUntil(ctx context.Context, due time.Time, done <-chan struct{}) bool {
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-done:
	case <-ctx.Done():
	}
	select {
	case <-done:
		return false
	default:
		return ctx.Err() == nil
	}
}
