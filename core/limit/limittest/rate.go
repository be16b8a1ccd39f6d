package limittest

import (
	"time"

	"github.com/pigeonry/pigeonry/core/limit"
)

func rateBurst(b bench) {
	rule := qps("r", 50)
	begin := time.Now()
	got := b.count(rule, "k", 1000)
	b.between("events at once", got, 50, 50+50*time.Since(begin).Seconds()+1)
}

// rateExact asks for more than passes, in single events and in handfuls, and compares what passed with
// what had to pass in the time.
func rateExact(b bench) {
	const rate = 200
	seconds := 30 * time.Second
	if b.RealClock {
		seconds = 3 * time.Second
	}
	rule := qps("r", rate)
	before := time.Now()
	b.count(rule, "k", 10*rate) // the burst
	after := time.Now()
	passed := 0
	for time.Since(after) < seconds {
		n := 1 + passed%5
		d := b.allow(ask(rule, "k", n))
		if d.Allowed {
			passed += n
		} else {
			pass(d.RetryAfter)
		}
	}
	most := rate*time.Since(before).Seconds() + 1
	b.between("events in the time", passed, 0.99*rate*seconds.Seconds(), 1.01*most)
}

func rateSlow(b bench) {
	rule := qps("r", 0.5)
	if b.RealClock {
		rule.Max = 0.8
	}
	before := time.Now()
	b.passes(ask(rule, "k", 1))
	b.refused(0, ask(rule, "k", 1))
	b.retry(ask(rule, "k", 1))
	if gap, want := time.Since(before), time.Duration(float64(time.Second)/rule.Max); gap < want-want/100 {
		b.Errorf("the second event passed after %v, want %v", gap, want)
	}
}

func rateRetryAfter(b bench) {
	rule := qps("r", 10)
	b.passes(ask(rule, "k", 10))
	d := b.refused(0, ask(rule, "k", 5))
	if d.RetryAfter <= 0 || d.RetryAfter > 501*time.Millisecond {
		b.Errorf("RetryAfter = %v, want 500ms", d.RetryAfter)
	}
	if n := b.retry(ask(rule, "k", 5)); n > 2 {
		b.Errorf("refused %d times although asked when it was worth it", n)
	}
}

func rateNewMax(b bench) {
	slow, fast := qps("r", 1), qps("r", 1000)
	b.passes(ask(slow, "k", 1))
	b.refused(0, ask(slow, "k", 1))
	pass(50 * time.Millisecond)
	if n := b.count(fast, "k", 2000); n < 49 {
		b.Errorf("%d events passed 50ms after the max went from 1 to 1000", n)
	}
	b.passes(ask(fast, "other", 1))
	if n := b.count(slow, "other", 100); n > 1 {
		b.Errorf("%d events passed at once after the max went from 1000 to 1", n)
	}
	glacial := qps("r", 0.001) // a thousand seconds an event, which must not be waited for any more
	b.passes(ask(glacial, "third", 1))
	b.refused(0, ask(glacial, "third", 1))
	if d := b.allow(ask(fast, "third", 1)); d.RetryAfter > time.Second {
		b.Errorf("a fast rate is to be asked again after %v", d.RetryAfter)
	}
	b.retry(ask(fast, "third", 1))
}

func apart(b bench) {
	rule := qps("r", 1)
	b.passes(ask(rule, "k", 1))
	b.refused(0, ask(rule, "k", 1))
	b.passes(ask(rule, "other", 1))
	b.passes(ask(rule, "", 1))
	b.passes(ask(qps("r2", 1), "k", 1))
	b.passes(ask(sliding("r", 1, time.Minute), "k", 1)) // another type
	b.passes(ask(sliding("r", 1, time.Hour), "k", 1))   // another window
	b.passes(ask(concurrent("r", 1), "k", 1)).Release()
	b.passes(ask(qps("r2", 1), "k:x", 1)) // keys may hold any character
	b.passes(ask(qps("r2:k", 1), "x", 1))
}

// allOrNone puts an exhausted limit of each type after ample ones, which must then have counted nothing.
func allOrNone(b bench) {
	rate, window, places := qps("rate", 10), sliding("window", 10, time.Hour), concurrent("places", 10)
	ample := []limit.Request{ask(rate, "ample", 10), ask(window, "ample", 10), ask(places, "ample", 10)}
	full := []limit.Request{ask(rate, "full", 10), ask(window, "full", 10), ask(places, "full", 10)}
	defer b.passes(full...).Release()
	for i := range full {
		for at := range len(ample) + 1 {
			call := append(append(append([]limit.Request{}, ample[:at]...), full[i]), ample[at:]...)
			b.refused(at, call...).Release()
		}
	}
	b.passes(ample...).Release()
}

func addUp(b bench) {
	for _, rule := range []limit.Rule{qps("r", 3), sliding("r", 3, time.Hour), concurrent("r", 3)} {
		two := ask(rule, "k", 2)
		b.refused(1, two, two)
		d := b.passes(ask(rule, "k", 1), two)
		b.refused(0, two)
		d.Release()
	}
}

func nothing(b bench) {
	for _, most := range []float64{0, -1} {
		for _, rule := range []limit.Rule{qps("r", most), sliding("r", most, time.Hour), concurrent("r", most)} {
			if d := b.refused(0, ask(rule, "k", 1)); d.RetryAfter != 0 {
				b.Errorf("%s with max %v: ask again after %v, want never", rule.Type, most, d.RetryAfter)
			}
		}
	}
}

func peers(b bench) {
	if b.Peer == nil {
		b.Skip("counters belong to one process")
	}
	other := b
	other.limiter = b.Peer(b.T, b.limiter)
	for _, rule := range []limit.Rule{qps("r", 1), sliding("r", 1, time.Hour)} {
		b.passes(ask(rule, "k", 1))
		other.refused(0, ask(rule, "k", 1))
	}
	held := b.passes(ask(concurrent("r", 1), "k", 1))
	other.refused(0, ask(concurrent("r", 1), "k", 1))
	held.Release()
	other.passes(ask(concurrent("r", 1), "k", 1)).Release()
}
