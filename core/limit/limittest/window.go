package limittest

import (
	"errors"
	"time"

	"github.com/pigeonry/pigeonry/core/limit"
)

// passage is when events passed: at some moment between before and after.
type passage struct {
	before, after time.Time
	n             int
}

// neverMore fails if some span of the window surely held more than max events.
func (b bench) neverMore(rule limit.Rule, passages []passage) {
	b.Helper()
	sum, first := 0, 0
	for _, last := range passages {
		sum += last.n
		for ; float64(sum) > rule.Max; first++ {
			if last.after.Sub(passages[first].before) < rule.Window {
				b.Fatalf("more than %v events within %v", rule.Max, last.after.Sub(passages[first].before))
			}
			sum -= passages[first].n
		}
	}
}

// press asks again and again for a time, for one to most events, with pauses of a few lengths, and returns
// what passed.
func (b bench) press(rule limit.Rule, lasting time.Duration, pause time.Duration, most int) []passage {
	b.Helper()
	var passages []passage
	begin := time.Now()
	for i := 0; time.Since(begin) < lasting; i++ {
		n := 1 + i%most
		before := time.Now()
		if b.allow(ask(rule, "k", n)).Allowed {
			passages = append(passages, passage{before, time.Now(), n})
		}
		pass(pause + time.Duration(i%7)*pause/3)
	}
	return passages
}

func total(passages []passage) (sum int) {
	for _, p := range passages {
		sum += p.n
	}
	return sum
}

// span is the window of a test: long in a bubble, bearable on a real clock.
func (b bench) span() time.Duration {
	if b.RealClock {
		return 500 * time.Millisecond
	}
	return time.Minute
}

func windowExact(b bench) {
	rule := sliding("r", 10, b.span())
	passages := b.press(rule, 6*rule.Window, rule.Window/100, 3)
	b.neverMore(rule, passages)
	b.between("events in six windows", total(passages), 5*rule.Max, 7*rule.Max)
}

func windowLarge(b bench) {
	rule := sliding("r", 1000, b.span())
	passages := b.press(rule, 4*rule.Window, rule.Window/1000, 50)
	b.neverMore(rule, passages)
	b.between("events in four windows", total(passages), 3*rule.Max, 4*rule.Max)
}

func windowRetryAfter(b bench) {
	rule := sliding("r", 4, b.span())
	before := time.Now()
	b.passes(ask(rule, "k", 2))
	pass(rule.Window / 2)
	b.passes(ask(rule, "k", 2))
	d := b.refused(0, ask(rule, "k", 2))
	if d.RetryAfter <= 0 || d.RetryAfter > rule.Window*51/100 {
		b.Errorf("RetryAfter = %v, want half of %v", d.RetryAfter, rule.Window)
	}
	if n := b.retry(ask(rule, "k", 2)); n > 2 {
		b.Errorf("refused %d times although asked when it was worth it", n)
	}
	if gap := time.Since(before); gap < rule.Window {
		b.Errorf("the fifth event passed %v after the first", gap)
	}
}

func windowNewMax(b bench) {
	b.passes(ask(sliding("r", 500, time.Hour), "k", 100))
	b.refused(0, ask(sliding("r", 50, time.Hour), "k", 1))
	b.passes(ask(sliding("r", 101, time.Hour), "k", 1))
	b.refused(0, ask(sliding("r", 101, time.Hour), "k", 1))
	b.passes(ask(sliding("r", 300, time.Hour), "k", 198))
}

func moreThanEver(b bench) {
	for _, rule := range []limit.Rule{qps("r", 5), sliding("r", 5, time.Hour), concurrent("r", 5), qps("r", 0.1)} {
		d, err := b.limiter.Allow(b.Context(), ask(qps("other", 1), "k", 1), ask(rule, "k", 6))
		if !errors.Is(err, limit.ErrNever) || d.Allowed || d.Refused != 1 || d.RetryAfter != 0 || d.Release == nil {
			b.Errorf("6 events of %s %v: %+v, %v; want a refusal and ErrNever", rule.Type, rule.Max, d, err)
		}
	}
	b.passes(ask(qps("other", 1), "k", 1)) // nothing was counted
	b.passes(ask(qps("r", 5), "k", 5))
}
