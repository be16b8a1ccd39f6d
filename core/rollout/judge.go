package rollout

import (
	"fmt"
	"math"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// sigmas is how unlikely chance must be as the cause of a difference: five standard deviations, since a version
	// is judged ten times a second.
	sigmas = 5
	// alone is the share of bad results that a version without anything to compare it with may have: with nothing
	// known of the provider, only one that fails more often than not is held to be bad.
	alone = 0.5
	// latencySlack and memorySlack keep ratios of small numbers from meaning anything.
	latencySlack, memorySlack = 50 * time.Millisecond, 64 << 20
	// stallLeast is for how long nothing may come to its end at least before the version counts as stalled, and
	// stallRatio how many times the old version's 99th percentile. Without enough results of the old one nobody knows how
	// slow the provider is, and stallUnknown holds. A single call may be an unlucky one: stallSingle times that is its.
	stallLeast, stallRatio, stallUnknown, stallKnown, stallSingle = 2 * time.Second, 5, 15 * time.Second, 20, 3
)

// judge says how the new version is worse than its plan allows, "" if it is not. It compares figures of the same
// window. The recipients' own errors and the provider's throttling say nothing of a version and are not looked at.
func judge(p *core.RolloutPlan, old, fresh *core.VersionFigures) string {
	for _, gate := range []func(*core.RolloutPlan, *core.VersionFigures, *core.VersionFigures) string{
		stalled, hungry, failing, uncertain, slow,
	} {
		if reason := gate(p, old, fresh); reason != "" {
			return reason
		}
	}
	return ""
}

// proven says whether a version that is compared with what the old one did before would be found to be worse even if all
// that its provider may have caused since then were left out.
func proven(p *core.RolloutPlan, old, fresh *core.VersionFigures) bool {
	own := *fresh
	own.Failed -= own.Provider
	own.Uncertain, own.Stalled, own.Latency = 0, 0, core.Histogram{}
	return judge(p, old, &own) != ""
}

// stalled finds a version that does not come to an end at all, and so would never have samples.
func stalled(_ *core.RolloutPlan, old, fresh *core.VersionFigures) string {
	limit := stallUnknown
	if count(&old.Latency) >= stallKnown {
		limit = max(stallLeast, stallRatio*old.Latency.Quantile(0.99))
	}
	if fresh.Stuck <= 1 {
		limit *= stallSingle
	}
	// When the provider hangs, both versions do; the old one may have begun to a little later.
	if fresh.Stalled <= limit || old.Stalled > limit/2 {
		return ""
	}
	return fmt.Sprintf("an attempt has been without a result for %s and none has come to its end meanwhile, of the old version for at most %s",
		round(fresh.Stalled), round(old.Stalled))
}

func hungry(p *core.RolloutPlan, old, fresh *core.VersionFigures) string {
	if old.Memory == 0 || float64(fresh.Memory) <= float64(old.Memory)*p.Gates.MemoryRatio+memorySlack {
		return ""
	}
	return fmt.Sprintf("it takes %d MiB of memory beside %d MiB, more than %g times as much", fresh.Memory>>20, old.Memory>>20, p.Gates.MemoryRatio)
}

func failing(p *core.RolloutPlan, old, fresh *core.VersionFigures) string {
	return rate("failed", p, p.Gates.FailureRate, ratio{failures(old), old.Samples()}, ratio{failures(fresh), fresh.Samples()})
}

func uncertain(p *core.RolloutPlan, old, fresh *core.VersionFigures) string {
	return rate("uncertain", p, p.Gates.UncertainRate, ratio{old.Uncertain, old.Samples()}, ratio{fresh.Uncertain, fresh.Samples()})
}

// failures counts bad results, and refusals that the other version showed to be wrong.
func failures(f *core.VersionFigures) int { return f.Failed + f.Disagreed }

func rate(what string, p *core.RolloutPlan, margin float64, old, fresh ratio) string {
	if fresh.of < p.MinSamples || !fresh.exceeds(old, margin) {
		return ""
	}
	if old.of == 0 {
		return fmt.Sprintf("%s of its results are %s, and there is nothing to compare with", fresh, what)
	}
	return fmt.Sprintf("%s of its results are %s beside %s, more than %g %% above", fresh, what, old, margin*100)
}

// ratio is so many out of so many.
type ratio struct{ n, of int }

func (r ratio) share() float64 {
	if r.of == 0 {
		return 0
	}
	return min(1, float64(r.n)/float64(r.of))
}

// String names the share and what it is made of.
func (r ratio) String() string { return fmt.Sprintf("%.1f %% (%d of %d)", r.share()*100, r.n, r.of) }

// exceeds says whether a share is surely larger than another one by more than a margin. Chance is reckoned by the
// test of two proportions, with the share that both have together.
func (r ratio) exceeds(old ratio, margin float64) bool {
	n, m := float64(r.of), float64(old.of)
	if old.of == 0 {
		p := r.share()
		return p-sigmas*math.Sqrt(p*(1-p)/n) > alone
	}
	together := (r.share()*n + old.share()*m + 1) / (n + m + 2)
	chance := math.Sqrt(together * (1 - together) * (1/n + 1/m))
	return r.share()-old.share() > margin+sigmas*chance
}

// slow compares the 99th percentiles, each moved towards the other by what chance may have moved it apart. The old
// version's is looked at less often than it is compared with, so half of that is enough for it.
func slow(p *core.RolloutPlan, old, fresh *core.VersionFigures) string {
	n, m := count(&fresh.Latency), count(&old.Latency)
	if min(fresh.Samples(), old.Samples()) < p.MinSamples || min(n, m) == 0 {
		return ""
	}
	limit := time.Duration(float64(old.Latency.Quantile(min(1, 0.99+chance(m)/2)))*p.Gates.LatencyRatio) + latencySlack
	if fresh.Latency.Quantile(0.99-chance(n)) <= limit {
		return ""
	}
	return fmt.Sprintf("its 99th percentile is %s beside %s, more than %g times as much",
		round(fresh.Latency.Quantile(0.99)), round(old.Latency.Quantile(0.99)), p.Gates.LatencyRatio)
}

// chance is how far the share above the 99th percentile may be from 1 % in n results by chance.
func chance(n int) float64 { return min(0.99, sigmas*math.Sqrt(0.01*0.99/float64(n))) }

func count(h *core.Histogram) int {
	sum := 0
	for _, n := range h.Counts {
		sum += n
	}
	return sum
}

// compare tells people how both versions did.
func compare(old, fresh *core.VersionFigures) string {
	return fmt.Sprintf("%s failed beside %s, %s uncertain beside %s, 99th percentile %s beside %s",
		ratio{failures(fresh), fresh.Samples()}, ratio{failures(old), old.Samples()},
		ratio{fresh.Uncertain, fresh.Samples()}, ratio{old.Uncertain, old.Samples()},
		round(fresh.Latency.Quantile(0.99)), round(old.Latency.Quantile(0.99)))
}

func round(d time.Duration) time.Duration {
	if d < time.Second {
		return d.Round(time.Millisecond)
	}
	return d.Round(100 * time.Millisecond)
}
