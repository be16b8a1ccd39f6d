package postgres

import (
	"cmp"
	"context"
	"encoding/json"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// openRollout is the condition of the index that holds the open rollouts.
const openRollout = "state NOT IN ('promoted', 'rolled_back')"

const rolloutColumns = "id, plugin, from_version, to_version, sha256, plan, state, step, since, paused, reason, baseline, actor, " +
	"revision, created_at, updated_at"

const reportColumns = "gateway, rollout_id, reported_at, revision, ready, waiting, problem, old_figures, new_figures, innocent, exclusive, gap_ms"

func readRollout(r *row) core.Rollout {
	o := core.Rollout{ID: r.int(), Plugin: r.text(), From: r.text(), To: r.text(), SHA256: r.text()}
	r.json(&o.Plan)
	o.State, o.Step, o.Since = core.RolloutState(r.text()), int(r.int()), r.time()
	o.Paused, o.Reason = r.bool(), r.text()
	r.json(&o.Baseline)
	o.Actor, o.Revision, o.CreatedAt, o.UpdatedAt = r.text(), r.int(), r.time(), r.time()
	return o
}

func readRolloutEvent(r *row) core.RolloutEvent {
	e := core.RolloutEvent{
		Rollout: r.int(), At: r.time(), State: core.RolloutState(r.text()), Share: r.float(), Paused: r.bool(),
		Actor: r.text(), Reason: r.text(),
	}
	r.json(&e.Old)
	r.json(&e.New)
	return e
}

func readReport(r *row) core.RolloutReport {
	p := core.RolloutReport{
		Gateway: r.text(), Rollout: r.int(), At: r.time(), Revision: r.int(), Ready: r.bool(), Waiting: r.text(), Problem: r.text(),
	}
	r.json(&p.Old)
	r.json(&p.New)
	p.Innocent, p.Exclusive, p.Gap = r.bool(), r.bool(), time.Duration(r.int())*time.Millisecond
	return p
}

// figuresJSON is what a version did as JSON text, NULL for nil.
func figuresJSON(f *core.VersionFigures) *string {
	if f == nil {
		return nil
	}
	b, err := json.Marshal(f)
	if err != nil {
		panic(err) // whole numbers always have a JSON form
	}
	return new(string(b))
}

// Activate implements store.Rollouts.
func (s *Store) Activate(ctx context.Context, plugin, version string) (string, error) {
	const what = "activate a version of a plugin"
	_, err := exec(ctx, s.pool, "INSERT INTO plugins (name, active_version) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", plugin, version)
	if err != nil {
		return "", unknown(what, err)
	}
	var active string
	_, err = first(ctx, s.pool, func(r *row) { active = r.text() }, "SELECT active_version FROM plugins WHERE name = $1", plugin)
	return active, explain(what, err)
}

// changeArgs are the parameters that a new rollout and a change of one have in common: $1 to $13 are the rollout, $14
// to $21 the event, $22 is the active version.
func changeArgs(r core.Rollout, e core.RolloutEvent, more ...any) ([]any, error) {
	plan, err := json.Marshal(r.Plan)
	args := []any{
		r.Plugin, r.From, r.To, r.SHA256, string(plan), string(r.State), r.Step, at(r.Since), r.Paused, orNull(r.Reason),
		figuresJSON(r.Baseline), r.Actor, at(r.UpdatedAt),
		at(e.At), string(e.State), e.Share, e.Paused, e.Actor, orNull(e.Reason), figuresJSON(e.Old), figuresJSON(e.New),
		r.Active(),
	}
	return append(args, more...), err
}

// withChange is what comes with every change of a rollout, which the expression changed makes.
const withChange = `active AS (
		UPDATE plugins p SET active_version = $22 FROM changed WHERE p.name = changed.plugin AND p.active_version <> $22
	), event AS (
		INSERT INTO plugin_rollout_events (rollout_id, happened_at, state, share, paused, actor, reason, old_figures, new_figures)
		SELECT id, $14, $15, $16, $17, $18, $19, $20, $21 FROM changed
	)`

// beginRollout takes the lock of the plugin first, as advanceRollout does: else the active version could change while
// the insert waits for the end of the rollout before. The lock of the version keeps it from being removed meanwhile.
const beginRollout = `WITH plugin AS (
		SELECT name FROM plugins WHERE name = $1 AND active_version = $2 FOR UPDATE
	), version AS (
		SELECT plugin FROM plugin_versions WHERE plugin = (SELECT name FROM plugin) AND version = $3 AND sha256 = $4
			AND removed_at IS NULL AND ($24 OR quarantine IS NULL) FOR UPDATE
	), changed AS (
		INSERT INTO plugin_rollouts (plugin, from_version, to_version, sha256, plan, state, step, since, paused, reason, baseline, actor,
			updated_at, created_at, revision)
		SELECT plugin, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $23, 1 FROM version
		RETURNING ` + rolloutColumns + `
	), pardoned AS (
		UPDATE plugin_versions v SET quarantine = NULL FROM changed
		WHERE v.plugin = changed.plugin AND v.sha256 = changed.sha256 AND v.quarantine IS NOT NULL
	), ` + withChange + ` SELECT ` + rolloutColumns + ` FROM changed`

// BeginRollout implements store.Rollouts.
func (s *Store) BeginRollout(ctx context.Context, r core.Rollout, event core.RolloutEvent, force bool) (core.Rollout, error) {
	const what = "begin a rollout"
	args, err := changeArgs(r, event, at(r.CreatedAt), force)
	if err != nil {
		return core.Rollout{}, explain(what, err)
	}
	var begun core.Rollout
	found, err := first(ctx, s.pool, func(row *row) { begun = readRollout(row) }, beginRollout, args...)
	if err == nil && !found || isCode(err, codeUniqueViolation) {
		return core.Rollout{}, explain(what, s.whyNotBegun(ctx, r, force))
	}
	if err != nil {
		return core.Rollout{}, unknown(what, err)
	}
	return begun, nil
}

// whyNotBegun looks at what refused a rollout, which may be over by now.
func (s *Store) whyNotBegun(ctx context.Context, r core.Rollout, force bool) error {
	var active string
	var open int64
	var known *core.PluginVersion
	err := s.snapshot(ctx, reading{
		each: func(row *row) { active, open = row.text(), row.int() },
		sql: `SELECT active_version, (SELECT id FROM plugin_rollouts WHERE plugin = name AND ` + openRollout + `)
			FROM plugins WHERE name = $1`,
		args: []any{r.Plugin},
	}, reading{
		each: func(row *row) { known = new(readVersion(row)) },
		sql:  "SELECT " + versionColumns + " FROM plugin_versions WHERE plugin = $1 AND version = $2",
		args: []any{r.Plugin, r.To},
	})
	if err != nil {
		return err
	}
	if refused := cmp.Or(store.CannotBegin(r, active, open), store.CannotUse(r, known, force)); refused != nil {
		return refused
	}
	return core.Errorf(core.KindConflict, "another rollout of the plugin %s has just ended; try again", r.Plugin)
}

const advanceRollout = `WITH plugin AS (
		SELECT name FROM plugins WHERE name = $1 FOR UPDATE
	), changed AS (
		UPDATE plugin_rollouts r SET from_version = $2, to_version = $3, sha256 = $4, plan = $5, state = $6, step = $7, since = $8, paused = $9,
			reason = $10, baseline = $11, actor = $12, updated_at = $13, revision = r.revision + 1
		FROM plugin WHERE r.id = $23 AND r.plugin = plugin.name AND r.revision = $24 AND r.` + openRollout + `
		RETURNING r.id, r.plugin
	), condemned AS (
		UPDATE plugin_versions v SET quarantine = $25 FROM changed
		WHERE $25::text IS NOT NULL AND v.plugin = changed.plugin AND v.sha256 = $4
	), ` + withChange + ` SELECT id FROM changed`

// AdvanceRollout implements store.Rollouts.
func (s *Store) AdvanceRollout(ctx context.Context, r core.Rollout, event core.RolloutEvent, quarantine string) (bool, error) {
	const what = "advance a rollout"
	args, err := changeArgs(r, event, r.ID, r.Revision, orNull(quarantine))
	if err != nil {
		return false, explain(what, err)
	}
	advanced, err := first(ctx, s.pool, func(*row) {}, advanceRollout, args...)
	if err != nil {
		return false, unknown(what, err)
	}
	if !advanced {
		return false, explain(what, s.whyNotAdvanced(ctx, r))
	}
	return true, nil
}

// whyNotAdvanced tells a rollout that somebody else has advanced, which is no error, from one that cannot be.
func (s *Store) whyNotAdvanced(ctx context.Context, r core.Rollout) error {
	var revision int64
	found, err := first(ctx, s.pool, func(row *row) { revision = row.int() },
		"SELECT revision FROM plugin_rollouts WHERE id = $1 AND plugin = $2", r.ID, r.Plugin)
	if err == nil && found && revision == r.Revision {
		return store.HasEnded(r)
	}
	return notFoundUnless(found, "rollout", err)
}

// reading is a query and what becomes of its rows.
type reading struct {
	each func(*row)
	sql  string
	args []any
}

// snapshot runs queries that all see the same commit, in one round trip.
func (s *Store) snapshot(ctx context.Context, readings ...reading) error {
	return s.together(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY", readings...)
}

// together runs queries in one transaction and one round trip.
func (s *Store) together(ctx context.Context, begin string, readings ...reading) error {
	batch := &pgx.Batch{}
	batch.Queue(begin)
	for _, r := range readings {
		batch.Queue(r.sql, r.args...)
	}
	batch.Queue("COMMIT")
	results := s.pool.SendBatch(ctx, batch)
	_, err := results.Exec()
	for _, r := range readings {
		if err == nil {
			err = eachResult(results, func(row *row) error {
				r.each(row)
				return nil
			})
		}
	}
	if closed := results.Close(); err == nil {
		err = closed
	}
	return err
}

// RolloutsState implements store.Rollouts.
func (s *Store) RolloutsState(ctx context.Context, since time.Time) (store.RolloutsState, error) {
	state := store.RolloutsState{Active: map[string]string{}}
	err := s.snapshot(ctx, reading{
		each: func(r *row) { state.Active[r.text()] = r.text() },
		sql:  "SELECT name, active_version FROM plugins",
	}, reading{
		each: func(r *row) { state.Open = append(state.Open, readRollout(r)) },
		sql:  "SELECT " + rolloutColumns + " FROM plugin_rollouts WHERE " + openRollout + " ORDER BY id",
	}, reading{
		each: func(r *row) { state.Reports = append(state.Reports, readReport(r)) },
		sql: `SELECT ` + reportColumns + `
			FROM gateway_reports WHERE reported_at >= $1 ORDER BY rollout_id, gateway`,
		args: []any{since.Truncate(time.Millisecond)},
	})
	return state, explain("read the state of rollouts", err)
}

// storeReport also forgets old reports. It passes over those that another gateway is forgetting, or renewing, so that
// no two wait for each other.
const storeReport = `WITH forgotten AS (
		DELETE FROM gateway_reports WHERE (gateway, rollout_id) IN (
			SELECT gateway, rollout_id FROM gateway_reports
			WHERE reported_at < $10 AND (gateway, rollout_id) <> ($1, $2) FOR UPDATE SKIP LOCKED)
	) INSERT INTO gateway_reports (` + reportColumns + `) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $11, $12, $13)
	ON CONFLICT (gateway, rollout_id) DO UPDATE SET reported_at = EXCLUDED.reported_at, revision = EXCLUDED.revision,
		ready = EXCLUDED.ready, waiting = EXCLUDED.waiting, problem = EXCLUDED.problem, old_figures = EXCLUDED.old_figures, new_figures = EXCLUDED.new_figures,
		innocent = EXCLUDED.innocent, exclusive = EXCLUDED.exclusive, gap_ms = EXCLUDED.gap_ms`

// ReportRollout implements store.Rollouts.
func (s *Store) ReportRollout(ctx context.Context, r core.RolloutReport) error {
	_, err := exec(ctx, s.pool, storeReport, r.Gateway, r.Rollout, at(r.At), r.Revision, r.Ready, orNull(r.Waiting), orNull(r.Problem),
		figuresJSON(&r.Old), figuresJSON(&r.New), at(r.At.Add(-store.KeepReports)), r.Innocent, r.Exclusive, r.Gap.Milliseconds())
	return unknown("store a report on a rollout", err)
}

// Rollouts implements store.RolloutHistory.
func (s *Store) Rollouts(ctx context.Context, plugin string, before int64, limit int) ([]core.Rollout, error) {
	var rollouts []core.Rollout
	err := each(ctx, s.pool, func(r *row) error {
		rollouts = append(rollouts, readRollout(r))
		return nil
	}, "SELECT "+rolloutColumns+` FROM plugin_rollouts WHERE plugin = $1 AND ($2::bigint IS NULL OR id < $2)
		ORDER BY id DESC LIMIT $3`, plugin, orNull(before), limit)
	return rollouts, explain("list rollouts", err)
}

// Rollout implements store.RolloutHistory.
func (s *Store) Rollout(ctx context.Context, plugin string, id int64) (core.Rollout, []core.RolloutEvent, error) {
	var rollout core.Rollout
	var events []core.RolloutEvent
	err := s.snapshot(ctx, reading{
		each: func(r *row) { rollout = readRollout(r) },
		sql:  "SELECT " + rolloutColumns + " FROM plugin_rollouts WHERE id = $1 AND plugin = $2",
		args: []any{id, plugin},
	}, reading{
		each: func(r *row) { events = append(events, readRolloutEvent(r)) },
		sql: `SELECT rollout_id, happened_at, state, share::text, paused, actor, reason, old_figures, new_figures
			FROM plugin_rollout_events WHERE rollout_id = $1 ORDER BY id`,
		args: []any{id},
	})
	if err := notFoundUnless(rollout.ID != 0, "rollout", explain("read a rollout", err)); err != nil {
		return core.Rollout{}, nil, err
	}
	return rollout, events, nil
}
