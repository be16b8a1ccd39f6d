package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// Defaults is the plan of a strategy that fits most plugins. What a caller wants otherwise is written over it.
func Defaults(strategy core.RolloutStrategy) core.RolloutPlan {
	plan := core.RolloutPlan{
		Strategy: strategy, MinSamples: 100, Window: 30 * time.Second, Bake: 5 * time.Minute, By: core.ByMessage,
		Gates: core.RolloutGates{FailureRate: 0.02, UncertainRate: 0.01, LatencyRatio: 2, MemoryRatio: 2},
	}
	switch strategy {
	case core.StrategyCanary:
		plan.Steps = []float64{1, 5, 25, 50, 100}
	case core.StrategyImmediate:
		plan.Bake = 0
	case core.StrategyShadow:
	}
	return plan
}

// Plan is the plan by which a version of a plugin is rolled out if nobody says otherwise: the policy's. A strategy
// other than the policy's takes over its gates, and what it has of its own from Defaults; "" is the policy's.
func (s *Service) Plan(plugin string, strategy core.RolloutStrategy) core.RolloutPlan {
	plan := s.o.Policy(plugin).Plan
	if plan.Strategy == "" {
		plan = Defaults(core.StrategyCanary)
	}
	if strategy != "" && strategy != plan.Strategy {
		own := Defaults(strategy)
		plan.Strategy, plan.Steps, plan.Bake = strategy, own.Steps, own.Bake
	}
	return plan
}

// checkPlan returns one error with all that is wrong with a plan. Fields are named from the plan on.
func checkPlan(p *core.RolloutPlan) error {
	var faults faults
	faults.strategy(p)
	faults.steps(p)
	faults.check(p.By == core.ByMessage || p.By == core.ByAccount, "/by", "must be message or account, is %q", p.By)
	faults.check(p.Window >= 0, "/window", "must not be negative")
	faults.check(p.Bake >= 0, "/bake", "must not be negative")
	for i, a := range p.Accounts {
		faults.check(a > 0, fmt.Sprintf("/accounts/%d", i), "is no account")
	}
	if p.Strategy != core.StrategyImmediate || p.Bake > 0 {
		faults.gates(p)
	}
	return faults.err()
}

// faults collects what is wrong, so that a caller hears of all of it at once.
type faults []core.FieldError

func (f *faults) check(ok bool, field, format string, args ...any) {
	if !ok {
		*f = append(*f, core.FieldError{Field: field, Reason: fmt.Sprintf(format, args...)})
	}
}

func (f *faults) strategy(p *core.RolloutPlan) {
	known := []core.RolloutStrategy{core.StrategyImmediate, core.StrategyCanary, core.StrategyShadow}
	f.check(slices.Contains(known, p.Strategy), "/strategy", "must be immediate, canary or shadow, is %q", p.Strategy)
}

func (f *faults) steps(p *core.RolloutPlan) {
	if p.Strategy != core.StrategyCanary {
		f.check(len(p.Steps) == 0, "/steps", "only a canary has steps")
		return
	}
	f.check(len(p.Steps) > 0, "/steps", "a canary needs at least one step, such as [5, 25, 100]")
	last := 0.0
	for i, share := range p.Steps {
		field := fmt.Sprintf("/steps/%d", i)
		f.check(share >= core.LeastRolloutShare && share <= 100, field, "is a share in percent: at least %g, at most 100, not %g", core.LeastRolloutShare, share)
		f.check(share > last, field, "must be more than the step before, which is %g", last)
		last = share
	}
}

func (f *faults) gates(p *core.RolloutPlan) {
	f.check(p.MinSamples >= 1, "/min_samples", "must be at least 1")
	f.rate("/gates/failure_rate", p.Gates.FailureRate)
	f.rate("/gates/uncertain_rate", p.Gates.UncertainRate)
	f.check(p.Gates.LatencyRatio >= 1, "/gates/latency_ratio", "must be at least 1: the new version may be as slow as the old one")
	f.check(p.Gates.MemoryRatio >= 1, "/gates/memory_ratio", "must be at least 1: the new version may take as much as the old one")
}

func (f *faults) rate(field string, rate float64) {
	f.check(rate >= 0 && rate <= 1, field, "is a share between 0 and 1, not %g", rate)
}

func (f *faults) err() error {
	if len(*f) == 0 {
		return nil
	}
	first := (*f)[0]
	return &core.Error{Kind: core.KindUnprocessable, Message: first.Field + ": " + first.Reason, Fields: *f}
}

// complete ends the steps of a canary with everything, as a rollout does.
func complete(p core.RolloutPlan) core.RolloutPlan {
	if n := len(p.Steps); n > 0 && p.Steps[n-1] < 100 {
		p.Steps = append(slices.Clone(p.Steps), 100)
	}
	return p
}
