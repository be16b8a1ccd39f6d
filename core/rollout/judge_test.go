package rollout

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pigeonry/pigeonry/core"
)

// figures are so many accepted results of a latency, and what is changed about them.
func figures(accepted int, latency time.Duration, change func(*core.VersionFigures)) core.VersionFigures {
	f := core.VersionFigures{Accepted: accepted, Memory: 100 << 20}
	for range accepted {
		f.Latency.Observe(latency)
	}
	if change != nil {
		change(&f)
	}
	return f
}

func TestJudge(t *testing.T) {
	const usual = 40 * time.Millisecond
	stuck := func(d time.Duration) func(*core.VersionFigures) {
		return func(f *core.VersionFigures) { f.Stalled, f.Stuck = d, 2 }
	}
	single := func(d time.Duration) func(*core.VersionFigures) {
		return func(f *core.VersionFigures) { f.Stalled, f.Stuck = d, 1 }
	}
	count := func(failed, uncertain, disagreed int) func(*core.VersionFigures) {
		return func(f *core.VersionFigures) { f.Failed, f.Uncertain, f.Disagreed = failed, uncertain, disagreed }
	}
	memory := func(mib int64) func(*core.VersionFigures) {
		return func(f *core.VersionFigures) { f.Memory = mib << 20 }
	}
	for _, c := range []struct {
		name       string
		old, fresh core.VersionFigures
		want       string // part of the reason; "": it is fine
	}{
		{"equal", figures(1000, usual, nil), figures(100, usual, nil), ""},
		{"nothing known of either", core.VersionFigures{}, core.VersionFigures{}, ""},

		{"fails always", figures(1000, usual, nil), figures(0, usual, count(100, 0, 0)), "100.0 % (100 of 100) of its results are failed beside 0.0 % (0 of 1000)"},
		{"fails always, one result too few", figures(1000, usual, nil), figures(0, usual, count(99, 0, 0)), ""},
		{"fails as often as the old one", figures(700, usual, count(300, 0, 0)), figures(70, usual, count(30, 0, 0)), ""},
		{"fails a little more, within the gate", figures(9900, usual, count(100, 0, 0)), figures(9750, usual, count(250, 0, 0)), ""},
		{"fails more than the gate lets pass", figures(9900, usual, count(100, 0, 0)), figures(9550, usual, count(450, 0, 0)), "4.5 %"},
		{"fails three times in a hundred, which may be chance", figures(1000, usual, nil), figures(97, usual, count(3, 0, 0)), ""},
		{"the other one accepted what it refused", figures(1000, usual, nil), figures(100, usual, count(0, 0, 50)), "33.3 % (50 of 150)"},
		{"refuses all that the other one accepts", figures(1000, usual, nil), figures(0, usual, count(0, 0, 500)), "100.0 %"},
		{"recipients' own errors and throttling", figures(1000, usual, nil), figures(100, usual, func(f *core.VersionFigures) {
			f.Refused, f.Throttled = 10_000, 10_000
		}), ""},
		{"uncertain", figures(1000, usual, nil), figures(80, usual, count(0, 20, 0)), "20.0 % (20 of 100) of its results are uncertain beside"},

		{"no comparison, fails now and then", core.VersionFigures{}, figures(700, usual, count(300, 0, 0)), ""},
		{"no comparison, fails mostly", core.VersionFigures{}, figures(100, usual, count(900, 0, 0)), "nothing to compare with"},

		{"slower, within the gate", figures(1000, usual, nil), figures(1000, 2*usual, nil), ""},
		{"three times as slow", figures(1000, 400*time.Millisecond, nil), figures(100, 1200*time.Millisecond, nil), "its 99th percentile is"},
		{"three times as slow, of next to nothing", figures(1000, time.Millisecond, nil), figures(1000, 3*time.Millisecond, nil), ""},
		{"a few slow ones", figures(1000, usual, nil), figures(97, usual, func(f *core.VersionFigures) {
			for range 3 {
				f.Accepted++
				f.Latency.Observe(time.Minute)
			}
		}), ""},
		{"one in ten slow", figures(1000, usual, nil), figures(90, usual, func(f *core.VersionFigures) {
			for range 10 {
				f.Accepted++
				f.Latency.Observe(time.Minute)
			}
		}), "its 99th percentile is"},
		{"slow, of an old one without results", figures(10, usual, nil), figures(1000, time.Second, nil), ""},

		{"memory within the gate", figures(0, usual, memory(100)), figures(0, usual, memory(260)), ""},
		{"memory above the gate", figures(0, usual, memory(100)), figures(0, usual, memory(270)), "270 MiB of memory beside 100 MiB"},
		{"memory of little", figures(0, usual, memory(10)), figures(0, usual, memory(80)), ""},
		{"memory of the old one unknown", figures(0, usual, memory(0)), figures(0, usual, memory(1000)), ""},

		{"stalled", figures(100, usual, nil), figures(0, usual, stuck(2100*time.Millisecond)), "without a result for 2.1s"},
		{"not stalled long enough", figures(100, usual, nil), figures(0, usual, stuck(1900*time.Millisecond)), ""},
		{"a single call that takes long", figures(100, usual, nil), figures(0, usual, single(5*time.Second)), ""},
		{"a single call that takes very long", figures(100, usual, nil), figures(0, usual, single(7*time.Second)), "without a result for 7s"},
		{"slow provider", figures(100, 3*time.Second, nil), figures(0, usual, stuck(10*time.Second)), ""},
		{"stalled at a slow provider", figures(100, 3*time.Second, nil), figures(0, usual, stuck(20*time.Second)), "without a result"},
		{"the old one stalls too", figures(100, usual, stuck(1500*time.Millisecond)), figures(0, usual, stuck(2100*time.Millisecond)), ""},
		{"stalled, and nobody knows the provider", figures(3, usual, nil), figures(0, usual, stuck(14*time.Second)), ""},
		{"stalled for long, and nobody knows the provider", figures(3, usual, nil), figures(0, usual, stuck(16*time.Second)), "without a result"},
	} {
		t.Run(c.name, func(t *testing.T) {
			plan := Defaults(core.StrategyCanary)
			got := judge(&plan, &c.old, &c.fresh)
			if (got == "") != (c.want == "") || !strings.Contains(got, c.want) {
				t.Errorf("judged %q, want %q", got, c.want)
			}
		})
	}
}

// provider is how both versions do, by chance.
type provider struct {
	random                    *rand.Rand
	failed, uncertain, spread float64
	latency                   time.Duration
}

func drawProvider(t *rapid.T) provider {
	return provider{
		random:    rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1)),
		failed:    rapid.Float64Range(0, 0.6).Draw(t, "failed"),
		uncertain: rapid.Float64Range(0, 0.1).Draw(t, "uncertain"),
		latency:   time.Duration(rapid.IntRange(1, 2000).Draw(t, "latency")) * time.Millisecond,
		spread:    rapid.Float64Range(0, 1.2).Draw(t, "spread"), // of a lognormal distribution: up to 16 times the median at the 99th percentile
	}
}

func (p *provider) attempt(f *core.VersionFigures, worse float64) {
	p.end(f, worse)
	f.Latency.Observe(p.takes())
}

// end counts how an attempt ends.
func (p *provider) end(f *core.VersionFigures, worse float64) {
	switch dice := p.random.Float64(); {
	case dice < p.failed+worse:
		f.Failed++
	case dice < p.failed+worse+p.uncertain:
		f.Uncertain++
	default:
		f.Accepted++
	}
}

func (p *provider) takes() time.Duration {
	return time.Duration(float64(p.latency) * math.Exp(p.random.NormFloat64()*p.spread))
}

// flight is what a version has in flight, measured as a host does.
type flight struct {
	figures core.VersionFigures
	open    []span
	latest  time.Duration // when the latest attempt ended
}

// span is an attempt between two moments.
type span struct{ start, end time.Duration }

func (f *flight) begin(p *provider, now time.Duration) {
	f.open = append(f.open, span{now, now + p.takes()})
}

// land counts what has ended by now.
func (f *flight) land(p *provider, now time.Duration) {
	f.open = slices.DeleteFunc(f.open, func(s span) bool {
		if s.end > now {
			return false
		}
		p.end(&f.figures, 0)
		f.figures.Latency.Observe(s.end - s.start)
		f.latest = max(f.latest, s.end)
		return true
	})
	f.figures.Stalled, f.figures.Stuck = 0, 0
	for _, s := range f.open {
		f.figures.Stalled = max(f.figures.Stalled, now-s.start)
	}
	f.figures.Stalled = min(f.figures.Stalled, now-f.latest)
	for _, s := range f.open {
		if now-s.start >= f.figures.Stalled/2 {
			f.figures.Stuck++
		}
	}
}

// TestEqualVersionStays plays whole steps, and judges as often as a gateway does.
func TestEqualVersionStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProvider(t)
		share := rapid.SampledFrom([]float64{0.01, 0.05, 0.25, 0.5}).Draw(t, "share")
		busy := rapid.IntRange(1, 50).Draw(t, "messages a look")
		plan := Defaults(core.StrategyCanary)
		var old, fresh flight
		for look := range 300 {
			now := time.Duration(look) * 100 * time.Millisecond
			for range 1 + p.random.IntN(busy) {
				if p.random.Float64() < share {
					fresh.begin(&p, now)
				} else {
					old.begin(&p, now)
				}
			}
			old.land(&p, now)
			fresh.land(&p, now)
			if reason := judge(&plan, &old.figures, &fresh.figures); reason != "" {
				t.Fatalf("an equal version goes back after %d and %d results: %s", fresh.figures.Samples(), old.figures.Samples(), reason)
			}
		}
	})
}

// TestStuckVersionGoesBack has a version of which nothing ever comes to an end.
func TestStuckVersionGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProvider(t)
		p.latency, p.spread = min(p.latency, 300*time.Millisecond), min(p.spread, 0.5)
		plan := Defaults(core.StrategyCanary)
		var old, fresh flight
		for look := range 100 {
			now := time.Duration(look) * 100 * time.Millisecond
			fresh.open = append(fresh.open, span{now, time.Hour})
			for range 10 {
				old.begin(&p, now)
			}
			old.land(&p, now)
			fresh.land(&p, now)
			if judge(&plan, &old.figures, &fresh.figures) != "" {
				return
			}
		}
		t.Fatalf("it stays: %+v beside %+v", fresh.figures, old.figures)
	})
}

func TestWorseVersionGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProvider(t)
		p.failed /= 2
		plan := Defaults(core.StrategyCanary)
		var old, fresh core.VersionFigures
		for range 3000 {
			p.attempt(&fresh, 0.2)
			p.attempt(&old, 0)
		}
		if judge(&plan, &old, &fresh) == "" {
			t.Fatalf("it stays, although %s", compare(&old, &fresh))
		}
	})
}

func TestSlowVersionGoesBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := drawProvider(t)
		p.latency = max(p.latency, 50*time.Millisecond)
		plan := Defaults(core.StrategyCanary)
		var old, fresh core.VersionFigures
		for range 2000 {
			p.attempt(&old, 0)
		}
		p.latency *= 8
		for range 2000 {
			p.attempt(&fresh, 0)
		}
		if judge(&plan, &old, &fresh) == "" {
			t.Fatalf("it stays, although %s", compare(&old, &fresh))
		}
	})
}
