package sqlite

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// openRollout is the condition of the index that holds the open rollouts.
const openRollout = "state NOT IN ('promoted', 'rolled_back')"

const rolloutColumns = "id, plugin, from_version, to_version, sha256, plan, state, step, since, paused, reason, baseline, actor, " +
	"revision, created_at, updated_at"

const reportColumns = "gateway, rollout_id, reported_at, revision, ready, waiting, problem, innocent, exclusive, gap_ms, old_figures, new_figures"

func readRollout(r *row) (core.Rollout, error) {
	o := core.Rollout{ID: r.int(), Plugin: r.text(), From: r.text(), To: r.text(), SHA256: r.text()}
	if err := r.json(&o.Plan); err != nil {
		return o, err
	}
	o.State, o.Step, o.Since = core.RolloutState(r.text()), int(r.int()), r.time()
	o.Paused, o.Reason = r.bool(), r.text()
	err := r.json(&o.Baseline)
	o.Actor, o.Revision, o.CreatedAt, o.UpdatedAt = r.text(), r.int(), r.time(), r.time()
	return o, err
}

func readRolloutEvent(r *row) (core.RolloutEvent, error) {
	e := core.RolloutEvent{
		Rollout: r.int(), At: r.time(), State: core.RolloutState(r.text()), Share: r.float(), Paused: r.bool(),
		Actor: r.text(), Reason: r.text(),
	}
	if err := r.json(&e.Old); err != nil {
		return e, err
	}
	return e, r.json(&e.New)
}

func readReport(r *row) (core.RolloutReport, error) {
	p := core.RolloutReport{
		Gateway: r.text(), Rollout: r.int(), At: r.time(), Revision: r.int(), Ready: r.bool(), Waiting: r.text(), Problem: r.text(),
		Innocent: r.bool(), Exclusive: r.bool(), Gap: time.Duration(r.int()) * time.Millisecond,
	}
	if err := r.json(&p.Old); err != nil {
		return p, err
	}
	return p, r.json(&p.New)
}

// figures binds what a version did as JSON, NULL for nil.
func (s *statement) figures(f *core.VersionFigures) *statement {
	if f == nil {
		return s.null()
	}
	return s.object(f)
}

// object binds v as JSON.
func (s *statement) object(v any) *statement {
	b, err := json.Marshal(v)
	if err != nil && s.err == nil {
		s.err = err
	}
	return s.text(string(b))
}

// openStanding is the open rollout of a plugin; id 0: none.
type openStanding struct {
	id       int64
	from, to string
}

// with returns the id of the rollout if a version is part of it.
func (o openStanding) with(version string) int64 {
	if version == o.from || version == o.to {
		return o.id
	}
	return 0
}

// standing returns the active version of a plugin, "" if there is none, and its open rollout.
func standing(c conn, plugin string) (active string, open openStanding, err error) {
	_, err = c.prepare("SELECT active_version FROM plugins WHERE name = ?").text(plugin).
		first(func(r *row) { active = r.text() })
	if err != nil {
		return "", open, err
	}
	_, err = c.prepare("SELECT id, from_version, to_version FROM plugin_rollouts WHERE plugin = ? AND " + openRollout).text(plugin).
		first(func(r *row) { open = openStanding{id: r.int(), from: r.text(), to: r.text()} })
	return active, open, err
}

// Activate implements store.Rollouts.
func (s *Store) Activate(ctx context.Context, plugin, version string) (string, error) {
	var active string
	err := s.write(ctx, "activate a version of a plugin", 1, func(c conn) error {
		_, err := c.prepare("INSERT INTO plugins (name, active_version) VALUES (?, ?) ON CONFLICT (name) DO NOTHING").
			text(plugin).text(version).run()
		if err != nil {
			return err
		}
		active, _, err = standing(c, plugin)
		return err
	})
	return active, err
}

// BeginRollout implements store.Rollouts.
func (s *Store) BeginRollout(ctx context.Context, r core.Rollout, first core.RolloutEvent, force bool) (core.Rollout, error) {
	var begun core.Rollout
	var refused error
	err := s.write(ctx, "begin a rollout", 3, func(c conn) (err error) {
		refused, err = whyNotBegun(c, r, force)
		if refused != nil || err != nil {
			return err
		}
		if err := quarantine(c, r, ""); err != nil {
			return err
		}
		begun, err = insertRollout(c, r, first)
		return err
	})
	if err == nil {
		err = refused
	}
	if err != nil {
		return core.Rollout{}, err
	}
	return begun, nil
}

// whyNotBegun says what speaks against a rollout.
func whyNotBegun(c conn, r core.Rollout, force bool) (refused, err error) {
	active, open, err := standing(c, r.Plugin)
	if err != nil {
		return nil, err
	}
	var known *core.PluginVersion
	_, err = c.prepare("SELECT " + versionColumns + " FROM plugin_versions WHERE plugin = ? AND version = ?").text(r.Plugin).text(r.To).
		first(func(row *row) { known = new(readVersion(row)) })
	return cmp.Or(store.CannotBegin(r, active, open.id), store.CannotUse(r, known, force)), err
}

func insertRollout(c conn, r core.Rollout, first core.RolloutEvent) (core.Rollout, error) {
	var begun core.Rollout
	err := c.prepare(`INSERT INTO plugin_rollouts (plugin, from_version, to_version, sha256, plan, state, step, since, paused, reason,
			baseline, actor, created_at, updated_at, revision) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)
		RETURNING ` + rolloutColumns).
		text(r.Plugin).text(r.From).text(r.To).text(r.SHA256).object(r.Plan).text(string(r.State)).int(int64(r.Step)).
		time(r.Since).bool(r.Paused).textOrNull(r.Reason).figures(r.Baseline).text(r.Actor).time(r.CreatedAt).time(r.UpdatedAt).
		each(func(row *row) (err error) {
			begun, err = readRollout(row)
			return err
		})
	if err != nil {
		return begun, err
	}
	return begun, withChange(c, begun, first)
}

// withChange writes what comes with every change of a rollout.
func withChange(c conn, r core.Rollout, e core.RolloutEvent) error {
	_, err := c.prepare("UPDATE plugins SET active_version = ?1 WHERE name = ?2 AND active_version <> ?1").
		text(r.Active()).text(r.Plugin).run()
	if err != nil {
		return err
	}
	_, err = c.prepare(`INSERT INTO plugin_rollout_events (rollout_id, happened_at, state, share, paused, actor, reason, old_figures,
		new_figures) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)`).
		int(r.ID).time(e.At).text(string(e.State)).float(e.Share).bool(e.Paused).text(e.Actor).textOrNull(e.Reason).
		figures(e.Old).figures(e.New).run()
	return err
}

// AdvanceRollout implements store.Rollouts.
func (s *Store) AdvanceRollout(ctx context.Context, r core.Rollout, event core.RolloutEvent, reason string) (bool, error) {
	advanced := false
	var refused error
	err := s.write(ctx, "advance a rollout", 4, func(c conn) (err error) {
		advanced, refused = false, nil
		n, err := replaceRollout(c, r)
		if err != nil {
			return err
		}
		if n == 0 {
			refused, err = whyNotAdvanced(c, r)
			return err
		}
		advanced = true
		if reason != "" {
			if err := quarantine(c, r, reason); err != nil {
				return err
			}
		}
		return withChange(c, r, event)
	})
	if err == nil {
		err = refused
	}
	return advanced && err == nil, err
}

func replaceRollout(c conn, r core.Rollout) (int, error) {
	return c.prepare(`UPDATE plugin_rollouts SET from_version = ?, to_version = ?, sha256 = ?, plan = ?, state = ?, step = ?, since = ?,
			paused = ?, reason = ?, baseline = ?, actor = ?, updated_at = ?, revision = revision + 1
		WHERE id = ? AND plugin = ? AND revision = ? AND ` + openRollout).
		text(r.From).text(r.To).text(r.SHA256).object(r.Plan).text(string(r.State)).int(int64(r.Step)).time(r.Since).
		bool(r.Paused).textOrNull(r.Reason).figures(r.Baseline).text(r.Actor).time(r.UpdatedAt).
		int(r.ID).text(r.Plugin).int(r.Revision).run()
}

// whyNotAdvanced tells a rollout that somebody else has advanced, which is no error, from one that cannot be.
func whyNotAdvanced(c conn, r core.Rollout) (refused, err error) {
	var revision int64
	found, err := c.prepare("SELECT revision FROM plugin_rollouts WHERE id = ? AND plugin = ?").int(r.ID).text(r.Plugin).
		first(func(row *row) { revision = row.int() })
	if found && revision == r.Revision {
		return store.HasEnded(r), err
	}
	return notFoundUnless(found, "rollout", nil), err
}

// RolloutsState implements store.Rollouts.
func (s *Store) RolloutsState(ctx context.Context, since time.Time) (store.RolloutsState, error) {
	var state store.RolloutsState
	err := s.read(ctx, "read the state of rollouts", func(c conn) error {
		return c.snapshot(func() (err error) {
			state, err = readRolloutsState(c, since)
			return err
		})
	})
	return state, err
}

func readRolloutsState(c conn, since time.Time) (store.RolloutsState, error) {
	state := store.RolloutsState{Active: map[string]string{}}
	err := c.prepare("SELECT name, active_version FROM plugins").each(func(r *row) error {
		state.Active[r.text()] = r.text()
		return nil
	})
	if err != nil {
		return state, err
	}
	// Without the name of the index SQLite would read the whole history, to have it in the order of the ids.
	state.Open, err = readRollouts(c.prepare("SELECT " + rolloutColumns + " FROM plugin_rollouts INDEXED BY plugin_rollouts_open WHERE " +
		openRollout + " ORDER BY id"))
	if err != nil {
		return state, err
	}
	return state, c.prepare("SELECT " + reportColumns + `
		FROM gateway_reports WHERE reported_at >= ? ORDER BY rollout_id, gateway`).int(since.UnixMilli()).each(func(r *row) error {
		report, err := readReport(r)
		state.Reports = append(state.Reports, report)
		return err
	})
}

func readRollouts(query *statement) ([]core.Rollout, error) {
	var rollouts []core.Rollout
	err := query.each(func(r *row) error {
		o, err := readRollout(r)
		rollouts = append(rollouts, o)
		return err
	})
	return rollouts, err
}

// ReportRollout implements store.Rollouts.
func (s *Store) ReportRollout(ctx context.Context, r core.RolloutReport) error {
	return s.write(ctx, "store a report on a rollout", 1, func(c conn) error {
		_, err := c.prepare("DELETE FROM gateway_reports WHERE reported_at < ?").time(r.At.Add(-store.KeepReports)).run()
		if err != nil {
			return err
		}
		_, err = c.prepare("INSERT OR REPLACE INTO gateway_reports (" + reportColumns + ") VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)").
			text(r.Gateway).int(r.Rollout).time(r.At).int(r.Revision).bool(r.Ready).textOrNull(r.Waiting).textOrNull(r.Problem).
			bool(r.Innocent).bool(r.Exclusive).int(r.Gap.Milliseconds()).figures(&r.Old).figures(&r.New).run()
		return err
	})
}

// Rollouts implements store.RolloutHistory.
func (s *Store) Rollouts(ctx context.Context, plugin string, before int64, limit int) ([]core.Rollout, error) {
	var rollouts []core.Rollout
	err := s.read(ctx, "list rollouts", func(c conn) (err error) {
		rollouts, err = readRollouts(c.prepare("SELECT " + rolloutColumns + ` FROM plugin_rollouts
			WHERE plugin = ?1 AND (?2 IS NULL OR id < ?2) ORDER BY id DESC LIMIT ?3`).text(plugin).intOrNull(before).int(int64(limit)))
		return err
	})
	return rollouts, err
}

// Rollout implements store.RolloutHistory.
func (s *Store) Rollout(ctx context.Context, plugin string, id int64) (core.Rollout, []core.RolloutEvent, error) {
	var rollouts []core.Rollout
	var events []core.RolloutEvent
	err := s.read(ctx, "read a rollout", func(c conn) error {
		return c.snapshot(func() (err error) {
			rollouts, err = readRollouts(c.prepare("SELECT " + rolloutColumns + " FROM plugin_rollouts WHERE id = ? AND plugin = ?").
				int(id).text(plugin))
			if err != nil || len(rollouts) == 0 {
				return err
			}
			events, err = readRolloutEvents(c, id)
			return err
		})
	})
	if err := notFoundUnless(len(rollouts) > 0, "rollout", err); err != nil {
		return core.Rollout{}, nil, err
	}
	return rollouts[0], events, nil
}

func readRolloutEvents(c conn, rollout int64) ([]core.RolloutEvent, error) {
	var events []core.RolloutEvent
	err := c.prepare(`SELECT rollout_id, happened_at, state, share, paused, actor, reason, old_figures, new_figures
		FROM plugin_rollout_events WHERE rollout_id = ? ORDER BY id`).int(rollout).each(func(r *row) error {
		e, err := readRolloutEvent(r)
		events = append(events, e)
		return err
	})
	return events, err
}
