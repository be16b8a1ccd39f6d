package store

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// PluginVersions keeps which versions of which plugins there ever were, for all gateways.
type PluginVersions interface {
	// RegisterVersion notes a version that a gateway has installed, or that is installed again, and returns
	// what is known of it. One that is known with another checksum is a core.KindConflict error, whether it
	// was removed or not. One that was removed stays so if the files of the gateway are older than that (InstalledAt).
	// FirstSeen is the caller's where the version is new.
	RegisterVersion(ctx context.Context, v core.PluginVersion) (core.PluginVersion, error)
	// PluginVersions lists the versions of a plugin, of all plugins if the name is empty, by name and then in
	// the order in which they were first seen.
	PluginVersions(ctx context.Context, plugin string) ([]core.PluginVersion, error)
	// RemoveVersion notes that a version is gone. One that is active or part of an open rollout is a
	// core.KindConflict error.
	RemoveVersion(ctx context.Context, plugin, version string, now time.Time) error
}

// RolloutsState is what gateways have to act on.
type RolloutsState struct {
	Active  map[string]string // version by plugin
	Open    []core.Rollout    // by id
	Reports []core.RolloutReport
}

// Rollouts keeps which version of a plugin is active, and the ways to another one. The active version is that of
// the plugin's latest rollout (core.Rollout.Active), so that both change in one commit.
type Rollouts interface {
	// Activate makes a version the active one of a plugin that has none, and returns the active one.
	Activate(ctx context.Context, plugin, version string) (string, error)
	// BeginRollout stores a new rollout, gives it an id and the revision 1, and stores its first event. A plugin
	// that has an open one, or whose active version is not r.From, is a core.KindConflict error, and so is a new version
	// that is not registered with r.SHA256, was removed, or is in quarantine. Force ends a quarantine instead.
	BeginRollout(ctx context.Context, r core.Rollout, first core.RolloutEvent, force bool) (core.Rollout, error)
	// AdvanceRollout replaces a rollout whose revision still is r.Revision by r, raises its revision and stores
	// an event; the rollout of the event is r. It returns false, and has changed nothing, if somebody was faster.
	// Quarantine, unless empty, is why all versions of the plugin with r.SHA256, those registered later too, are not
	// rolled out any more before somebody says so.
	AdvanceRollout(ctx context.Context, r core.Rollout, event core.RolloutEvent, quarantine string) (bool, error)
	// RolloutsState returns what gateways act on, as of one moment, with the reports made at or after since.
	RolloutsState(ctx context.Context, since time.Time) (RolloutsState, error)
	// ReportRollout replaces the report of the same gateway on the same rollout. Reports on rollouts that have
	// ended are forgotten with time.
	ReportRollout(ctx context.Context, r core.RolloutReport) error
}

// RolloutHistory reads rollouts, also those that have ended.
type RolloutHistory interface {
	// Rollouts lists the rollouts of a plugin, newest first, with ids below before unless that is 0.
	Rollouts(ctx context.Context, plugin string, before int64, limit int) ([]core.Rollout, error)
	// Rollout returns a rollout of a plugin with its events, oldest first.
	Rollout(ctx context.Context, plugin string, id int64) (core.Rollout, []core.RolloutEvent, error)
}
