package store

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// KeepReports is how long the report of a gateway is kept at least after the gateway made it.
const KeepReports = 24 * time.Hour

// OtherBytes is the refusal of a version that is known with another checksum.
func OtherBytes(v core.PluginVersion) error {
	return core.Errorf(core.KindConflict,
		"version %s of the plugin %s is known with another checksum than %s; give a changed executable a version of its own",
		v.Version, v.Plugin, v.SHA256)
}

// VersionInUse is the refusal to remove a version that is active, or part of an open rollout; nil if it is neither:
// then open is 0.
func VersionInUse(plugin, version string, active bool, open int64) error {
	switch {
	case open != 0:
		return core.Errorf(core.KindConflict, "version %s of the plugin %s is part of the open rollout %d; end that first",
			version, plugin, open)
	case active:
		return core.Errorf(core.KindConflict, "version %s of the plugin %s is the active one; roll out another one first",
			version, plugin)
	}
	return nil
}

// CannotBegin is the refusal to begin a rollout of a plugin with an active version ("": none) and an open rollout
// (0: none); nil if neither speaks against it.
func CannotBegin(r core.Rollout, active string, open int64) error {
	switch {
	case open != 0:
		return core.Errorf(core.KindConflict, "the plugin %s has the open rollout %d; end that first", r.Plugin, open)
	case active == "":
		return core.Errorf(core.KindConflict, "the plugin %s has no active version to roll out from", r.Plugin)
	case active != r.From:
		return core.Errorf(core.KindConflict, "the active version of the plugin %s is %s, not %s; begin from that one",
			r.Plugin, active, r.From)
	}
	return nil
}

// CannotUse is the refusal to begin a rollout to a version of which this is known (nil: nothing); nil if nothing speaks
// against it. Force lets a quarantine pass.
func CannotUse(r core.Rollout, known *core.PluginVersion, force bool) error {
	switch {
	case known == nil:
		return core.Errorf(core.KindConflict, "version %s of the plugin %s is not registered; install it first", r.To, r.Plugin)
	case known.SHA256 != r.SHA256:
		return OtherBytes(core.PluginVersion{Plugin: r.Plugin, Version: r.To, SHA256: r.SHA256})
	case !known.RemovedAt.IsZero():
		return core.Errorf(core.KindConflict, "version %s of the plugin %s was removed; install it again first", r.To, r.Plugin)
	case known.Quarantine != "" && !force:
		return core.Errorf(core.KindConflict, "version %s of the plugin %s is in quarantine: %s. Use force to roll it out all the same",
			r.To, r.Plugin, known.Quarantine)
	}
	return nil
}

// HasEnded is the refusal to change a rollout that has ended.
func HasEnded(r core.Rollout) error {
	return core.Errorf(core.KindConflict, "rollout %d of the plugin %s has ended; begin another one", r.ID, r.Plugin)
}
