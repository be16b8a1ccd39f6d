package rollout

import (
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// decision is what follows from a look at a rollout.
type decision struct {
	next   *core.Rollout // nil: it stays as it is
	reason string        // why it changes, or what it waits for
	fault  bool          // of the new version, which then goes to quarantine
}

func wait(format string, args ...any) decision { return decision{reason: fmt.Sprintf(format, args...)} }

// decide says how a rollout goes on.
func decide(r *core.Rollout, v *view, now time.Time) decision {
	if problem, fault := v.problem(r); problem != "" {
		return back(r, now, problem, fault)
	}
	if broken := v.broken(); broken != "" {
		return back(r, now, broken, true)
	}
	switch r.State {
	case core.RolloutStarting:
		return afterStarting(r, v, now)
	case core.RolloutCanary:
		return afterStep(r, v, now)
	case core.RolloutBaking:
		return afterBaking(r, v, now)
	case core.RolloutShadow:
		return wait("it compares until somebody promotes it or rolls it back: %s", compare(&v.old, &v.fresh))
	case core.RolloutPromoted, core.RolloutRolledBack:
	}
	return decision{}
}

// back takes the new version back.
func back(r *core.Rollout, now time.Time, reason string, fault bool) decision {
	next := enter(r, core.RolloutRolledBack, now)
	next.Reason = reason
	return decision{next: next, reason: reason, fault: fault}
}

// enter begins a state.
func enter(r *core.Rollout, state core.RolloutState, now time.Time) *core.Rollout {
	next := *r
	next.State, next.Since, next.Paused, next.Reason = state, now, false, ""
	return &next
}

func afterStarting(r *core.Rollout, v *view, now time.Time) decision {
	if behind := v.behind(r); behind != "" {
		if v.waited >= startWait {
			return back(r, now, fmt.Sprintf("%s after %s", behind, startWait), v.slow(r))
		}
		return wait("%s", behind)
	}
	if v.exclusive() && r.Plan.Strategy != core.StrategyImmediate {
		return undivided(r, v, now)
	}
	if r.Paused {
		return paused(r)
	}
	reason := fmt.Sprintf("version %s is ready on every gateway", r.To)
	switch r.Plan.Strategy {
	case core.StrategyShadow:
		return decision{next: enter(r, core.RolloutShadow, now), reason: reason}
	case core.StrategyCanary:
		return toStep(r, v, 0, now, reason)
	case core.StrategyImmediate:
	}
	return toEverything(r, v, now, reason)
}

// undivided goes on with a plugin whose versions cannot share messages, as only shows once it runs: nobody would ever have
// results of both to compare. What nobody ordered otherwise goes on at once with everything.
func undivided(r *core.Rollout, v *view, now time.Time) decision {
	const why = "only one process may hold the session of this plugin, so that two versions cannot share messages"
	if r.Actor != byPolicy {
		return back(r, now, why+": use immediate", false)
	}
	next := *r
	next.Plan = atOnce(r.Plan)
	return toEverything(&next, v, now, why)
}

func afterStep(r *core.Rollout, v *view, now time.Time) decision {
	if fault := judge(&r.Plan, &v.old, &v.fresh); fault != "" {
		return back(r, now, fault, true)
	}
	behind := v.behind(r)
	left := r.Plan.Window - v.inForce
	switch {
	case r.Paused:
		return paused(r)
	case behind != "":
		return wait("%s", behind)
	case v.passedOver(r):
		return toStep(r, v, r.Step+1, now, fmt.Sprintf("no account that sends is among the %g %% of this step", r.Share()))
	case v.fresh.Samples() < r.Plan.MinSamples:
		return wait("version %s has %d of %d results that this step needs", r.To, v.fresh.Samples(), r.Plan.MinSamples)
	case left > 0:
		return wait("the window of this step lasts another %s", round(left))
	}
	return toStep(r, v, r.Step+1, now, "no worse than version "+r.From)
}

// toStep begins a step, or the time after the last one. A step at which the new version has everything leaves
// nothing to compare with in the same window, so that is baking.
func toStep(r *core.Rollout, v *view, step int, now time.Time, reason string) decision {
	if step >= len(r.Plan.Steps) || r.Plan.Steps[step] >= 100 {
		return toEverything(r, v, now, reason)
	}
	next := enter(r, core.RolloutCanary, now)
	next.Step, next.Baseline = step, baseline(r, v)
	return decision{next: next, reason: reason}
}

// toEverything gives the new version all messages. The old one stays at least until the new one has taken over
// everywhere.
func toEverything(r *core.Rollout, v *view, now time.Time, reason string) decision {
	next := enter(r, core.RolloutBaking, now)
	next.Baseline = baseline(r, v)
	return decision{next: next, reason: reason}
}

// baseline is what the old version did last: in this window, or if that has just begun, in the one before.
func baseline(r *core.Rollout, v *view) *core.VersionFigures {
	if r.Baseline != nil && v.old.Samples() < r.Plan.MinSamples {
		return r.Baseline
	}
	old := v.old
	return &old
}

func afterBaking(r *core.Rollout, v *view, now time.Time) decision {
	old := v.comparison(r)
	if r.Plan.Bake > 0 { // else nobody has time to judge anything
		if fault := judge(&r.Plan, &old, &v.fresh); fault != "" {
			return back(r, now, fault, proven(&r.Plan, &old, &v.fresh))
		}
	}
	behind := v.behind(r)
	left := r.Plan.Bake - v.inForce
	switch {
	case r.Paused:
		return paused(r)
	case behind != "":
		return wait("%s", behind)
	case left > 0:
		return wait("the old version stays warm for another %s", round(left))
	}
	return decision{next: enter(r, core.RolloutPromoted, now), reason: v.end(r)}
}

// end says why a rollout ends well.
func (v *view) end(r *core.Rollout) string {
	reason := fmt.Sprintf("version %s has taken over on every gateway", r.To)
	if r.Plan.Bake > 0 {
		reason = "no worse than version " + r.From
	}
	if gap := v.gap(); gap > 0 {
		reason += fmt.Sprintf("; nobody held the session for %s", round(gap))
	}
	return reason
}

func paused(r *core.Rollout) decision { return wait("paused: %s", r.Reason) }
