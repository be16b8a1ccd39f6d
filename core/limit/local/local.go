// Package local counts limits in the memory of one process. Another process counts for itself.
//
// Rates follow the generic cell rate algorithm and are exact. A sliding window is exact for up to 128
// events, and beyond that never lets more than Max pass in any span of Window, at the price that an event
// may count for up to 1/128 of Window too long. A concurrent place that is not released lapses after
// DefaultLease, or the lease of Options.
//
// Counters live in 64 shards. A counter with nothing to remember is forgotten as others come, and when
// there are Options.Counters of them, one that would soon be forgotten makes room for a new one. The
// package starts no goroutine.
package local

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"math/bits"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core/limit"
)

// DefaultLease is how long a concurrent place lasts that is not released.
const DefaultLease = time.Minute

// DefaultCounters is how many counters are kept at most by default; each takes about 250 bytes, a
// sliding window up to 4 KB.
const DefaultCounters = 1 << 19

// Options of a limiter.
type Options struct {
	Lease    time.Duration // of a concurrent place; 0: DefaultLease
	Counters int           // that are kept at most; 0: DefaultCounters
}

// shardCount is the number of bits of a shardSet.
const shardCount = 64

// Limiter is a limit.Limiter. Several goroutines may use it.
type Limiter struct {
	lease  int64 // ns
	start  time.Time
	seed   maphash.Seed
	shards [shardCount]shard
}

var _ limit.Limiter = (*Limiter)(nil)

// New makes a limiter that has counted nothing.
func New(o Options) *Limiter {
	l := &Limiter{
		lease: int64(cmp.Or(max(o.Lease, 0), DefaultLease)),
		start: time.Now(),
		seed:  maphash.MakeSeed(),
	}
	bound := cmp.Or(max(o.Counters, 0), DefaultCounters)
	for i := range l.shards {
		l.shards[i].bound = max(1, bound/shardCount)
		l.shards[i].counters = map[key]counter{}
	}
	return l
}

// key tells counters apart. A rule's Max is not part of it, so that a new Max meets what was counted.
type key struct {
	resource string
	kind     limit.Type
	window   time.Duration
	value    string
}

func keyOf(r *limit.Request) key {
	k := key{resource: r.Rule.Resource, kind: r.Rule.Type, value: r.Key}
	if k.kind == limit.SlidingWindow {
		k.window = r.Rule.Window
	}
	return k
}

// Allow decides at once; ctx matters only if it has ended before. The error is ErrNever, ctx's, or says
// what is wrong with a request.
func (l *Limiter) Allow(ctx context.Context, requests ...limit.Request) (limit.Decision, error) {
	if err := ctx.Err(); err != nil {
		return limit.Undecided(), fmt.Errorf("ask for limits: %w", err)
	}
	var shards shardSet
	for i := range requests {
		if err := requests[i].Validate(); err != nil {
			return limit.Undecided(), err
		}
		shards.add(l.shardOf(keyOf(&requests[i])))
	}
	l.lock(shards)
	defer l.unlock(shards)
	return l.decide(requests)
}

// shardSet has a bit for each shard.
type shardSet uint64

func (s *shardSet) add(shard int) { *s |= 1 << shard }

// lock locks shards, lowest first, so that no two calls wait for each other.
func (l *Limiter) lock(s shardSet) {
	for ; s != 0; s &= s - 1 {
		l.shards[bits.TrailingZeros64(uint64(s))].mu.Lock()
	}
}

func (l *Limiter) unlock(s shardSet) {
	for ; s != 0; s &= s - 1 {
		l.shards[bits.TrailingZeros64(uint64(s))].mu.Unlock()
	}
}

func (l *Limiter) shardOf(k key) int { return int(maphash.Comparable(l.seed, k) % shardCount) }

// counter finds the counter of a key, or begins it. Its shard is locked.
func (l *Limiter) counter(k key, now int64) counter {
	s := &l.shards[l.shardOf(k)]
	if c := s.counters[k]; c != nil {
		return c
	}
	s.makeRoom(now)
	// The strings may be parts of something large.
	k.resource, k.value = strings.Clone(k.resource), strings.Clone(k.value)
	c := l.newCounter(k)
	s.counters[k] = c
	return c
}

func (l *Limiter) newCounter(k key) counter {
	switch k.kind {
	case limit.QPS:
		return &rate{}
	case limit.Concurrent:
		return &places{lease: l.lease}
	default:
		return &window{span: k.window.Nanoseconds()}
	}
}
