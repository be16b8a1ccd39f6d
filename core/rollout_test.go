package core_test

import (
	"encoding/json"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

func histogram(durations ...time.Duration) core.Histogram {
	var h core.Histogram
	for _, d := range durations {
		h.Observe(d)
	}
	return h
}

func TestNoDurationsHaveNoQuantile(t *testing.T) {
	var h core.Histogram
	if got := h.Quantile(0.99); got != 0 {
		t.Errorf("the quantile of nothing is %s", got)
	}
	earlier := core.VersionFigures{Latency: histogram(time.Second)}
	since := earlier.Since(earlier)
	if got := since.Latency.Quantile(0.99); got != 0 {
		t.Errorf("the quantile of nothing since then is %s", got)
	}
}

func TestQuantileIsATightBound(t *testing.T) {
	const width = 1.19 // of a bucket
	random := rand.New(rand.NewPCG(1, 2))
	durations := make([]time.Duration, 1000)
	for i := range durations {
		durations[i] = time.Duration(float64(100*time.Microsecond) * (1 + random.ExpFloat64()*10_000))
	}
	h := histogram(durations...)
	slices.Sort(durations)
	for _, x := range []struct {
		q     float64
		exact time.Duration
	}{{0.001, durations[0]}, {0.5, durations[499]}, {0.99, durations[989]}, {1, durations[999]}} {
		if got := h.Quantile(x.q); got < x.exact || float64(got) > width*float64(x.exact) {
			t.Errorf("the quantile %v is %s, want a bound close to %s", x.q, got, x.exact)
		}
	}
}

func TestQuantileOfExtremes(t *testing.T) {
	for name, x := range map[string]struct {
		durations []time.Duration
		q         float64
		want      time.Duration
	}{
		"a clock that was set back":  {[]time.Duration{-time.Second}, 1, 100 * time.Microsecond},
		"less than the first bucket": {[]time.Duration{1}, 0.5, 100 * time.Microsecond},
		"just the first bucket":      {[]time.Duration{100 * time.Microsecond}, 1, 100 * time.Microsecond},
		"an octave above it":         {[]time.Duration{200 * time.Microsecond}, 1, 200 * time.Microsecond},
		"one of two is slow, half":   {[]time.Duration{1, 200 * time.Microsecond}, 0.5, 100 * time.Microsecond},
		"one of two is slow, all":    {[]time.Duration{1, 200 * time.Microsecond}, 0.51, 200 * time.Microsecond},
		"the slowest are not told":   {[]time.Duration{time.Hour, 24 * time.Hour}, 1, histogramEnd(t)},
	} {
		h := histogram(x.durations...)
		if got := h.Quantile(x.q); got != x.want {
			t.Errorf("%s: the quantile %v of %v is %s, want %s", name, x.q, x.durations, got, x.want)
		}
	}
}

// histogramEnd is the largest bound: longer than any attempt lasts.
func histogramEnd(t *testing.T) time.Duration {
	t.Helper()
	h := histogram(time.Hour)
	end := h.Quantile(1)
	if end < 8*time.Minute {
		t.Fatalf("the last bucket ends at %s", end)
	}
	return end
}

// counted are figures with a different number in every field.
func counted(n int) core.VersionFigures {
	return core.VersionFigures{
		Accepted: 100 + n, Refused: 200 + n, Throttled: 300 + n, Failed: 400 + n, Uncertain: 500 + n, Disagreed: 600 + n,
		Violations: 700 + n, Crashes: 800 + n, Memory: int64(900 + n), Stalled: time.Duration(1000 + n),
		Latency: histogram(time.Duration(n) * time.Millisecond),
	}
}

func TestFiguresAddUp(t *testing.T) {
	sum, more := counted(1), counted(20)
	sum.Add(more)
	want := core.VersionFigures{
		Accepted: 221, Refused: 421, Throttled: 621, Failed: 821, Uncertain: 1021, Disagreed: 1221, Violations: 1421, Crashes: 1621,
		Memory: 920, Stalled: 1020, Latency: histogram(time.Millisecond, 20*time.Millisecond),
	}
	if !reflect.DeepEqual(sum, want) {
		t.Errorf("the sum is %+v, want %+v", sum, want)
	}
	if !reflect.DeepEqual(more, counted(20)) {
		t.Errorf("what was added became %+v", more)
	}
	if sum.Samples() != 221+821+1021+1221 {
		t.Errorf("%d samples", sum.Samples())
	}
}

func TestTheMostMemoryAndTheLongestStallCount(t *testing.T) {
	sum := counted(20)
	sum.Add(counted(1))
	if sum.Memory != 920 || sum.Stalled != 1020 {
		t.Errorf("memory %d and stalled %d, want those of the gateway that has more", sum.Memory, sum.Stalled)
	}
}

func TestFiguresOfNothingAddNothing(t *testing.T) {
	var sum core.VersionFigures
	sum.Add(core.VersionFigures{})
	sum.Add(counted(3))
	sum.Add(core.VersionFigures{})
	if !reflect.DeepEqual(sum, counted(3)) {
		t.Errorf("the sum is %+v, want %+v", sum, counted(3))
	}
}

func TestFiguresSinceAMoment(t *testing.T) {
	earlier, more := counted(1), counted(20)
	now := counted(1)
	now.Add(more)
	now.Memory, now.Stalled = 7, 8 // less than before
	before := text(t, now)

	more.Memory, more.Stalled = 7, 8
	since := now.Since(earlier)
	if text(t, since) != text(t, more) {
		t.Errorf("since then %s, want %s", text(t, since), text(t, more))
	}
	since.Add(counted(5))
	if text(t, now) != before {
		t.Errorf("what was counted in all became %s, want %s", text(t, now), before)
	}
	if text(t, earlier) != text(t, counted(1)) {
		t.Errorf("what was counted earlier became %s", text(t, earlier))
	}
	fresh := counted(1).Since(core.VersionFigures{})
	if text(t, fresh) != text(t, counted(1)) {
		t.Errorf("since the beginning %s, want all", text(t, fresh))
	}
}

// text is the form in which figures are stored.
func text(t *testing.T, f core.VersionFigures) string {
	t.Helper()
	b, err := json.Marshal(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestARolloutSaysWhatIsActiveAndWhichShareIsNew(t *testing.T) {
	for _, x := range []struct {
		state  core.RolloutState
		step   int
		active string
		share  float64
		open   bool
	}{
		{core.RolloutStarting, 0, "old", 0, true},
		{core.RolloutShadow, 0, "old", 0, true},
		{core.RolloutCanary, 0, "old", 5, true},
		{core.RolloutCanary, 1, "old", 50, true},
		{core.RolloutCanary, 2, "old", 100, true},
		{core.RolloutCanary, 3, "old", 0, true}, // no such step: nothing is dared
		{core.RolloutBaking, 2, "new", 100, true},
		{core.RolloutPromoted, 2, "new", 100, false},
		{core.RolloutRolledBack, 2, "old", 0, false},
	} {
		r := core.Rollout{From: "old", To: "new", State: x.state, Step: x.step, Plan: core.RolloutPlan{Steps: []float64{5, 50, 100}}}
		if r.Active() != x.active || r.Share() != x.share || r.State.Open() != x.open {
			t.Errorf("%s, step %d: %s is active, the new share is %v, open %v; want %s, %v, %v",
				x.state, x.step, r.Active(), r.Share(), r.State.Open(), x.active, x.share, x.open)
		}
	}
}
