package sqlite

import (
	"context"

	"github.com/pigeonry/pigeonry/core/store"
)

// Tuned implements store.Tuning.
func (s *Store) Tuned(ctx context.Context) (store.Tuned, error) {
	var rows store.Tuned
	err := s.read(ctx, "read what is tuned", func(c conn) error {
		return c.snapshot(func() (err error) {
			rows, err = readTuned(c)
			return err
		})
	})
	return rows, err
}

func readTuned(c conn) (store.Tuned, error) {
	var t store.Tuned
	err := c.prepare(`SELECT pool_name, core_pool_size, max_pool_size, scale_up_threshold, scale_down_threshold, queue_size, file_value
		FROM thread_pool_configs ORDER BY pool_name`).each(func(r *row) error {
		t.Pools = append(t.Pools, store.PoolConfig{
			Name: r.text(), CoreSize: int(r.int()), MaxSize: int(r.int()), ScaleUpThreshold: r.float(),
			ScaleDownThreshold: r.float(), QueueSize: int(r.int()), File: r.text(),
		})
		return nil
	})
	if err != nil {
		return t, err
	}
	return t, c.prepare(`SELECT id, resource, limit_type, dimension, max_value, window_seconds, file_value
		FROM rate_limit_configs ORDER BY id`).each(func(r *row) error {
		t.Limits = append(t.Limits, store.LimitConfig{
			ID: r.int(), Resource: r.text(), Type: r.text(), Dimension: r.text(), Max: r.float(),
			WindowSeconds: r.float(), File: r.text(),
		})
		return nil
	})
}

// Declare implements store.Tuning.
func (s *Store) Declare(ctx context.Context, file store.Tuned) (store.Tuned, error) {
	var rows store.Tuned
	err := s.write(ctx, "store what the configuration file says", len(file.Pools)+len(file.Limits), func(c conn) (err error) {
		if rows, err = readTuned(c); err != nil {
			return err
		}
		changes := file.Changes(rows)
		if changes.Empty() {
			return nil
		}
		if err := writeTuned(c, &changes); err != nil {
			return err
		}
		rows, err = readTuned(c)
		return err
	})
	return rows, err
}

func writeTuned(c conn, changes *store.TuningChanges) error {
	for _, name := range changes.DropPools {
		if _, err := c.prepare("DELETE FROM thread_pool_configs WHERE pool_name = ?").text(name).run(); err != nil {
			return err
		}
	}
	for _, id := range changes.DropLimits {
		if _, err := c.prepare("DELETE FROM rate_limit_configs WHERE id = ?").int(id).run(); err != nil {
			return err
		}
	}
	for _, p := range changes.InsertPools {
		_, err := c.prepare(`INSERT INTO thread_pool_configs (pool_name, core_pool_size, max_pool_size, scale_up_threshold,
			scale_down_threshold, queue_size, file_value) VALUES (?, ?, ?, ?, ?, ?, ?)`).
			text(p.Name).int(int64(p.CoreSize)).int(int64(p.MaxSize)).float(p.ScaleUpThreshold).
			float(p.ScaleDownThreshold).int(int64(p.QueueSize)).textOrNull(p.File).run()
		if err != nil {
			return err
		}
	}
	for _, l := range changes.InsertLimits {
		_, err := c.prepare(`INSERT INTO rate_limit_configs (id, resource, limit_type, dimension, max_value, window_seconds,
			file_value) VALUES (?, ?, ?, ?, ?, ?, ?)`).
			intOrNull(l.ID).text(l.Resource).text(l.Type).text(l.Dimension).float(l.Max).float(l.WindowSeconds).
			textOrNull(l.File).run()
		if err != nil {
			return err
		}
	}
	return nil
}
