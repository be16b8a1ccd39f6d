package rollout

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/core"
)

// retries bounds how often a command begins again because somebody else changed the rollout.
const retries = 5

// Request asks for a rollout.
type Request struct {
	Plugin  string
	Version string
	// Plan is complete, so begin with Service.Plan; without a strategy it is the policy's.
	Plan  core.RolloutPlan
	Force bool // also if the version is in quarantine, which then ends
	Actor string
}

// Begin begins a rollout. One that bakes is promoted first; another open one is a conflict.
func (s *Service) Begin(ctx context.Context, q Request) (core.Rollout, error) {
	if q.Plan.Strategy == "" {
		q.Plan = s.Plan(q.Plugin, "")
	}
	q.Plan = complete(q.Plan)
	if err := checkPlan(&q.Plan); err != nil {
		return core.Rollout{}, err
	}
	if _, err := s.registry.enter(ctx, s.o.Host.Installed()); err != nil {
		return core.Rollout{}, err
	}
	version, err := s.permitted(ctx, &q)
	if err != nil {
		return core.Rollout{}, err
	}
	from, err := s.makeRoom(ctx, &q)
	if err != nil {
		return core.Rollout{}, err
	}
	return s.begin(ctx, &q, version, from)
}

// permitted finds the version and refuses what nothing may come of.
func (s *Service) permitted(ctx context.Context, q *Request) (core.PluginVersion, error) {
	version, err := s.version(ctx, q.Plugin, q.Version)
	if err != nil {
		return version, err
	}
	if err := s.registry.differing(q.Plugin, q.Version); err != nil {
		return version, err
	}
	if err := s.runs(q.Plugin, q.Version); err != nil {
		return version, err
	}
	if version.Quarantine != "" && !q.Force {
		return version, core.Errorf(core.KindConflict, "version %s of plugin %s is in quarantine: %s. Use force to roll it out all the same",
			q.Version, q.Plugin, version.Quarantine)
	}
	return version, s.o.Allow(q.Plugin, q.Version, q.Plan)
}

// version finds an installed version of a plugin.
func (s *Service) version(ctx context.Context, plugin, version string) (core.PluginVersion, error) {
	known, err := s.installed(ctx, plugin)
	if err != nil {
		return core.PluginVersion{}, err
	}
	names := make([]string, len(known))
	for i, v := range known {
		if names[i] = v.Version; v.Version == version {
			return v, nil
		}
	}
	if err := s.runs(plugin, version); err != nil {
		return core.PluginVersion{}, err
	}
	return core.PluginVersion{}, core.Errorf(core.KindNotFound, "plugin %s has no version %q; installed: %s", plugin, version, strings.Join(names, ", "))
}

// runs names what keeps a version that is there from being started here.
func (s *Service) runs(plugin, version string) error {
	if slices.Contains(versionsOf(plugin, s.o.Host.Installed()), version) {
		return nil
	}
	if problem := s.o.Host.Standing(plugin, version).Problem; problem != "" {
		return core.Errorf(core.KindConflict, "version %s of plugin %s cannot run: %s", version, plugin, problem)
	}
	return nil
}

// installed lists the versions of a plugin that were not removed.
func (s *Service) installed(ctx context.Context, plugin string) ([]core.PluginVersion, error) {
	known, err := s.o.Versions.PluginVersions(ctx, plugin)
	if err != nil {
		return nil, err
	}
	known = slices.DeleteFunc(known, func(v core.PluginVersion) bool { return !v.RemovedAt.IsZero() })
	if plugin == "" || len(known) == 0 {
		return nil, &core.Error{Kind: core.KindNotFound, Code: core.CodePluginNotFound, Message: "plugin " + plugin + " not found"}
	}
	return known, nil
}

// makeRoom returns the version that the rollout begins at, after an earlier one that only bakes was promoted.
func (s *Service) makeRoom(ctx context.Context, q *Request) (string, error) {
	state, err := s.o.Rollouts.RolloutsState(ctx, s.o.Now())
	if err != nil {
		return "", err
	}
	active, ok := state.Active[q.Plugin]
	if !ok {
		return "", core.Errorf(core.KindConflict, "plugin %s has no active version yet", q.Plugin)
	}
	if active == q.Version {
		return "", core.Errorf(core.KindConflict, "version %s of plugin %s is active already", q.Version, q.Plugin)
	}
	i := slices.IndexFunc(state.Open, func(r core.Rollout) bool { return r.Plugin == q.Plugin })
	if i < 0 {
		return active, nil
	}
	r := state.Open[i]
	if r.State != core.RolloutBaking {
		return "", core.Errorf(core.KindConflict, "rollout %d of plugin %s to version %s is %s: promote it or roll it back first", r.ID, r.Plugin, r.To, r.State)
	}
	if _, err := s.Promote(ctx, r.Plugin, r.ID, q.Actor, "version "+q.Version+" follows"); err != nil {
		return "", err
	}
	return active, nil
}

func (s *Service) begin(ctx context.Context, q *Request, version core.PluginVersion, from string) (core.Rollout, error) {
	now := s.o.Now()
	r := core.Rollout{
		Plugin: q.Plugin, From: from, To: q.Version, SHA256: version.SHA256, Plan: q.Plan, State: core.RolloutStarting,
		Since: now, Actor: q.Actor, CreatedAt: now, UpdatedAt: now,
	}
	reason := "from version " + from + " to " + q.Version
	if version.Quarantine != "" {
		reason += ", in spite of its quarantine: " + version.Quarantine
	}
	r, err := s.o.Rollouts.BeginRollout(ctx, r, core.RolloutEvent{At: now, State: r.State, Actor: q.Actor, Reason: reason}, q.Force)
	if err != nil {
		return r, err
	}
	s.o.Logger.InfoContext(ctx, "rollout: begins", "plugin", r.Plugin, "rollout", r.ID, "from", r.From, "to", r.To,
		"strategy", r.Plan.Strategy, "actor", r.Actor)
	s.nudge()
	return r, nil
}

// Promote gives the new version everything now, or, if it has, ends the time for which the old one stays warm. A
// gateway that does not have the new version must not find it active: then it is a conflict.
func (s *Service) Promote(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return s.change(ctx, plugin, id, actor, func(r *core.Rollout, v *view) (decision, error) {
		why := cmp.Or(reason, "promoted by command")
		if r.State == core.RolloutBaking {
			return decision{next: enter(r, core.RolloutPromoted, s.o.Now()), reason: why}, nil
		}
		missing := v.lacking(r)
		if r.State == core.RolloutStarting {
			missing = v.behind(r)
		}
		if missing != "" {
			return decision{}, core.Errorf(core.KindConflict, "rollout %d cannot be promoted yet: %s", r.ID, missing)
		}
		return toEverything(r, v, s.o.Now(), why), nil
	})
}

// Pause keeps a rollout from advancing by itself. It still goes back if the new version is bad.
func (s *Service) Pause(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return s.change(ctx, plugin, id, actor, func(r *core.Rollout, _ *view) (decision, error) {
		if r.Paused {
			return decision{}, core.Errorf(core.KindConflict, "rollout %d is paused already", r.ID)
		}
		next := *r
		next.Paused, next.Reason = true, cmp.Or(reason, "by command")
		return decision{next: &next, reason: next.Reason}, nil
	})
}

// Resume lets a paused rollout go on. Its step begins anew, as its figures do.
func (s *Service) Resume(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return s.change(ctx, plugin, id, actor, func(r *core.Rollout, _ *view) (decision, error) {
		if !r.Paused {
			return decision{}, core.Errorf(core.KindConflict, "rollout %d is not paused", r.ID)
		}
		return decision{next: enter(r, r.State, s.o.Now()), reason: cmp.Or(reason, "resumed by command")}, nil
	})
}

// Rollback takes the new version back. Nobody says that it is bad, so it is not put in quarantine; the policy does not
// begin it again all the same.
func (s *Service) Rollback(ctx context.Context, plugin string, id int64, actor, reason string) (core.Rollout, error) {
	return s.change(ctx, plugin, id, actor, func(r *core.Rollout, _ *view) (decision, error) {
		return back(r, s.o.Now(), cmp.Or(reason, "rolled back by command"), false), nil
	})
}

// change makes a change by command, on whatever the rollout is by then.
func (s *Service) change(ctx context.Context, plugin string, id int64, actor string, f func(*core.Rollout, *view) (decision, error)) (core.Rollout, error) {
	for range retries {
		r, v, err := s.open(ctx, plugin, id)
		if err != nil {
			return core.Rollout{}, err
		}
		d, err := f(&r, v)
		if err != nil {
			return core.Rollout{}, err
		}
		next, err := s.advance(ctx, &r, d, v, actor)
		if err != nil {
			return core.Rollout{}, err
		}
		if next != nil {
			s.nudge()
			return *next, nil
		}
	}
	return core.Rollout{}, core.Errorf(core.KindConflict, "rollout %d of plugin %s changes at this moment: try again", id, plugin)
}

// open finds a rollout that still goes on, with what gateways say of it.
func (s *Service) open(ctx context.Context, plugin string, id int64) (core.Rollout, *view, error) {
	r, _, err := s.o.History.Rollout(ctx, plugin, id)
	if err != nil {
		return r, nil, err
	}
	if !r.State.Open() {
		return r, nil, core.Errorf(core.KindConflict, "rollout %d of plugin %s has ended: %s. Begin another one", id, plugin, r.State)
	}
	state, err := s.o.Rollouts.RolloutsState(ctx, s.o.Now().Add(-liveFor))
	v := gather(&r, state.Reports, nil)
	return r, v, err
}

// Remove removes a version that is neither active nor part of an open rollout, here at once, and on other gateways
// within seconds. One whose files are bad is removed as well.
func (s *Service) Remove(ctx context.Context, plugin, version, actor string) error {
	_, err := s.version(ctx, plugin, version)
	switch {
	case err == nil:
		err = s.o.Versions.RemoveVersion(ctx, plugin, version, s.o.Now())
	case s.runs(plugin, version) != nil:
		err = nil // it never was more than files here that cannot be used
	}
	if err != nil {
		return err
	}
	s.o.Logger.InfoContext(ctx, "rollout: version is removed", "plugin", plugin, "version", version, "actor", actor)
	s.forget(ctx, plugin, version)
	return nil
}
