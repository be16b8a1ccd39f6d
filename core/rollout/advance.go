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

// decide says how a rollout goes on. waited is how long the one who decides has known the present revision: a
// gateway that was away does not blame the version for that.
func decide(r *core.Rollout, v *view, now time.Time, waited time.Duration) decision {
	if problem := v.problem(r); problem != "" {
		return back(r, now, problem, true)
	}
	if broken := v.broken(); broken != "" {
		return back(r, now, broken, true)
	}
	switch r.State {
	case core.RolloutStarting:
		return afterStarting(r, v, now, waited)
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

func afterStarting(r *core.Rollout, v *view, now time.Time, waited time.Duration) decision {
	behind, fault := v.behind(r)
	if behind != "" {
		if waited >= startWait {
			return back(r, now, fmt.Sprintf("%s after %s", behind, startWait), fault)
		}
		return wait("%s", behind)
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

func afterStep(r *core.Rollout, v *view, now time.Time) decision {
	if fault := judge(&r.Plan, &v.old, &v.fresh); fault != "" {
		return back(r, now, fault, true)
	}
	behind, _ := v.behind(r)
	left := r.Since.Add(r.Plan.Window).Sub(now)
	switch {
	case r.Paused:
		return paused(r)
	case behind != "":
		return wait("%s", behind)
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
	next.Step = step
	return decision{next: next, reason: reason}
}

// toEverything gives the new version all messages, and keeps the old one warm if the plan says so.
func toEverything(r *core.Rollout, v *view, now time.Time, reason string) decision {
	state := core.RolloutBaking
	if r.Plan.Bake == 0 {
		state = core.RolloutPromoted
	}
	next := enter(r, state, now)
	baseline := v.old
	next.Baseline = &baseline
	return decision{next: next, reason: reason}
}

func afterBaking(r *core.Rollout, v *view, now time.Time) decision {
	old := v.comparison(r)
	if fault := judge(&r.Plan, &old, &v.fresh); fault != "" {
		return back(r, now, fault, true)
	}
	if r.Paused {
		return paused(r)
	}
	if left := r.Since.Add(r.Plan.Bake).Sub(now); left > 0 {
		return wait("the old version stays warm for another %s", round(left))
	}
	return decision{next: enter(r, core.RolloutPromoted, now), reason: "no worse than version " + r.From}
}

func paused(r *core.Rollout) decision { return wait("paused: %s", r.Reason) }
