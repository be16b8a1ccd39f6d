package rollout

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// settledFor is how long the policy does not look again at a version that it does not begin: settings change, and
// versions come back.
const settledFor = time.Minute

// applyPolicy rolls out new versions by itself where it is told to. All gateways try; one begins.
func (s *Service) applyPolicy(ctx context.Context, installed []core.PluginVersion, active map[string]string, open map[string]bool) error {
	var errs []error
	for plugin, version := range active {
		if !open[plugin] && s.o.Policy(plugin).Automatic {
			errs = append(errs, s.rollOut(ctx, plugin, version, installed))
		}
	}
	return errors.Join(errs...)
}

// rollOut begins a rollout to a newer version, if there is one.
func (s *Service) rollOut(ctx context.Context, plugin, active string, installed []core.PluginVersion) error {
	newer, err := s.newer(ctx, plugin, active, installed)
	if err != nil || newer == "" {
		return err
	}
	plan := s.Plan(plugin, "")
	err = s.o.Allow(plugin, newer, plan)
	if err != nil && plan.Strategy != core.StrategyImmediate {
		plan = atOnce(plan)
		err = s.o.Allow(plugin, newer, plan)
	}
	if err == nil {
		if _, err = s.Begin(ctx, Request{Plugin: plugin, Version: newer, Plan: plan, Actor: byPolicy}); core.KindOf(err) == core.KindConflict {
			return nil // another gateway was faster
		}
	}
	if k := core.KindOf(err); k == core.KindInternal || k == core.KindUnavailable {
		return err
	}
	if err != nil {
		s.settled[key(plugin, newer)] = s.o.Now().Add(settledFor) // what the policy wants does not fit the plugin
	}
	s.complain(ctx, "the policy for "+plugin, err)
	return nil
}

// atOnce is a plan for a plugin of which two versions cannot share messages. The old one stays warm as before.
func atOnce(p core.RolloutPlan) core.RolloutPlan {
	p.Strategy, p.Steps = core.StrategyImmediate, nil
	return p
}

// newer returns the highest version above the active one that was never part of a rollout and is not in quarantine,
// "" if there is none. A version that went back, or that somebody replaced by a lower one, is not tried again by itself.
func (s *Service) newer(ctx context.Context, plugin, active string, installed []core.PluginVersion) (string, error) {
	versions := versionsOf(plugin, installed)
	i := slices.Index(versions, active)
	if i < 0 {
		return "", nil // nobody can say which are higher
	}
	for _, v := range slices.Backward(versions[i+1:]) {
		if s.o.Now().Before(s.settled[key(plugin, v)]) || !s.registry.trusts(plugin, v) {
			continue
		}
		untried, err := s.untried(ctx, plugin, v)
		if err != nil || untried {
			return v, err
		}
		s.settled[key(plugin, v)] = s.o.Now().Add(settledFor)
	}
	return "", nil
}

// untried says whether a version was never part of a rollout and is not in quarantine.
func (s *Service) untried(ctx context.Context, plugin, version string) (bool, error) {
	known, err := s.o.Versions.PluginVersions(ctx, plugin)
	if err != nil {
		return false, err
	}
	for _, v := range known {
		if v.Version == version && v.Quarantine != "" {
			return false, nil
		}
	}
	const page = 100
	for before := int64(0); ; {
		rollouts, err := s.o.History.Rollouts(ctx, plugin, before, page)
		if err != nil {
			return false, err
		}
		for _, r := range rollouts {
			if before = r.ID; r.From == version || r.To == version {
				return false, nil
			}
		}
		if len(rollouts) < page {
			return true, nil
		}
	}
}
