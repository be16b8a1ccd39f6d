package postgres

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const versionColumns = "plugin, version, sha256, first_seen, quarantine, removed_at"

func readVersion(r *row) core.PluginVersion {
	return core.PluginVersion{
		Plugin: r.text(), Version: r.text(), SHA256: r.text(), FirstSeen: r.time(), Quarantine: r.text(), RemovedAt: r.time(),
	}
}

// RegisterVersion implements store.PluginVersions.
func (s *Store) RegisterVersion(ctx context.Context, v core.PluginVersion) (core.PluginVersion, error) {
	var known core.PluginVersion
	// A version of bytes that are in quarantine already is too, whatever it is called.
	found, err := first(ctx, s.pool, func(r *row) { known = readVersion(r) }, `INSERT INTO plugin_versions AS v (plugin, version, sha256, first_seen, quarantine)
		VALUES ($1, $2, $3, $4, (SELECT max(quarantine) FROM plugin_versions WHERE plugin = $1 AND sha256 = $3))
		ON CONFLICT (plugin, version) DO UPDATE SET removed_at = CASE WHEN v.removed_at >= $5 THEN v.removed_at END
		WHERE v.sha256 = EXCLUDED.sha256 RETURNING `+versionColumns, v.Plugin, v.Version, v.SHA256, at(v.FirstSeen), at(v.InstalledAt))
	if err == nil && !found {
		return known, store.OtherBytes(v)
	}
	return known, unknown("register a version of a plugin", err)
}

// PluginVersions implements store.PluginVersions.
func (s *Store) PluginVersions(ctx context.Context, plugin string) ([]core.PluginVersion, error) {
	var versions []core.PluginVersion
	err := each(ctx, s.pool, func(r *row) error {
		versions = append(versions, readVersion(r))
		return nil
	}, "SELECT "+versionColumns+` FROM plugin_versions WHERE $1::text IS NULL OR plugin = $1
		ORDER BY plugin, first_seen, id`, orNull(plugin))
	return versions, explain("list versions of plugins", err)
}

// lockVersion keeps a rollout to the version from beginning, and waits for one that begins.
const lockVersion = "SELECT FROM plugin_versions WHERE plugin = $1 AND version = $2 FOR UPDATE"

// removeVersion removes a version unless it is in use, and says how it is.
const removeVersion = `WITH use AS (
		SELECT v.id, EXISTS (SELECT FROM plugins p WHERE p.name = v.plugin AND p.active_version = v.version) AS active,
			(SELECT o.id FROM plugin_rollouts o WHERE o.plugin = v.plugin AND v.version IN (o.from_version, o.to_version)
				AND ` + openRollout + `) AS rollout
		FROM plugin_versions v WHERE v.plugin = $1 AND v.version = $2
	), removed AS (
		UPDATE plugin_versions v SET removed_at = COALESCE(v.removed_at, $3) FROM use
		WHERE v.id = use.id AND NOT use.active AND use.rollout IS NULL
	) SELECT active, rollout FROM use`

// RemoveVersion implements store.PluginVersions.
func (s *Store) RemoveVersion(ctx context.Context, plugin, version string, now time.Time) error {
	found := false
	var refused error
	// The second statement sees what was committed before the lock was had.
	err := s.together(ctx, "BEGIN", reading{
		each: func(*row) {}, sql: lockVersion, args: []any{plugin, version},
	}, reading{
		each: func(r *row) { found, refused = true, store.VersionInUse(plugin, version, r.bool(), r.int()) },
		sql:  removeVersion,
		args: []any{plugin, version, at(now)},
	})
	if err == nil && refused != nil {
		return refused
	}
	return notFoundUnless(found, "version of the plugin", unknown("remove a version of a plugin", err))
}
