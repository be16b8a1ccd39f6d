package local

import (
	"fmt"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core/limit"
)

// decide counts one request after the other, and takes all back when one is refused. The shards are
// locked.
func (l *Limiter) decide(requests []limit.Request) (limit.Decision, error) {
	now := time.Since(l.start).Nanoseconds()
	var buf [4]grant
	grants := buf[:0]
	places := 0
	for i := range requests {
		r := &requests[i]
		c := l.counter(keyOf(r), now)
		t, wait := c.take(now, r.Rule.Max, r.N)
		if wait > 0 {
			for _, g := range grants {
				g.counter.giveBack(g.taken)
			}
			return refusal(i, r, wait)
		}
		if t.place != nil {
			places++
		}
		grants = append(grants, grant{c, t})
	}
	d := limit.Decision{Allowed: true, Refused: -1, Release: func() {}}
	if places > 0 {
		d.Release = l.release(requests, grants)
	}
	return d, nil
}

// grant is what one request of a call has taken.
type grant struct {
	counter counter
	taken   taken
}

// refusal is the decision against the request at i.
func refusal(i int, r *limit.Request, wait int64) (limit.Decision, error) {
	d := limit.Decision{Refused: i, Release: func() {}}
	if wait != never {
		d.RetryAfter = time.Duration(wait)
		return d, nil
	}
	if r.N == 1 || r.Rule.Max <= 0 { // there is nothing that the caller could do better
		return d, nil
	}
	return d, fmt.Errorf("ask for %d events of limit %q with a max of %v: %w", r.N, r.Rule.Resource, r.Rule.Max, limit.ErrNever)
}

// release makes the function that gives concurrent places back.
func (l *Limiter) release(requests []limit.Request, grants []grant) func() {
	var held []grant
	var shards shardSet
	for i, g := range grants {
		if g.taken.place != nil {
			held = append(held, g)
			shards.add(l.shardOf(keyOf(&requests[i])))
		}
	}
	return sync.OnceFunc(func() {
		l.lock(shards)
		defer l.unlock(shards)
		for _, g := range held {
			g.counter.giveBack(g.taken)
		}
	})
}
