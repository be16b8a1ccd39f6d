package core

import (
	"math"
	"slices"
	"time"
)

// PluginVersion is one version of a plugin that was ever installed. A name and a version never mean other bytes.
type PluginVersion struct {
	Plugin    string
	Version   string // semantic version without a leading v
	SHA256    string // of the executable, in hexadecimal digits
	FirstSeen time.Time
	// Quarantine says why the version is not rolled out by itself; "": it may be.
	Quarantine string
	RemovedAt  time.Time // zero: it is installed
	// InstalledAt is when the gateway that names it got its files; zero: nobody knows. It is not kept.
	InstalledAt time.Time
}

// RolloutStrategy says how a new version takes over.
type RolloutStrategy string

// The strategies.
const (
	StrategyImmediate RolloutStrategy = "immediate" // all messages as soon as it is ready
	StrategyCanary    RolloutStrategy = "canary"    // a share of them that grows while both versions compare
	StrategyShadow    RolloutStrategy = "shadow"    // copies only: nothing that it does is delivered
)

// RolloutBy says what has one version for all its messages while two versions run.
type RolloutBy string

// What a rollout may go by.
const (
	ByMessage RolloutBy = "message"
	ByAccount RolloutBy = "account" // a tenant never sees two versions
)

// RolloutPlan is how a rollout goes. It is stored with the rollout, so that later settings do not change it.
type RolloutPlan struct {
	Strategy RolloutStrategy `json:"strategy"`
	// Steps are the shares of the new version in percent, ascending, the last 100. A canary's alone.
	Steps []float64 `json:"steps,omitempty"`
	// MinSamples is how many results of the new version a step needs before it is judged by rates.
	MinSamples int `json:"min_samples,omitempty"`
	// Window is how long a step lasts at least.
	Window time.Duration `json:"window,omitempty"`
	// Bake is how long the old version stays warm once the new one has everything.
	Bake time.Duration `json:"bake,omitempty"`
	By   RolloutBy     `json:"by,omitempty"`
	// Accounts are the only ones that the new version serves before it has everything; empty: all of them.
	Accounts []AccountID  `json:"accounts,omitempty"`
	Gates    RolloutGates `json:"gates"`
}

// RolloutGates are how much worse the new version may be than the old one in the same window.
type RolloutGates struct {
	// FailureRate is how much larger the share of failures may be, the recipients' own errors left out: 0.02
	// lets 3 % pass beside 1 %.
	FailureRate float64 `json:"failure_rate"`
	// UncertainRate is the same for attempts whose end was not seen.
	UncertainRate float64 `json:"uncertain_rate"`
	// LatencyRatio is how many times the old version's 99th percentile the new one's may be.
	LatencyRatio float64 `json:"latency_ratio"`
	// MemoryRatio is how many times the old version's memory the new one may take.
	MemoryRatio float64 `json:"memory_ratio"`
}

// The bounds of a plan, for whoever makes one out of what people write.
const (
	MaxRolloutSteps   = 100
	MaxRolloutSamples = 1_000_000
	MinRolloutWindow  = 100 * time.Millisecond
	MaxRolloutWindow  = 24 * time.Hour
	MaxRolloutBake    = 7 * 24 * time.Hour
	MaxRolloutRatio   = 1_000
	// LeastRolloutShare is the smallest share of a step in percent: messages are shared out in hundredths of a percent.
	LeastRolloutShare = 0.01
)

// RolloutState is where a rollout stands.
type RolloutState string

// The states of a rollout.
const (
	RolloutStarting   RolloutState = "starting" // every gateway starts the new version beside the old one
	RolloutShadow     RolloutState = "shadow"   // the new version gets copies, until somebody decides
	RolloutCanary     RolloutState = "canary"   // the new version has the share of the step
	RolloutBaking     RolloutState = "baking"   // the new version has everything, the old one is warm
	RolloutPromoted   RolloutState = "promoted"
	RolloutRolledBack RolloutState = "rolled_back"
)

// Open says whether the rollout still goes on.
func (s RolloutState) Open() bool { return s != RolloutPromoted && s != RolloutRolledBack }

// Rollout is the way of a plugin from one version to another.
type Rollout struct {
	ID     int64
	Plugin string
	From   string // version
	To     string
	SHA256 string // of the executable of To
	Plan   RolloutPlan
	State  RolloutState
	Step   int       // index into Plan.Steps, in the state canary
	Since  time.Time // when the state, or the step, began
	Paused bool      // the step does not end by itself; gates are still judged
	Reason string    // why it ended, or was paused
	// Baseline is what the old version did in the last window in which it had enough results: what the new one is
	// compared with while it bakes. Nil: there was none yet.
	Baseline *VersionFigures
	Actor    string // who began it: an account's key, or "policy"
	// Revision grows with every change: a change is made to the revision that it was decided on, or not at all.
	Revision  int64
	CreatedAt time.Time
	UpdatedAt time.Time
}

// Active is the version that carries what is not the new version's share.
func (r *Rollout) Active() string {
	if r.State == RolloutBaking || r.State == RolloutPromoted {
		return r.To
	}
	return r.From
}

// Share is the new version's share of messages in percent.
func (r *Rollout) Share() float64 {
	switch {
	case r.State == RolloutBaking || r.State == RolloutPromoted:
		return 100
	case r.State == RolloutCanary && r.Step < len(r.Plan.Steps):
		return r.Plan.Steps[r.Step]
	default:
		return 0
	}
}

// RolloutEvent is an entry in the timeline of a rollout.
type RolloutEvent struct {
	Rollout int64
	At      time.Time
	State   RolloutState // after the event
	Share   float64      // after the event
	Paused  bool         // after the event
	Actor   string       // a gateway, an account's key, or "policy"
	Reason  string
	// Old and New are what both versions did in the window that was judged; nil: nothing was.
	Old, New *VersionFigures
}

// VersionFigures counts what a version of a plugin did.
type VersionFigures struct {
	Accepted   int `json:"accepted"`
	Refused    int `json:"refused"`   // rejected for the message's own fault: says nothing of the version
	Throttled  int `json:"throttled"` // the provider asked to slow down: neither does this
	Failed     int `json:"failed"`    // rejected or retryable for any other reason
	Provider   int `json:"provider"`  // of those, the ones that the version blames on the provider
	Uncertain  int `json:"uncertain"`
	Disagreed  int `json:"disagreed"`  // refused like this, and then accepted by the other version
	Violations int `json:"violations"` // breaches of the contract
	Crashes    int `json:"crashes"`
	// Memory is what the processes hold resident, in bytes; of several gateways the most.
	Memory int64 `json:"memory"`
	// Stalled is for how long attempts have been in flight and none has come to its end; of several gateways the longest.
	Stalled time.Duration `json:"stalled"`
	Stuck   int           `json:"stuck"` // calls that were in flight for half of that at least
	Latency Histogram     `json:"latency"`
}

// Samples is how many attempts say something about the version.
func (f *VersionFigures) Samples() int { return f.Accepted + f.Failed + f.Uncertain + f.Disagreed }

// Add takes in what was counted elsewhere at the same time.
func (f *VersionFigures) Add(g VersionFigures) {
	f.count(g, 1)
	f.Memory, f.Stalled = max(f.Memory, g.Memory), max(f.Stalled, g.Stalled)
	f.Stuck += g.Stuck
}

// Since returns what was counted after an earlier moment; memory, stall and calls in flight are those of now.
func (f VersionFigures) Since(earlier VersionFigures) VersionFigures {
	f.Latency.Counts = slices.Clone(f.Latency.Counts)
	f.count(earlier, -1)
	return f
}

func (f *VersionFigures) count(g VersionFigures, sign int) {
	f.Accepted += sign * g.Accepted
	f.Refused += sign * g.Refused
	f.Throttled += sign * g.Throttled
	f.Failed += sign * g.Failed
	f.Provider += sign * g.Provider
	f.Uncertain += sign * g.Uncertain
	f.Disagreed += sign * g.Disagreed
	f.Violations += sign * g.Violations
	f.Crashes += sign * g.Crashes
	f.Latency.add(g.Latency, sign)
}

// Histogram counts durations in buckets, each a quarter of an octave wide (19 %).
type Histogram struct {
	Counts []int `json:"counts,omitempty"`
}

const (
	histogramFirst   = 100 * time.Microsecond // the upper bound of the first bucket
	histogramBuckets = 90                     // the last one's is 500 s
)

// Observe counts a duration.
func (h *Histogram) Observe(d time.Duration) {
	if h.Counts == nil {
		h.Counts = make([]int, histogramBuckets)
	}
	bucket := 0
	if d > histogramFirst {
		bucket = int(math.Ceil(4 * math.Log2(float64(d)/float64(histogramFirst))))
	}
	h.Counts[min(bucket, histogramBuckets-1)]++
}

func (h *Histogram) add(g Histogram, sign int) {
	if len(g.Counts) > len(h.Counts) {
		h.Counts = append(h.Counts, make([]int, len(g.Counts)-len(h.Counts))...)
	}
	for i, n := range g.Counts {
		h.Counts[i] += sign * n
	}
}

// Quantile returns a bound that the share q of all durations does not exceed, 0 if there are none.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := 0
	for _, n := range h.Counts {
		total += n
	}
	if total == 0 {
		return 0
	}
	rank, seen := int(math.Ceil(q*float64(total))), 0
	for i, n := range h.Counts {
		if seen += n; seen >= rank {
			return time.Duration(float64(histogramFirst) * math.Exp2(float64(i)/4))
		}
	}
	return 0
}

// Arrangement says which versions of a plugin a gateway runs, and what each gets.
type Arrangement struct {
	Active string // the version that carries messages
	// Beside is another version that runs: the new one before it has everything, or the old one while it stays
	// warm. Empty: none.
	Beside   string
	Share    float64     // of the messages, in percent, that Beside carries
	By       RolloutBy   // what has one version for all its messages
	Accounts []AccountID // the only ones whose messages Beside may carry; empty: all of them
	// Shadow: Beside gets copies of what Active carries; nothing that it does counts.
	Shadow bool
}

// VersionStanding is how one version of a plugin stands on one gateway.
type VersionStanding struct {
	State GenerationState
	// Ready: it runs, took the configuration of every connector that it should have, and each that can be checked
	// reached its provider.
	// If it is the active one, it also carries messages by now.
	Ready   bool
	Waiting string // why it is not ready yet
	Problem string // why it never will be
	// Innocent: the problem is not the version's own fault.
	Innocent bool
	// Exclusive: the plugin holds a session that only one process may hold, so that two versions cannot share messages.
	Exclusive bool
	// Gap is how long nobody held that session when it was last handed over to this version.
	Gap     time.Duration
	Figures VersionFigures // since this gateway first started it
}

// RolloutReport is what one gateway knows of a rollout. A gateway renews it while it runs.
type RolloutReport struct {
	Gateway string
	Rollout int64 // 0: the gateway runs, and takes part in none
	At      time.Time
	// Revision is that of the rollout which the gateway has put in force.
	Revision  int64
	Ready     bool          // the new version runs here, took every connector and carries what the revision gives it
	Waiting   string        // why it is not ready yet
	Problem   string        // why it never will be
	Innocent  bool          // the problem is not the version's own fault
	Exclusive bool          // only one process may hold the plugin's session
	Gap       time.Duration // for how long nobody held it when it was handed over to the new version
	// Old and New are what both versions did here in the present window, which begins with the revision or later.
	Old, New VersionFigures
}
