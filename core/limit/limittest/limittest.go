// Package limittest is what every technology of package limit must pass. It sees a limiter through the
// port alone and takes neither its counters nor its clock to be in this process.
package limittest

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core/limit"
)

// Suite is a technology and what it differs in.
type Suite struct {
	// Open makes a limiter that has counted nothing. Tests on a real clock run at the same time, so each
	// needs counters of its own.
	Open func(t *testing.T) limit.Limiter
	// Peer opens a second limiter on the same counters, as a further gateway would; nil where counters
	// belong to one process.
	Peer func(t *testing.T, l limit.Limiter) limit.Limiter
	// Lease is how long a place lasts that is not released; 0 skips the test of it.
	Lease time.Duration
	// RealClock says that the limiter cannot live in a synctest bubble, because it talks over sockets. The
	// tests then take real seconds.
	RealClock bool
}

// Run runs the suite.
func Run(t *testing.T, s Suite) {
	t.Helper()
	tests := []struct {
		name string
		run  func(bench)
	}{
		{"a rate lets a burst of one second pass", rateBurst},
		{"a rate is exact", rateExact},
		{"a slow rate lets one event pass at a time", rateSlow},
		{"a refused rate says when to ask again", rateRetryAfter},
		{"a rate takes a new max at once", rateNewMax},
		{"keys and resources count for themselves", apart},
		{"places are held until released", placesHeld},
		{"a place is released once", placesReleasedOnce},
		{"places take a new max at once", placesNewMax},
		{"many callers never hold more places than there are", placesCrowd},
		{"a place lapses after its lease", placesLapse},
		{"a window never lets more than max pass in any span", windowExact},
		{"a large window neither", windowLarge},
		{"a refused window says when to ask again", windowRetryAfter},
		{"a window takes a new max at once", windowNewMax},
		{"all requests pass or none", allOrNone},
		{"requests of a call add up", addUp},
		{"a max of zero lets nothing pass", nothing},
		{"more than ever fits is told apart", moreThanEver},
		{"what means nothing is an error", meaningless},
		{"an ended context counts nothing", endedContext},
		{"no request is allowed", noRequest},
		{"two gateways count together", peers},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			run := func(t *testing.T) {
				t.Helper()
				test.run(bench{T: t, Suite: s, limiter: s.Open(t)})
			}
			if s.RealClock {
				t.Parallel()
				run(t)
			} else {
				synctest.Test(t, run)
			}
		})
	}
}

// bench is what a test works with.
type bench struct {
	*testing.T
	Suite
	limiter limit.Limiter
}

func qps(limiting string, rate float64) limit.Rule {
	return limit.Rule{Resource: limiting, Type: limit.QPS, Max: rate}
}

func concurrent(limiting string, places float64) limit.Rule {
	return limit.Rule{Resource: limiting, Type: limit.Concurrent, Max: places}
}

func sliding(limiting string, events float64, window time.Duration) limit.Rule {
	return limit.Rule{Resource: limiting, Type: limit.SlidingWindow, Max: events, Window: window}
}

func ask(rule limit.Rule, key string, n int) limit.Request {
	return limit.Request{Rule: rule, Key: key, N: n}
}

// allow asks and fails on an error.
func (b bench) allow(requests ...limit.Request) limit.Decision {
	b.Helper()
	d, err := b.limiter.Allow(b.Context(), requests...)
	if err != nil {
		b.Fatalf("Allow: %v", err)
	}
	if d.Release == nil || d.Allowed != (d.Refused < 0) || d.Allowed && d.RetryAfter != 0 {
		b.Fatalf("Allow: a decision that contradicts itself: %+v", d)
	}
	return d
}

// passes fails unless all requests pass.
func (b bench) passes(requests ...limit.Request) limit.Decision {
	b.Helper()
	d := b.allow(requests...)
	if !d.Allowed {
		b.Fatalf("request %d was refused, to be asked again after %v", d.Refused, d.RetryAfter)
	}
	return d
}

// refused fails unless the request at index is what refuses the call.
func (b bench) refused(index int, requests ...limit.Request) limit.Decision {
	b.Helper()
	d := b.allow(requests...)
	if d.Allowed || d.Refused != index {
		b.Fatalf("refused request %d, want %d", d.Refused, index)
	}
	return d
}

// count asks for single events until one is refused, and returns how many passed.
func (b bench) count(rule limit.Rule, key string, most int) int {
	b.Helper()
	for n := range most {
		if !b.allow(ask(rule, key, 1)).Allowed {
			return n
		}
	}
	return most
}

// between fails unless low ≤ got ≤ high.
func (b bench) between(what string, got int, low, high float64) {
	b.Helper()
	if float64(got) < low || float64(got) > high {
		b.Errorf("%s: %d, want %.1f to %.1f", what, got, low, high)
	}
}

// retry asks again as RetryAfter says until the request passes, and returns how often it was refused.
func (b bench) retry(r limit.Request) int {
	b.Helper()
	for refusals := range 10 {
		d := b.allow(r)
		if d.Allowed {
			return refusals
		}
		if d.RetryAfter <= 0 {
			b.Fatal("refused without a time to ask again")
		}
		pass(d.RetryAfter)
	}
	b.Fatal("refused ten times although asked when it was worth it")
	return 0
}

func meaningless(b bench) {
	for name, r := range map[string]limit.Request{
		"no event":        ask(qps("r", 1), "k", 0),
		"fewer than none": ask(qps("r", 1), "k", -1),
		"no type":         {Rule: limit.Rule{Resource: "r", Max: 1}, Key: "k", N: 1},
		"no window":       ask(sliding("r", 1, 0), "k", 1),
	} {
		d, err := b.limiter.Allow(b.Context(), ask(qps("other", 1), "k", 1), r)
		if err == nil || errors.Is(err, limit.ErrNever) || d.Allowed || d.Release == nil {
			b.Errorf("%s: %+v, %v; want an error", name, d, err)
		}
	}
	b.passes(ask(qps("other", 1), "k", 1)) // nothing was counted
}

func endedContext(b bench) {
	ctx, cancel := context.WithCancel(b.Context())
	cancel()
	d, err := b.limiter.Allow(ctx, ask(qps("r", 1), "k", 1))
	if !errors.Is(err, context.Canceled) || d.Allowed || d.Release == nil {
		b.Errorf("Allow = %+v, %v; want context.Canceled", d, err)
	}
	b.passes(ask(qps("r", 1), "k", 1))
}

func noRequest(b bench) { b.passes().Release() }

// pass lets time go by: the bubble's, or real time where the limiter lives outside one.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // time itself is what the test needs
}
