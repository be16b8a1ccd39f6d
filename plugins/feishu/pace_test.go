package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// No stretch of time has more messages than the provider allows, however they come, and nobody waits for nothing.
func TestPacerKeepsTheRates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer([]window{{second, 20}, {minute, 300}}, []window{{second, 5}})
		var mu sync.Mutex
		var all []time.Time
		byKey := map[string][]time.Time{}
		dice := rand.New(rand.NewPCG(1, 2))
		var waiting sync.WaitGroup
		for i := range 900 {
			key := string(rune('a' + dice.IntN(1+i%9)))
			waiting.Go(func() {
				if err := p.wait(context.Background(), key, time.Time{}); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				all = append(all, time.Now())
				byKey[key] = append(byKey[key], time.Now())
			})
			if i%50 == 0 {
				<-time.After(time.Duration(dice.IntN(3000)) * time.Millisecond)
			}
		}
		begin := time.Now()
		waiting.Wait()
		within(t, "all in a second", all, time.Second, 20)
		within(t, "all in a minute", all, time.Minute, 300)
		for key, times := range byKey {
			within(t, key, times, time.Second, 5)
		}
		if took := time.Since(begin); took > 3*minute {
			t.Errorf("900 messages at 300 a minute took %s", took)
		}
	})
}

// within fails if more than limit of the times lie within a span.
func within(t *testing.T, what string, times []time.Time, span time.Duration, limit int) {
	t.Helper()
	slices.SortFunc(times, time.Time.Compare)
	for i := limit; i < len(times); i++ {
		if gap := times[i].Sub(times[i-limit]); gap < span {
			t.Errorf("%s: %d within %s", what, limit+1, gap)
			return
		}
	}
}

// Custom bots: five at once, then one after the other; what cannot go before its deadline is throttled and takes nobody's turn.
func TestPacerThrottles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(nil, []window{{second, 5}, {minute, 100}})
		go1 := func(d time.Duration) (time.Duration, error) {
			begin := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			err := p.wait(ctx, "bot", time.Time{})
			return time.Since(begin), err
		}
		for i := range 5 {
			if took, err := go1(500 * time.Millisecond); took != 0 || err != nil {
				t.Fatalf("message %d: %s, %v", i, took, err)
			}
		}
		took, err := go1(2 * time.Second)
		if told(err) != "throttled throttled  provider 1.1s" || took != 0 {
			t.Errorf("too little time: %s, %s", took, told(err))
		}
		if took, err := go1(3 * time.Second); took != second || err != nil {
			t.Errorf("enough time: %s, %v", took, err)
		}
		// Another bot is not held up.
		if err := p.wait(t.Context(), "other", time.Time{}); err != nil || p.byKey["other"].turns[0] != time.Now() {
			t.Errorf("another bot: %v", err)
		}
		// The time after which the message must not be sent counts as well.
		for range 4 {
			_, _ = go1(time.Minute)
		}
		err = p.wait(t.Context(), "bot", time.Now().Add(time.Second))
		if told(err) != "throttled throttled  provider 1.1s" {
			t.Errorf("not_after: %s", told(err))
		}
	})
}

// A provider that asks to slow down is obeyed: by a recipient, or by all.
func TestPacerPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer([]window{{second, 50}}, []window{{second, 5}})
		p.pause("a", 3*time.Second)
		p.pause("a", time.Second) // does not shorten the pause
		begin := time.Now()
		if err := p.wait(t.Context(), "b", time.Time{}); err != nil || time.Since(begin) != 0 {
			t.Errorf("b: %v after %s", err, time.Since(begin))
		}
		if err := p.wait(t.Context(), "a", time.Time{}); err != nil || time.Since(begin) != 3*time.Second {
			t.Errorf("a: %v after %s", err, time.Since(begin))
		}
		p.pause("", 2*time.Second)
		if err := p.wait(t.Context(), "b", time.Time{}); err != nil || time.Since(begin) != 5*time.Second {
			t.Errorf("b: %v after %s", err, time.Since(begin))
		}
	})
}

// A call that ends while its message waits has sent nothing. Recipients are forgotten after a while.
func TestPacerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(nil, []window{{second, 1}})
		if err := p.wait(t.Context(), "a", time.Time{}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(100*time.Millisecond, cancel)
		if err := p.wait(ctx, "a", time.Time{}); told(err) != "retryable not_started  provider" {
			t.Errorf("got %s", told(err))
		}
		<-time.After(2 * forgetAfter)
		if err := p.wait(t.Context(), "b", time.Time{}); err != nil || len(p.byKey) != 1 {
			t.Errorf("%v, %d recipients", err, len(p.byKey))
		}
	})
}
