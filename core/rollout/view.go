package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// emptyWindows is how many windows without any attempt show that no account that sends belongs to a step.
const emptyWindows = 3

// view is what all gateways that run say of a rollout.
type view struct {
	gateways   []string // by name
	reports    map[string]*core.RolloutReport
	old, fresh core.VersionFigures // of the gateways that have put the present revision in force
	// waited is how long the one who looks has had the revision in force, and inForce how long all have, as it knows: a
	// gateway that was away blames nobody for that.
	waited, inForce time.Duration
}

// gather brings reports together. What this gateway knows itself is newer than what it reported; nil: it knows
// nothing.
func gather(r *core.Rollout, reports []core.RolloutReport, own *core.RolloutReport) *view {
	v := &view{reports: map[string]*core.RolloutReport{}}
	for i := range reports {
		v.take(r, &reports[i])
	}
	if own != nil {
		v.take(r, own)
	}
	slices.Sort(v.gateways)
	for _, name := range v.gateways {
		if report := v.reports[name]; report != nil && report.Revision == r.Revision {
			v.old.Add(report.Old)
			v.fresh.Add(report.New)
		}
	}
	return v
}

func (v *view) take(r *core.Rollout, report *core.RolloutReport) {
	if !slices.Contains(v.gateways, report.Gateway) {
		v.gateways = append(v.gateways, report.Gateway)
	}
	if report.Rollout == r.ID {
		v.reports[report.Gateway] = report
	}
}

// problem says why the new version never will be ready somewhere, and whether that is its own fault. What is comes first.
func (v *view) problem(r *core.Rollout) (reason string, fault bool) {
	for _, name := range v.gateways {
		report := v.reports[name]
		if report != nil && report.Problem != "" && (reason == "" || !fault && !report.Innocent) {
			reason, fault = fmt.Sprintf("version %s cannot run on gateway %s: %s", r.To, name, report.Problem), !report.Innocent
		}
	}
	return reason, fault
}

// exclusive says whether only one process may hold the plugin's session.
func (v *view) exclusive() bool {
	for _, report := range v.reports {
		if report.Exclusive {
			return true
		}
	}
	return false
}

// gap is for how long nobody held that session, on the gateway where it took longest.
func (v *view) gap() time.Duration {
	var longest time.Duration
	for _, report := range v.reports {
		longest = max(longest, report.Gap)
	}
	return longest
}

// broken says what the new version did that no version may, on any gateway and at any revision.
func (v *view) broken() string {
	for _, name := range v.gateways {
		report := v.reports[name]
		switch {
		case report == nil:
		case report.New.Crashes > 0:
			return fmt.Sprintf("it crashed on gateway %s (%s)", name, times(report.New.Crashes))
		case report.New.Violations > 0:
			return fmt.Sprintf("it broke the plugin contract on gateway %s (%s)", name, times(report.New.Violations))
		}
	}
	return ""
}

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}

// behind says what the present revision waits for, "" if it is in force everywhere and the new version is ready. What is
// nobody's fault comes first.
func (v *view) behind(r *core.Rollout) string {
	var late, slow string
	for _, name := range v.gateways {
		report := v.reports[name]
		switch {
		case report == nil || report.Revision == 0:
		case report.Revision != r.Revision:
			late = cmp.Or(late, fmt.Sprintf("gateway %s has not caught up", name))
		case !report.Ready:
			slow = cmp.Or(slow, fmt.Sprintf("version %s is not ready on gateway %s%s", r.To, name, because(report.Waiting)))
		}
	}
	return cmp.Or(v.lacking(r), late, slow)
}

// lacking names a gateway that does not have the new version, or has not said so.
func (v *view) lacking(r *core.Rollout) string {
	for _, name := range v.gateways {
		switch report := v.reports[name]; {
		case report == nil:
			return fmt.Sprintf("gateway %s has not answered", name)
		case report.Revision == 0:
			return fmt.Sprintf("gateway %s does not have version %s with checksum %.12s: %s", name, r.To, r.SHA256,
				cmp.Or(report.Waiting, "install it there"))
		}
	}
	return ""
}

// slow says whether all that is waited for is that the new version becomes ready.
func (v *view) slow(r *core.Rollout) bool {
	for _, name := range v.gateways {
		if report := v.reports[name]; report == nil || report.Revision != r.Revision {
			return false
		}
	}
	return true
}

// passedOver says whether the accounts that send are all the old version's, and so would be for as long as the step lasts.
func (v *view) passedOver(r *core.Rollout) bool {
	return r.Plan.By == core.ByAccount && len(r.Plan.Accounts) == 0 && count(&v.fresh.Latency) == 0 && v.fresh.Stuck == 0 &&
		v.old.Samples() >= r.Plan.MinSamples && v.inForce >= emptyWindows*max(r.Plan.Window, leastSpan)
}

// because adds a reason where one is known.
func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

// comparison is what the new version is compared with: the old one in the same window, or when that no longer gets
// messages, in the last window in which it did.
func (v *view) comparison(r *core.Rollout) core.VersionFigures {
	if r.State != core.RolloutBaking {
		return v.old
	}
	var old core.VersionFigures
	if r.Baseline != nil {
		old = *r.Baseline
	}
	// A stall of then says nothing of now, and what the old one began before has little to do with it.
	old.Stalled, old.Stuck = v.old.Stalled, v.old.Stuck
	return old
}
