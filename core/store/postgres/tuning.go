package postgres

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core/store"
)

// readTuned reads both tables in one statement, so that it costs one round trip.
const readTuned = `SELECT 'pool', 0::bigint, pool_name, '', '', core_pool_size, max_pool_size, queue_size, scale_up_threshold::text, scale_down_threshold::text,
		COALESCE(file_value, '') FROM thread_pool_configs
	UNION ALL
	SELECT 'limit', id, resource, limit_type, dimension, 0, 0, 0, max_value::text, window_seconds::text, COALESCE(file_value, '') FROM rate_limit_configs
	ORDER BY 1, 2, 3`

// Tuned implements store.Tuning.
func (s *Store) Tuned(ctx context.Context) (store.Tuned, error) {
	t, err := tuned(ctx, s.pool)
	return t, explain("read what is tuned", err)
}

func tuned(ctx context.Context, q querier) (store.Tuned, error) {
	var t store.Tuned
	err := each(ctx, q, func(r *row) error {
		kind, id, name, limitType, dimension := r.text(), r.int(), r.text(), r.text(), r.text()
		core, most, queue := int(r.int()), int(r.int()), int(r.int())
		a, b, file := r.float(), r.float(), r.text()
		if kind == "pool" {
			t.Pools = append(t.Pools, store.PoolConfig{
				Name: name, CoreSize: core, MaxSize: most, QueueSize: queue, ScaleUpThreshold: a, ScaleDownThreshold: b, File: file,
			})
			return nil
		}
		t.Limits = append(t.Limits, store.LimitConfig{
			ID: id, Resource: name, Type: limitType, Dimension: dimension, Max: a, WindowSeconds: b, File: file,
		})
		return nil
	}, readTuned)
	return t, err
}

// Declare implements store.Tuning.
func (s *Store) Declare(ctx context.Context, file store.Tuned) (store.Tuned, error) {
	var t store.Tuned
	err := s.tx(ctx, "write what the configuration file says", func(tx pgx.Tx) error {
		// Gateways that declare at the same time take turns; those who only read are not held up.
		if _, err := exec(ctx, tx, "LOCK TABLE thread_pool_configs, rate_limit_configs IN SHARE ROW EXCLUSIVE MODE"); err != nil {
			return err
		}
		rows, err := tuned(ctx, tx)
		if err != nil {
			return err
		}
		if c := file.Changes(rows); !c.Empty() {
			if err := writeTuning(ctx, tx, &c); err != nil {
				return err
			}
		}
		t, err = tuned(ctx, tx)
		return err
	})
	return t, err
}

func writeTuning(ctx context.Context, tx pgx.Tx, c *store.TuningChanges) error {
	batch := &pgx.Batch{}
	batch.Queue("DELETE FROM thread_pool_configs WHERE pool_name = ANY($1)", append([]string{}, c.DropPools...))
	batch.Queue("DELETE FROM rate_limit_configs WHERE id = ANY($1)", append([]int64{}, c.DropLimits...))
	for _, p := range c.InsertPools {
		batch.Queue(`INSERT INTO thread_pool_configs (pool_name, core_pool_size, max_pool_size, scale_up_threshold, scale_down_threshold,
			queue_size, file_value) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			p.Name, p.CoreSize, p.MaxSize, p.ScaleUpThreshold, p.ScaleDownThreshold, p.QueueSize, orNull(p.File))
	}
	for _, l := range c.InsertLimits {
		columns, values := "resource, limit_type, dimension, max_value, window_seconds, file_value", "$1, $2, $3, $4, $5, $6"
		args := []any{l.Resource, l.Type, l.Dimension, l.Max, l.WindowSeconds, orNull(l.File)}
		if l.ID != 0 {
			columns, values, args = columns+", id", values+", $7", append(args, l.ID)
		}
		batch.Queue("INSERT INTO rate_limit_configs ("+columns+") VALUES ("+values+")", args...)
	}
	return tx.SendBatch(ctx, batch).Close()
}
