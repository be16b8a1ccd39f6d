package limit

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxWindow is the longest window of a sliding window.
const MaxWindow = 366 * 24 * time.Hour

// Never is the wait that Refuse takes for a request that waiting does not help.
const Never time.Duration = math.MaxInt64

// Validate says what is wrong with a request that means nothing.
func (r *Request) Validate() error {
	if err := r.fault(); err != nil {
		return fmt.Errorf("ask for limit %q: %w", r.Rule.Resource, err)
	}
	return nil
}

func (r *Request) fault() error {
	if r.N < 1 {
		return fmt.Errorf("n is %d, not at least 1", r.N)
	}
	if math.IsNaN(r.Rule.Max) {
		return errors.New("max is not a number")
	}
	switch r.Rule.Type {
	case QPS, Concurrent:
		return nil
	case SlidingWindow:
		if r.Rule.Window <= 0 || r.Rule.Window > MaxWindow {
			return fmt.Errorf("window is %v, not above 0 and up to %v", r.Rule.Window, MaxWindow)
		}
		return nil
	default:
		return fmt.Errorf("type %q is not known; use %s, %s or %s", r.Rule.Type, QPS, Concurrent, SlidingWindow)
	}
}

// Probe asks for an event of a rate and of a window without bound: whatever answers it can count. It takes no places, which
// would have to be given back; and a Redis that is full does not say so to a script that first clears places that lapsed.
func Probe() []Request {
	rate := Rule{Resource: "probe", Type: QPS, By: Global, Max: math.Inf(1)}
	window := rate
	window.Type, window.Window = SlidingWindow, time.Second
	return []Request{{Rule: rate, N: 1}, {Rule: window, N: 1}}
}

// Undecided is the decision that comes with an error other than ErrNever.
func Undecided() Decision { return Decision{Refused: -1, Release: func() {}} }

// Passed is the decision for requests that all pass and hold no places.
func Passed() Decision { return Decision{Allowed: true, Refused: -1, Release: func() {}} }

// Refuse is the decision against the request at i of a call. A wait of Never comes with ErrNever, unless
// there is nothing that the caller could do better.
func Refuse(i int, r *Request, wait time.Duration) (Decision, error) {
	d := Decision{Refused: i, Release: func() {}}
	if wait != Never {
		d.RetryAfter = wait
		return d, nil
	}
	if r.N == 1 || r.Rule.Max <= 0 {
		return d, nil
	}
	return d, fmt.Errorf("ask for %d events of limit %q with a max of %v: %w", r.N, r.Rule.Resource, r.Rule.Max, ErrNever)
}
