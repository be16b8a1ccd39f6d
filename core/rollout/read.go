package rollout

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
)

// Version is a version of a plugin, for people.
type Version struct {
	core.PluginVersion
	Active bool
	Here   bool // this gateway has it
}

// Versions lists the versions of a plugin that are installed, in the order in which they were first seen; of all
// plugins if the name is empty.
func (s *Service) Versions(ctx context.Context, plugin string) ([]Version, error) {
	known, err := s.o.Versions.PluginVersions(ctx, plugin)
	if err != nil {
		return nil, err
	}
	state, err := s.o.Rollouts.RolloutsState(ctx, s.o.Now())
	if err != nil {
		return nil, err
	}
	here := map[string]string{}
	for _, v := range s.o.Host.Installed() {
		here[key(v.Plugin, v.Version)] = v.SHA256
	}
	var versions []Version
	for _, v := range known {
		if v.RemovedAt.IsZero() {
			versions = append(versions, Version{
				PluginVersion: v, Active: state.Active[v.Plugin] == v.Version, Here: here[key(v.Plugin, v.Version)] == v.SHA256,
			})
		}
	}
	return versions, nil
}

// List lists the rollouts of a plugin, newest first, with ids below before unless that is 0.
func (s *Service) List(ctx context.Context, plugin string, before int64, limit int) ([]core.Rollout, error) {
	return s.o.History.Rollouts(ctx, plugin, before, limit)
}

// Detail is a rollout with what is known of it now.
type Detail struct {
	core.Rollout
	Events []core.RolloutEvent // oldest first
	// What follows is empty if the rollout has ended.
	Waiting string               // what it waits for
	Reports []core.RolloutReport // of the gateways that run
	// Old and New are what both versions did on all gateways in the present window. While the new version bakes, Old
	// is the baseline that it is compared with.
	Old, New core.VersionFigures
}

// Get returns a rollout with what is known of it now.
func (s *Service) Get(ctx context.Context, plugin string, id int64) (Detail, error) {
	r, events, err := s.o.History.Rollout(ctx, plugin, id)
	if err != nil || !r.State.Open() {
		return Detail{Rollout: r, Events: events}, err
	}
	now := s.o.Now()
	state, err := s.o.Rollouts.RolloutsState(ctx, now.Add(-liveFor))
	if err != nil {
		return Detail{}, err
	}
	v := gather(&r, state.Reports, nil)
	v.inForce = now.Sub(r.Since) // as far as that can be told from here
	d := Detail{Rollout: r, Events: events, Old: v.comparison(&r), New: v.fresh}
	if next := decide(&r, v, now); next.next == nil {
		d.Waiting = next.reason
	}
	for _, name := range v.gateways {
		if report := v.reports[name]; report != nil {
			d.Reports = append(d.Reports, *report)
		}
	}
	return d, nil
}
