package main

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
)

// writers is how many connections write at a time, one for each core of the machine measured.
const writers = 2

// rawTable is what rows are written to. Its key is the one index.
const rawTable = "CREATE TABLE raw (id bigint PRIMARY KEY, account bigint NOT NULL, body text NOT NULL)"

// copyRate copies rows in transactions of a size.
func copyRate(url string, size int) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, d time.Duration) (float64, error) {
		var last atomic.Int64
		body := rowBody()
		return postgresRate(ctx, url, d, rawTable, func(conn *pgx.Conn, _ int) (int, error) {
			id := last.Add(int64(size)) - int64(size)
			rows := pgx.CopyFromSlice(size, func(i int) ([]any, error) {
				return []any{id + int64(i), int64(1), body}, nil
			})
			n, err := conn.CopyFrom(ctx, pgx.Identifier{"raw"}, []string{"id", "account", "body"}, rows)
			return int(n), err
		})
	}
}

// updateRate changes 500 rows of 100,000 in one statement. Each writer has rows of its own.
func updateRate(url string) func(context.Context, time.Duration) (float64, error) {
	const size, share = 500, 50_000
	const fill = rawTable + "; INSERT INTO raw SELECT id, 0, repeat('x', 300) FROM generate_series(0, 99999) AS id"
	const update = `UPDATE raw SET account = new.account FROM unnest($1::bigint[], $2::bigint[]) AS new (id, account)
		WHERE raw.id = new.id`
	return func(ctx context.Context, d time.Duration) (float64, error) {
		var rounds [writers]int64
		return postgresRate(ctx, url, d, fill, func(conn *pgx.Conn, writer int) (int, error) {
			ids, accounts := make([]int64, size), make([]int64, size)
			for i := range ids {
				ids[i] = int64(writer)*share + (rounds[writer]*size+int64(i))%share
				accounts[i] = rounds[writer]
			}
			rounds[writer]++
			done, err := conn.Exec(ctx, update, ids, accounts)
			return int(done.RowsAffected()), err
		})
	}
}

// postgresRate repeats something on a few connections to a database of its own, which is prepared first
// and dropped at the end.
func postgresRate(ctx context.Context, url string, d time.Duration, prepare string, once func(conn *pgx.Conn, writer int) (int, error)) (rate float64, err error) {
	admin, err := pgx.Connect(ctx, url)
	if err != nil {
		return 0, err
	}
	ending := context.WithoutCancel(ctx)
	defer func() { err = errors.Join(err, admin.Close(ending)) }()
	if _, err := admin.Exec(ctx, "CREATE DATABASE raw"); err != nil {
		return 0, err
	}
	defer func() {
		_, dropped := admin.Exec(ending, "DROP DATABASE raw WITH (FORCE)")
		err = errors.Join(err, dropped)
	}()
	conns, err := connect(ctx, url, writers)
	defer func() {
		for _, c := range conns {
			err = errors.Join(err, c.Close(ending))
		}
	}()
	if err != nil {
		return 0, err
	}
	if _, err := conns[0].Exec(ctx, prepare); err != nil {
		return 0, err
	}
	return repeat(ctx, writers, d, func(writer int) (int, error) { return once(conns[writer], writer) })
}

// connect opens connections to the database of the measurement.
func connect(ctx context.Context, url string, n int) (conns []*pgx.Conn, err error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	config.Database = "raw"
	for range n {
		c, err := pgx.ConnectConfig(ctx, config)
		if err != nil {
			return conns, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}
