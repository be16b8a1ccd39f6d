package local

import (
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
			return limit.Refuse(i, r, time.Duration(wait))
		}
		if t.place != nil {
			places++
		}
		grants = append(grants, grant{c, t})
	}
	d := limit.Passed()
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
