// Package redis counts limits in Redis, for all gateways that share it.
//
// All requests of a call are decided by one script in one round trip, on the clock of Redis, so that the
// clocks of the gateways do not matter. Rates follow the generic cell rate algorithm and are exact. A
// sliding window is exact while its Max is up to 128, and beyond that never lets more than Max pass in any
// span of Window, at the price that an event may count for up to 1/128 of Window too long. A concurrent
// place that is not released lapses after DefaultLease, or the lease of Options. Counters expire when they
// have nothing to remember, and with Redis all of them may be lost: then a little more passes.
//
// A script works on the keys of several limits, so this is one Redis and no cluster.
//
// A limiter also counts the gateways that are alive and not idle, so that each knows its share of a limit
// while Redis is gone. It owns one goroutine, which does this and gives back places that could not be given back in
// time.
package redis

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pigeonry/pigeonry/core/limit"
)

const (
	// DefaultPrefix begins the names of all keys.
	DefaultPrefix = "pigeonry:"
	// DefaultLease is how long a concurrent place lasts that is not released.
	DefaultLease = time.Minute
	// DefaultBeat is how often an instance says that it is alive.
	DefaultBeat = 3 * time.Second
)

const (
	// patience is how long Release waits for Redis. The place lapses or is given back later anyway.
	patience = 250 * time.Millisecond
	// backgroundPatience is how long the limiter's own goroutine waits for Redis.
	backgroundPatience = time.Second
)

// maxPlaces is how many places one request may ask for: each is an element in Redis.
const maxPlaces = 10_000

// Options of a limiter.
type Options struct {
	Prefix string        // of all keys; empty: DefaultPrefix
	Lease  time.Duration // of a concurrent place; 0: DefaultLease
	Beat   time.Duration // between two signs of life; an instance counts for three of them; 0: DefaultBeat
	Idle   bool          // asks for no limits that are divided: hears how many instances there are and is none of them
	Logger *slog.Logger  // hears when the number of instances changes; nil: slog.Default
}

// Limiter is a limit.Limiter. Several goroutines may use it.
type Limiter struct {
	client *goredis.Client
	allow  *goredis.Script
	beat   *goredis.Script
	logger *slog.Logger
	prefix string
	name   string // of this instance
	idle   bool
	lease  time.Duration
	pause  time.Duration // between two beats

	calls     atomic.Uint64
	instances atomic.Int64
	owed      debts
	close     func()
}

var _ limit.Limiter = (*Limiter)(nil)

// New makes a limiter on a client, which it does not close. The client must have ContextTimeoutEnabled, or
// a Redis that hangs makes callers wait for longer than their contexts. Redis need not be there yet.
func New(client *goredis.Client, o Options) *Limiter {
	l := &Limiter{
		client: client,
		allow:  goredis.NewScript(allowScript),
		beat:   goredis.NewScript(beatScript),
		logger: cmp.Or(o.Logger, slog.Default()),
		prefix: cmp.Or(o.Prefix, DefaultPrefix),
		name:   strconv.FormatUint(rand.Uint64(), 36),
		idle:   o.Idle,
		lease:  cmp.Or(max(o.Lease, 0), DefaultLease),
		pause:  cmp.Or(max(o.Beat, 0), DefaultBeat),
	}
	l.instances.Store(1)
	closing, ended := make(chan struct{}), make(chan struct{})
	l.close = sync.OnceFunc(func() {
		close(closing)
		<-ended
		l.leave()
	})
	go func() {
		defer close(ended)
		l.live(closing)
	}()
	return l
}

// Allow asks Redis once. The error is ErrNever, ctx's, says what is wrong with a request, or why Redis did
// not answer.
func (l *Limiter) Allow(ctx context.Context, requests ...limit.Request) (limit.Decision, error) {
	if err := ctx.Err(); err != nil {
		return limit.Undecided(), fmt.Errorf("ask for limits: %w", err)
	}
	for i := range requests {
		if err := requests[i].Validate(); err != nil {
			return limit.Undecided(), err
		}
		if requests[i].Rule.Type == limit.Concurrent && requests[i].N > maxPlaces {
			return limit.Refuse(i, &requests[i], limit.Never)
		}
	}
	if len(requests) == 0 {
		return limit.Passed(), nil
	}
	return l.ask(ctx, requests)
}

func (l *Limiter) ask(ctx context.Context, requests []limit.Request) (limit.Decision, error) {
	c := l.newCall(requests)
	reply, err := l.allow.Run(ctx, l.client, c.keys, c.args...).Int64Slice()
	if err == nil && len(reply) != 2 {
		err = fmt.Errorf("the answer has %d parts, want 2", len(reply))
	}
	if err != nil {
		l.owed.add(c.places()) // Redis may have counted without our hearing of it
		return limit.Undecided(), fmt.Errorf("ask Redis for limits: %w", err)
	}
	if i := int(reply[0]) - 1; i >= 0 {
		return limit.Refuse(i, &requests[i], waitOf(reply[1]))
	}
	d := limit.Passed()
	if held := c.places(); len(held) > 0 {
		d.Release = sync.OnceFunc(func() { l.release(held) })
	}
	return d, nil
}

// waitOf reads a wait of the script.
func waitOf(microseconds int64) time.Duration {
	if microseconds < 0 || microseconds > int64(limit.Never/time.Microsecond) {
		return limit.Never
	}
	return time.Duration(microseconds) * time.Microsecond
}

// Check has Redis count something, as it does for any limit. One that answers may still refuse that: a
// replica, a node of a cluster, or to a user without the rights.
func (l *Limiter) Check(ctx context.Context) error {
	_, err := l.Allow(ctx, limit.Probe()...)
	return err
}

// Close ends the limiter's goroutine and takes the instance out of the count. Places that are held can
// still be released.
func (l *Limiter) Close() { l.close() }
