package postgres

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
	v, good, err := s.sharedValue(ctx, plugin, name, look)
	if err != nil || good {
		return v, explain(what, err)
	}
	v.Renew, err = first(ctx, s.pool, readShared(&v), `INSERT INTO plugin_values AS v (plugin, name, value, revision, leased_until) VALUES ($1, $2, '', 1, $5)
		ON CONFLICT (plugin, name) DO UPDATE SET revision = v.revision + 1, leased_until = EXCLUDED.leased_until
		WHERE COALESCE(v.expires_at, '-infinity') <= $4 AND COALESCE(v.leased_until, '-infinity') <= $3
		RETURNING value, expires_at, revision`,
		plugin, name, at(look.Now), at(look.Now.Add(look.Ahead)), at(look.Now.Add(look.Lease)))
	if err != nil || v.Renew {
		return v, unknown(what, err)
	}
	v, _, err = s.sharedValue(ctx, plugin, name, look) // somebody else was faster
	return v, explain(what, err)
}

// sharedValue reads a value and says whether it is good enough, or being renewed.
func (s *Store) sharedValue(ctx context.Context, plugin, name string, look core.SharedLook) (core.SharedValue, bool, error) {
	var v core.SharedValue
	good := false
	_, err := first(ctx, s.pool, func(r *row) {
		readShared(&v)(r)
		good = r.bool()
	}, `SELECT value, expires_at, revision, COALESCE(expires_at > $4, false) OR COALESCE(leased_until > $3, false)
		FROM plugin_values WHERE plugin = $1 AND name = $2`, plugin, name, at(look.Now), at(look.Now.Add(look.Ahead)))
	return v, good, err
}

// KeepShared implements store.SharedValues.
func (s *Store) KeepShared(ctx context.Context, plugin, name string, v core.SharedValue) error {
	const what = "keep a shared value of a plugin"
	n, err := exec(ctx, s.pool, `UPDATE plugin_values SET value = $1, expires_at = $2, leased_until = NULL
		WHERE plugin = $3 AND name = $4 AND revision = $5`, v.Value, at(v.Expires), plugin, name, v.Revision)
	if err != nil || n == 0 {
		return unknown(what, err)
	}
	_, err = exec(ctx, s.pool, "DELETE FROM plugin_values WHERE GREATEST(expires_at, leased_until) < $1", at(v.Expires.Add(-core.MaxSharedLife-store.SharedKept)))
	return unknown(what, err)
}

// DropShared implements store.SharedValues.
func (s *Store) DropShared(ctx context.Context, plugin, name string, revision int64) error {
	_, err := exec(ctx, s.pool, `UPDATE plugin_values SET expires_at = NULL, leased_until = NULL
		WHERE plugin = $1 AND name = $2 AND revision = $3`, plugin, name, revision)
	return unknown("drop a shared value of a plugin", err)
}
