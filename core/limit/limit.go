// Package limit declares how much of something may happen: a rate, a number at a time, or a number in a
// sliding window, for each value of a dimension. A technology lives in a subfolder and passes limittest.
package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
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

// Dimension is what a limit counts apart: each value of it has a count of its own.
type Dimension string

// The dimensions of limits.
const (
	ByAccount   Dimension = "account"
	ByKey       Dimension = "key" // the API key of a request
	ByIP        Dimension = "ip"  // the address that a request came from
	ByChannel   Dimension = "channel"
	ByRecipient Dimension = "recipient" // of an account and a channel
	ByConnector Dimension = "connector"
	Global      Dimension = "global" // all together
)

// Rule is one limit.
type Rule struct {
	Resource string // what is limited, e.g. "api:/messages/send" or "connector:sms/main"
	Type     Type
	// By says what the Key of a Request is to hold; "" is ByAccount. Technologies tell counters apart by
	// the Key and do not look at it.
	By Dimension
	// Max is how many events may happen in a second, at a time, or in a window. With 0 or less nothing
	// passes. The burst of a QPS below 1 is one event.
	Max    float64
	Window time.Duration // SlidingWindow only
}

// String names the limit for those whom it holds back: "1000 a second by account for api:/messages/send (qps)".
func (r Rule) String() string {
	per := "a second"
	switch r.Type {
	case Concurrent:
		per = "at a time"
	case SlidingWindow:
		per = "in " + r.Window.String()
	case QPS:
	}
	return fmt.Sprintf("%s %s by %s for %s (%s)",
		strconv.FormatFloat(r.Max, 'f', -1, 64), per, cmp.Or(r.By, ByAccount), r.Resource, r.Type)
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
