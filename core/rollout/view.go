package rollout

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/pigeonry/pigeonry/core"
)

// view is what all gateways that run say of a rollout.
type view struct {
	gateways   []string // by name
	reports    map[string]*core.RolloutReport
	old, fresh core.VersionFigures // of the gateways that have put the present revision in force
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

// problem says why the new version never will be ready somewhere.
func (v *view) problem(r *core.Rollout) string {
	for _, name := range v.gateways {
		if report := v.reports[name]; report != nil && report.Problem != "" {
			return fmt.Sprintf("version %s cannot run on gateway %s: %s", r.To, name, report.Problem)
		}
	}
	return ""
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

// behind says what the present revision waits for, "" if it is in force everywhere and the new version is ready, and
// whether that is the version's own fault. What is nobody's fault comes first.
func (v *view) behind(r *core.Rollout) (reason string, fault bool) {
	var slow, others string
	for _, name := range v.gateways {
		report := v.reports[name]
		switch {
		case report == nil:
			others = cmp.Or(others, fmt.Sprintf("gateway %s has not answered", name))
		case report.Revision == 0:
			others = cmp.Or(others, fmt.Sprintf("gateway %s does not have version %s with checksum %.12s: %s", name, r.To, r.SHA256,
				cmp.Or(report.Waiting, "install it there")))
		case report.Revision != r.Revision:
			others = cmp.Or(others, fmt.Sprintf("gateway %s has not caught up", name))
		case !report.Ready:
			slow = cmp.Or(slow, fmt.Sprintf("version %s is not ready on gateway %s%s", r.To, name, because(report.Waiting)))
		}
	}
	return cmp.Or(others, slow), others == "" && slow != ""
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
	old.Stalled = v.old.Stalled // what the old one began before; a stall of then says nothing of now
	return old
}
