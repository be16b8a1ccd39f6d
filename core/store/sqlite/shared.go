package sqlite

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

func readShared(v *core.SharedValue) func(*row) {
	return func(r *row) { v.Value, v.Expires, v.Revision = r.blob(), r.time(), r.int() }
}

// LookShared implements store.SharedValues.
func (s *Store) LookShared(ctx context.Context, plugin, name string, look core.SharedLook) (core.SharedValue, error) {
	const what = "look at a shared value of a plugin"
	v, good, err := s.sharedValue(ctx, what, plugin, name, look)
	if err != nil || good {
		return v, err
	}
	err = s.write(ctx, what, 1, func(c conn) (err error) {
		v.Renew, err = c.prepare(`INSERT INTO plugin_values AS v (plugin, name, value, revision, leased_until) VALUES (?1, ?2, x'', 1, ?5)
			ON CONFLICT (plugin, name) DO UPDATE SET revision = v.revision + 1, leased_until = excluded.leased_until
			WHERE IFNULL(v.expires_at, 0) <= ?4 AND IFNULL(v.leased_until, 0) <= ?3
			RETURNING value, expires_at, revision`).
			text(plugin).text(name).time(look.Now).time(look.Now.Add(look.Ahead)).time(look.Now.Add(look.Lease)).first(readShared(&v))
		return err
	})
	if err != nil || v.Renew {
		return v, err
	}
	v, _, err = s.sharedValue(ctx, what, plugin, name, look) // somebody else was faster
	return v, err
}

// sharedValue reads a value and says whether it is good enough, or being renewed.
func (s *Store) sharedValue(ctx context.Context, what, plugin, name string, look core.SharedLook) (core.SharedValue, bool, error) {
	var v core.SharedValue
	good := false
	err := s.read(ctx, what, func(c conn) error {
		_, err := c.prepare(`SELECT value, expires_at, revision, IFNULL(expires_at, 0) > ?4 OR IFNULL(leased_until, 0) > ?3
			FROM plugin_values WHERE plugin = ?1 AND name = ?2`).
			text(plugin).text(name).time(look.Now).time(look.Now.Add(look.Ahead)).first(func(r *row) {
			readShared(&v)(r)
			good = r.bool()
		})
		return err
	})
	return v, good, err
}

// KeepShared implements store.SharedValues.
func (s *Store) KeepShared(ctx context.Context, plugin, name string, v core.SharedValue) error {
	return s.write(ctx, "keep a shared value of a plugin", 1, func(c conn) error {
		kept, err := c.prepare(`UPDATE plugin_values SET value = ?, expires_at = ?, leased_until = NULL
			WHERE plugin = ? AND name = ? AND revision = ?`).
			blob(v.Value).time(v.Expires).text(plugin).text(name).int(v.Revision).run()
		if err != nil || kept == 0 {
			return err
		}
		_, err = c.prepare("DELETE FROM plugin_values WHERE MAX(IFNULL(expires_at, 0), IFNULL(leased_until, 0)) BETWEEN 1 AND ?").
			time(v.Expires.Add(-core.MaxSharedLife - store.SharedKept)).run()
		return err
	})
}

// DropShared implements store.SharedValues.
func (s *Store) DropShared(ctx context.Context, plugin, name string, revision int64) error {
	return s.write(ctx, "drop a shared value of a plugin", 1, func(c conn) error {
		_, err := c.prepare(`UPDATE plugin_values SET expires_at = NULL, leased_until = NULL
			WHERE plugin = ? AND name = ? AND revision = ?`).text(plugin).text(name).int(revision).run()
		return err
	})
}
