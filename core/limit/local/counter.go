package local

import (
	"math"

	"github.com/pigeonry/pigeonry/core/limit"
)

// counter counts the events of one key. Times are nanoseconds since the limiter's start.
type counter interface {
	// take counts n events, or returns how long to wait, which may be never, and counts nothing.
	take(now int64, limit float64, n int) (t taken, wait int64)
	// giveBack undoes a take.
	giveBack(t taken)
	// idleAt is when the counter will have nothing to remember.
	idleAt() int64
}

// taken is what giveBack needs of a take.
type taken struct {
	n     int
	time  float64 // of a rate
	place *place  // of places
}

// never is a wait that has no end.
const never = int64(limit.Never)

// rate counts by the generic cell rate algorithm (ITU-T I.371): each event takes 1/limit of a second, and
// the events may be ahead of time by one second's worth, or one event's.
type rate struct {
	busyUntil float64 // the time that the events so far have taken
}

const (
	second = 1e9
	// longest is the time of an event at the smallest rate that makes a difference: 31 years.
	longest = 1e18
	// rounding is how much of a nanosecond's fraction is forgiven.
	rounding = 1
)

func (r *rate) take(now int64, limit float64, n int) (taken, int64) {
	if limit <= 0 {
		return taken{}, never
	}
	each := min(second/limit, longest)
	ahead := max(each, second)
	cost := float64(n) * each
	if cost > ahead+rounding {
		return taken{}, never
	}
	at := float64(now)
	// Under a smaller limit events may have taken more time than the present one allows to be ahead.
	r.busyUntil = min(r.busyUntil, at+ahead)
	from := max(r.busyUntil, at)
	if wait := from + cost - ahead - at; wait > rounding {
		return taken{}, int64(math.Ceil(wait))
	}
	r.busyUntil = from + cost
	return taken{time: cost}, 0
}

func (r *rate) giveBack(t taken) { r.busyUntil -= t.time }

func (r *rate) idleAt() int64 { return int64(math.Ceil(r.busyUntil)) }

// window counts the events of the last span.
type window struct {
	span    int64
	total   int
	entries []entry // oldest first
}

// entry is events that leave the window together.
type entry struct {
	last int64 // when the last of them happened, or a little later
	n    int
}

// grains is how many parts a span is divided in, and up to how many events a span is counted exactly.
const grains = 128

func (w *window) take(now int64, limit float64, n int) (taken, int64) {
	w.expire(now)
	if float64(n) > limit {
		return taken{}, never
	}
	if over := float64(w.total+n) - limit; over > 0 {
		return taken{}, w.leave(over) - now
	}
	w.add(now, limit > grains, n)
	return taken{n: n}, 0
}

// expire forgets what is older than the span.
func (w *window) expire(now int64) {
	gone := 0
	for ; gone < len(w.entries) && w.entries[gone].last+w.span <= now; gone++ {
		w.total -= w.entries[gone].n
	}
	w.entries = w.entries[gone:]
}

// leave is when at least so many events will have left the window.
func (w *window) leave(over float64) int64 {
	for _, e := range w.entries {
		if over -= float64(e.n); over <= 0 {
			return e.last + w.span
		}
	}
	return never // cannot be: there are no more events than that
}

// add counts events now. Coarsely, all events of a grain count as if they happened at its end.
func (w *window) add(now int64, coarse bool, n int) {
	at := now
	if coarse {
		grain := max(w.span/grains, 1)
		at = (now/grain + 1) * grain
	}
	w.total += n
	last := len(w.entries) - 1
	if last >= 0 && w.entries[last].last >= at { // later only if the limit was coarse before
		w.entries[last].n += n
		return
	}
	w.entries = append(w.entries, entry{at, n})
}

// giveBack undoes the latest take, which has added to the last entry.
func (w *window) giveBack(t taken) {
	last := len(w.entries) - 1
	w.total -= t.n
	w.entries[last].n -= t.n
	if w.entries[last].n == 0 {
		w.entries = w.entries[:last]
	}
}

func (w *window) idleAt() int64 {
	if len(w.entries) == 0 {
		return 0
	}
	return w.entries[len(w.entries)-1].last + w.span
}
