package sqlite

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
	found := false
	err := s.write(ctx, "register a version of a plugin", 1, func(c conn) (err error) {
		// A version of bytes that are in quarantine already is too, whatever it is called.
		found, err = c.prepare(`INSERT INTO plugin_versions (plugin, version, sha256, first_seen, quarantine)
			VALUES (?1, ?2, ?3, ?4, (SELECT MAX(quarantine) FROM plugin_versions WHERE plugin = ?1 AND sha256 = ?3))
			ON CONFLICT (plugin, version) DO UPDATE SET removed_at = CASE WHEN removed_at >= ?5 THEN removed_at END
			WHERE sha256 = excluded.sha256 RETURNING ` + versionColumns).
			text(v.Plugin).text(v.Version).text(v.SHA256).time(v.FirstSeen).time(v.InstalledAt).
			first(func(r *row) { known = readVersion(r) })
		return err
	})
	if err == nil && !found {
		err = store.OtherBytes(v)
	}
	return known, err
}

// PluginVersions implements store.PluginVersions.
func (s *Store) PluginVersions(ctx context.Context, plugin string) ([]core.PluginVersion, error) {
	var versions []core.PluginVersion
	err := s.read(ctx, "list versions of plugins", func(c conn) error {
		return c.prepare("SELECT " + versionColumns + ` FROM plugin_versions WHERE ?1 IS NULL OR plugin = ?1
			ORDER BY plugin, first_seen, id`).textOrNull(plugin).each(func(r *row) error {
			versions = append(versions, readVersion(r))
			return nil
		})
	})
	return versions, err
}

// quarantine gives all versions with the bytes of a rollout's new one a reason not to be rolled out; "" takes it away.
func quarantine(c conn, r core.Rollout, reason string) error {
	_, err := c.prepare("UPDATE plugin_versions SET quarantine = ? WHERE plugin = ? AND sha256 = ?").
		textOrNull(reason).text(r.Plugin).text(r.SHA256).run()
	return err
}

// RemoveVersion implements store.PluginVersions.
func (s *Store) RemoveVersion(ctx context.Context, plugin, version string, now time.Time) error {
	var refused error
	err := s.write(ctx, "remove a version of a plugin", 1, func(c conn) error {
		active, open, err := standing(c, plugin)
		if err != nil {
			return err
		}
		refused = store.VersionInUse(plugin, version, active == version, open.with(version))
		if refused == nil {
			refused, err = markRemoved(c, plugin, version, now)
		}
		return err
	})
	if err != nil {
		return err
	}
	return refused
}

func markRemoved(c conn, plugin, version string, now time.Time) (refused, err error) {
	n, err := c.prepare("UPDATE plugin_versions SET removed_at = IFNULL(removed_at, ?) WHERE plugin = ? AND version = ?").
		time(now).text(plugin).text(version).run()
	return notFoundUnless(n > 0, "version of the plugin", nil), err
}
