// Package limit declares how much of something may happen: a rate, a number at a time, or a number in a
// sliding window, for each value of a dimension. A technology lives in a subfolder and passes limittest.
package limit

import (
	"context"
	"errors"
	"time"
)

// ErrNever comes with a refusal of a request for more events at once than its rule ever lets pass: more
// than one second's worth of a rate, or more than Max. Waiting is no use; ask for fewer at a time.
var ErrNever = errors.New("more events at once than the limit ever allows")

// Type is the way a limit counts.
type Type string

// The types of limits.
const (
	QPS           Type = "qps"            // so many a second, smoothed, with a burst of one second's worth
	Concurrent    Type = "concurrent"     // so many at a time
	SlidingWindow Type = "sliding_window" // so many within any span of Window
)

// Rule is one limit.
type Rule struct {
	Resource string // what is limited, e.g. "api:/messages/send" or "connector:sms/main"
	Type     Type
	// Max is how many events may happen in a second, at a time, or in a window. With 0 or less nothing
	// passes. The burst of a QPS below 1 is one event.
	Max    float64
	Window time.Duration // SlidingWindow only
}

// Request asks for n events under a rule, for one value of the rule's dimension: an account, a key, an
// address, a recipient, a connector.
type Request struct {
	Rule Rule
	Key  string
	N    int // at least 1
}

// Decision is the answer to a request for several limits at once.
type Decision struct {
	Allowed    bool
	Refused    int           // index of the first request that was refused; -1 if allowed
	RetryAfter time.Duration // when it may be worth asking again; 0 if allowed, or if it never will be
	// Release gives concurrent places back. It is never nil and may be called more than once.
	Release func()
}

// Limiter decides. All requests of a call pass or none does: what one refuses, no other has counted.
// A concurrent place that is not released lapses after a lease that the technology states.
type Limiter interface {
	// Allow asks for all requests in one round trip. A rule whose Max has changed takes effect at once.
	// A refusal is a decision and no error, except for ErrNever, which comes with the decision. Any other
	// error means that nothing was counted and nothing decided.
	Allow(ctx context.Context, requests ...Request) (Decision, error)
}
