package redis

import (
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/core/limit"
)

// call is the script's arguments for the requests of one Allow.
type call struct {
	name     string
	requests []limit.Request
	keys     []string
	args     []any
}

// endless stands for a Max without bound, which the script cannot count with.
const endless = 1e15

func (l *Limiter) newCall(requests []limit.Request) call {
	c := call{
		name:     l.name + "." + strconv.FormatUint(l.calls.Add(1), 36),
		requests: requests,
		keys:     make([]string, len(requests)),
		args:     make([]any, 2, 2+4*len(requests)),
	}
	c.args[0], c.args[1] = c.name, l.lease.Microseconds()
	for i := range requests {
		r := &requests[i]
		c.keys[i] = l.key(r)
		c.args = append(c.args, kindOf(r), min(max(r.Rule.Max, 0), endless), r.N, windowOf(r).Microseconds())
	}
	return c
}

// kindOf is the script's name for a type.
func kindOf(r *limit.Request) string {
	switch r.Rule.Type {
	case limit.QPS:
		return "q"
	case limit.SlidingWindow:
		return "w"
	default:
		return "c"
	}
}

// windowOf is at least what the script can tell apart, and 0 where there is no window.
func windowOf(r *limit.Request) time.Duration {
	if r.Rule.Type != limit.SlidingWindow {
		return 0
	}
	return max(r.Rule.Window, time.Microsecond)
}

// key names a counter. The length of the resource keeps "a" with key "b:c" apart from "a:b" with key "c".
// A rule's Max is not part of it, so that a new Max meets what was counted.
func (l *Limiter) key(r *limit.Request) string {
	b := make([]byte, 0, 64)
	b = append(append(b, l.prefix...), "limit:"...)
	b = append(b, kindOf(r)...)
	if w := windowOf(r); w > 0 {
		b = strconv.AppendInt(b, w.Microseconds(), 10)
	}
	b = strconv.AppendInt(append(b, ':'), int64(len(r.Rule.Resource)), 10)
	b = append(append(b, ':'), r.Rule.Resource...)
	return string(append(append(b, ':'), r.Key...))
}

// places is what one request holds of a counter.
type places struct {
	key     string
	members []any
}

// places are what the call holds if it passed. The script gives them the same names.
func (c *call) places() []places {
	var held []places
	for i := range c.requests {
		r := &c.requests[i]
		if r.Rule.Type != limit.Concurrent {
			continue
		}
		p := places{key: c.keys[i], members: make([]any, r.N)}
		for n := range p.members {
			p.members[n] = c.name + "." + strconv.Itoa(i+1) + "." + strconv.Itoa(n+1)
		}
		held = append(held, p)
	}
	return held
}
