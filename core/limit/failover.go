package limit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

const (
	// DefaultTimeout is how long a Failover waits for the shared limiter.
	DefaultTimeout = 100 * time.Millisecond
	// DefaultPause is how long a Failover leaves a shared limiter alone that has failed.
	DefaultPause = time.Second
)

// FailoverOptions are what a Failover works with.
type FailoverOptions struct {
	Shared    Limiter         // counts for all gateways; heeds the deadline of its context
	Local     Limiter         // counts for this one
	Instances func() int      // gateways that share what is divided, as last known
	Divided   func(Rule) bool // without the shared limiter each gateway keeps a share of these; nil: of all
	Timeout   time.Duration   // of a question to the shared limiter; 0: DefaultTimeout
	Pause     time.Duration   // between two tries of a shared limiter that is gone; 0: DefaultPause
	Logger    *slog.Logger    // hears once of each change; nil: slog.Default
}

// Failover is a Limiter that goes on when the shared one is gone. Then each gateway limits by itself: what
// is divided to its share of each Max, so that together they let about as much pass as before, and the rest
// to the whole Max, so that more may pass but nothing is refused that was not before. What was counted does
// not move from one limiter to the other: a change may let a burst pass again.
//
// A share never refuses forever what the whole rule lets pass. When more is asked for at once than the
// share of a rate, it passes and the rate is made up for afterwards. When more is asked for at once than
// the share of places or of a window, the share is as much as is asked for.
type Failover struct {
	o     FailoverOptions
	start time.Time

	mu     sync.Mutex
	outage error         // why the shared limiter is gone; nil: it is there
	next   time.Duration // after start, when to try the shared limiter again
}

var _ Limiter = (*Failover)(nil)

// NewFailover makes a Failover that trusts the shared limiter to be there.
func NewFailover(o FailoverOptions) *Failover {
	o.Timeout = cmp.Or(max(o.Timeout, 0), DefaultTimeout)
	o.Pause = cmp.Or(max(o.Pause, 0), DefaultPause)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Divided == nil {
		o.Divided = func(Rule) bool { return true }
	}
	return &Failover{o: o, start: time.Now()}
}

// Degraded says whether the shared limiter is gone and each gateway limits by itself.
func (f *Failover) Degraded() bool { return f.lastOutage() != nil }

func (f *Failover) lastOutage() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.outage
}

// Check asks as any request does, so that an outage is noticed, and its end, although nobody asks for limits. The error
// is why the shared limiter cannot be asked.
func (f *Failover) Check(ctx context.Context) error {
	_, err := f.Allow(ctx, Probe()...)
	return cmp.Or(f.lastOutage(), err)
}

// Allow asks the shared limiter, or the local one while the shared one is gone. The error is ErrNever,
// ctx's, says what is wrong with a request, or is the local limiter's.
func (f *Failover) Allow(ctx context.Context, requests ...Request) (Decision, error) {
	if err := ctx.Err(); err != nil {
		return Undecided(), fmt.Errorf("ask for limits: %w", err)
	}
	for i := range requests {
		if err := requests[i].Validate(); err != nil { // no fault of the shared limiter
			return Undecided(), err
		}
	}
	shared, probe := f.turn()
	if !shared {
		return f.alone(ctx, requests)
	}
	d, err := f.ask(ctx, requests)
	switch {
	case err == nil || errors.Is(err, ErrNever):
		if probe {
			f.found()
		}
		return d, err
	case ctx.Err() != nil: // the caller's time ran out, which says nothing of the shared limiter
		return d, err
	}
	f.lost(err)
	return f.alone(ctx, requests)
}

// turn says whether to ask the shared limiter, and whether this is the try of one that is gone. There is
// one such try in each pause, so that no other request waits for it.
func (f *Failover) turn() (shared, probe bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.outage == nil {
		return true, false
	}
	now := time.Since(f.start)
	if now < f.next {
		return false, false
	}
	f.next = now + f.o.Pause
	return true, true
}

func (f *Failover) ask(ctx context.Context, requests []Request) (Decision, error) {
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	return f.o.Shared.Allow(ctx, requests...)
}

// found ends an outage.
func (f *Failover) found() {
	f.mu.Lock()
	changed := f.outage != nil
	f.outage = nil
	f.mu.Unlock()
	if changed {
		f.o.Logger.Info("limits: the shared limiter answers again")
	}
}

// lost begins an outage, or prolongs it.
func (f *Failover) lost(err error) {
	f.mu.Lock()
	changed := f.outage == nil
	f.outage = err
	f.next = time.Since(f.start) + f.o.Pause
	f.mu.Unlock()
	if changed {
		f.o.Logger.Warn("limits: the shared limiter does not answer; each gateway limits by itself",
			"instances", f.instances(), "error", err)
	}
}

func (f *Failover) instances() int { return max(1, f.o.Instances()) }

// alone asks the local limiter, for this gateway's share of what is divided.
func (f *Failover) alone(ctx context.Context, requests []Request) (Decision, error) {
	instances := float64(f.instances())
	shares := slices.Clone(requests)
	for i := range shares {
		if f.o.Divided(shares[i].Rule) {
			shares[i] = shares[i].share(instances)
		}
	}
	return f.o.Local.Allow(ctx, shares...)
}

// share is the request under the rule of one of several instances.
func (r *Request) share(instances float64) Request {
	s, n := *r, float64(r.N)
	s.Rule.Max /= instances
	switch {
	case n > r.most():
		return *r // ErrNever, as under the whole rule
	case n <= s.most():
		return s
	case r.Rule.Type == QPS:
		// One event that weighs n: it takes the time that n events take at the share of the rate.
		s.Rule.Max /= n
		s.N = 1
	default:
		s.Rule.Max = n
	}
	return s
}

// most is how many events may pass at once under the request's rule.
func (r *Request) most() float64 {
	if r.Rule.Type == QPS && r.Rule.Max > 0 {
		return max(1, r.Rule.Max)
	}
	return r.Rule.Max
}
