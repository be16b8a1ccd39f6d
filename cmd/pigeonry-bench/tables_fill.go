package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/pigeonry/pigeonry/core"
)

const (
	filledDays = 30
	// otherAccounts share a fifth of the messages; the account that is asked has the rest.
	otherAccounts = 19
	// fillSize is how many messages a statement makes.
	fillSize = 20_000
)

// filled is what the tables were filled with, as far as one has to know to ask for it.
type filled struct {
	from, until time.Time
	account     int64
	others      []int64
	templates   []int64
	batches     []int64
	batchSize   int
}

// fill is what is to be put into the tables.
type fill struct {
	filled
	url     string
	days    []fillDay
	done    atomic.Int64
	drawn   atomic.Int64 // the percentage that the bar shows
	total   int64
	started time.Time
}

// fillDay are the messages of a day: a batch, then single ones a step of ids apart.
type fillDay struct {
	date    time.Time
	batchID int64
	batch   int
	first   int64 // of the single ones
	step    int64
	singles int
}

// fillTables puts messages that are done into the tables, as many every day.
func fillTables(ctx context.Context, url string, messages int) (_ filled, err error) {
	f := &fill{url: url, total: int64(messages), started: time.Now()}
	f.plan(time.Now().UTC(), messages)
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return filled{}, err
	}
	defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
	if err := f.prepare(ctx, conn); err != nil {
		return filled{}, err
	}
	if err := f.run(ctx); err != nil {
		return filled{}, err
	}
	return f.filled, f.settle(ctx, conn)
}

// plan spreads the messages over the days, of which the last ends now.
func (f *fill) plan(now time.Time, messages int) {
	today := now.Truncate(24 * time.Hour)
	f.from, f.until = today.AddDate(0, 0, 1-filledDays), now
	size := min(batchSize, messages/filledDays/2)
	f.batchSize = size
	for n := range filledDays {
		date := f.from.AddDate(0, 0, n)
		count := messages/filledDays - size
		if n == 0 {
			count += messages % filledDays
		}
		first := int64(core.FirstRecordID(date))
		end := int64(core.FirstRecordID(date.AddDate(0, 0, 1)))
		if n == filledDays-1 {
			end = int64(core.FirstRecordID(now))
		}
		d := fillDay{date: date, batchID: first, batch: size, first: first + int64(size) + 1, singles: count}
		d.step = max(1, (end-d.first)/int64(max(count, 1)))
		f.days = append(f.days, d)
		f.batches = append(f.batches, d.batchID)
	}
}

// prepare makes the partitions of the days, the accounts and the templates.
func (f *fill) prepare(ctx context.Context, conn *pgx.Conn) error {
	for _, d := range f.days {
		for _, table := range partitionedByID() {
			if _, err := conn.Exec(ctx, d.partition(table)); err != nil {
				return err
			}
		}
	}
	err := conn.QueryRow(ctx, "SELECT id FROM accounts WHERE name = 'default'").Scan(&f.account)
	if err != nil {
		return err
	}
	f.others, err = ids(ctx, conn, `INSERT INTO accounts (name, default_region, created_at)
		SELECT 'bench-' || n, 'CN', $1 FROM generate_series(1, $2::int) AS n RETURNING id`, f.from, otherAccounts)
	if err != nil {
		return err
	}
	f.templates, err = ids(ctx, conn, `INSERT INTO message_templates (account_id, name, channel, subject, content, html, variables, status, revision, created_at, updated_at)
		SELECT $1, 'bench-' || n, 'null', '', 'Dear {{name}}', '', '["name"]', 'active', 1, $2, $2 FROM generate_series(1, 5) AS n RETURNING id`, f.account, f.from)
	return err
}

func ids(ctx context.Context, conn *pgx.Conn, query string, args ...any) ([]int64, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[int64])
}

// partitionedByID lists the tables of which a day is a range of ids.
func partitionedByID() []string {
	return []string{"message_contents", "message_attempts", "message_batches", "message_exceptions", "provider_refs", "message_records"}
}

// partition makes the partition of the day, as the gateway would have made it on that day.
func (d fillDay) partition(table string) string {
	storage := ""
	if table == "message_records" {
		storage = " WITH (fillfactor = 40)"
	}
	return fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%d) TO (%d)%s", d.name(table), table,
		core.FirstRecordID(d.date), core.FirstRecordID(d.date.AddDate(0, 0, 1)), storage)
}

func (d fillDay) name(table string) string { return table + d.date.Format("_p20060102") }

// run fills the days, as many at a time as there are writers.
func (f *fill) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	days := make(chan fillDay)
	group.Go(func() error {
		defer close(days)
		for _, d := range f.days {
			select {
			case days <- d:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	for range writers {
		group.Go(func() (err error) {
			conn, err := pgx.Connect(ctx, f.url)
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, conn.Close(context.WithoutCancel(ctx))) }()
			for d := range days {
				if err := f.day(ctx, conn, d); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return group.Wait()
}

func (f *fill) day(ctx context.Context, conn *pgx.Conn, d fillDay) error {
	if err := f.insertBatch(ctx, conn, d); err != nil {
		return err
	}
	for from := 0; from < d.singles; from += fillSize {
		if err := f.insert(ctx, conn, d.first+int64(from)*d.step, d.step, min(fillSize, d.singles-from), 0); err != nil {
			return err
		}
	}
	for _, table := range partitionedByID() { // as autovacuum would have done by now
		if _, err := conn.Exec(ctx, "VACUUM (ANALYZE) "+d.name(table)); err != nil {
			return err
		}
	}
	return nil
}

// insertBatch puts the day's batch before its other messages. Its id is the one before its first message's.
func (f *fill) insertBatch(ctx context.Context, conn *pgx.Conn, d fillDay) error {
	_, err := conn.Exec(ctx, `INSERT INTO message_batches (id, account_id, template_id, accepted, rejected, channel, created_at)
		VALUES ($1, $2, $3, $4, 0, 'null', $5)`, d.batchID, f.account, f.templates[0], d.batch, core.RecordID(d.batchID).Time())
	if err != nil {
		return err
	}
	return f.insert(ctx, conn, d.batchID+1, 1, d.batch, d.batchID)
}

// insert makes n messages, and what goes with them, from an id on.
func (f *fill) insert(ctx context.Context, conn *pgx.Conn, first, step int64, n int, batch int64) error {
	b := &pgx.Batch{}
	last := first + step*int64(n-1)
	b.Queue(insertRecords, first, last, step, batch, f.account, f.others, f.templates, idEpoch())
	b.Queue(insertContents, first, last, step)
	b.Queue(insertExceptions, first, last)
	b.Queue(insertAttempts, first, last)
	if err := conn.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	f.progress(f.done.Add(int64(n)))
	return nil
}

// idEpoch is the time of id 0.
func idEpoch() time.Time { return core.RecordID(0).Time() }

// A message's numbers come from a hash of its id: most of the account, others of the rest; 3 % failed, some after two
// attempts; 100,000 recipients.
const insertRecords = `INSERT INTO message_records (id, account_id, batch_id, template_id, created_at, updated_at, sent_at,
		started_at, finished_at, attempt, budget, segments, lane, priority, status, channel, trace_id, recipient, connector,
		outcome, provider_id, error_code, error_provider_code, error_message, error_fault)
	SELECT id, CASE WHEN $4::bigint > 0 OR h % 5 > 0 THEN $5::bigint ELSE ($6::bigint[])[1 + h / 5 % cardinality($6::bigint[])] END,
		NULLIF($4::bigint, 0), CASE WHEN $4::bigint > 0 THEN ($7::bigint[])[1] WHEN h % 2 = 0 THEN ($7::bigint[])[1 + h / 2 % cardinality($7::bigint[])] END,
		at, at + interval '3 s', CASE WHEN s >= 3 THEN at + interval '40 ms' END,
		at + interval '20 ms', at + interval '40 ms', CASE WHEN s = 0 THEN 2 ELSE 1 END, 5, 1,
		2, 5, CASE WHEN s < 3 THEN 'failed' WHEN s < 4 THEN 'undelivered' WHEN s < 14 THEN 'sent' WHEN s < 19 THEN 'read' ELSE 'delivered' END,
		'null', 'msg_' || lpad(to_hex(id), 16, '0') || substr(md5(id::text), 1, 16),
		'+86139' || lpad((h / 7 % 100000)::text, 8, '0'), 'null/main',
		CASE WHEN s < 3 THEN 'rejected' ELSE 'accepted' END, CASE WHEN s >= 3 THEN id || '.1' END,
		CASE WHEN s < 3 THEN 'invalid_recipient' END, CASE WHEN s < 3 THEN '21' END,
		CASE WHEN s < 3 THEN 'the number is not in use' END, CASE WHEN s < 3 THEN 'message' END
	FROM (SELECT id, abs(hashint8(id)::bigint) AS h, abs(hashint8(id + 1)::bigint) % 100 AS s,
			$8::timestamptz + (id >> 12) * interval '1 ms' AS at
		FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS id) AS m`

const insertContents = `INSERT INTO message_contents (id, metadata, content)
	SELECT id, CASE WHEN id % 2 = 0 THEN json_build_object('order', id::text) END,
		'Dear customer, your order ' || id || ' has been shipped and will arrive tomorrow between 9 and 12. Thank you for your trust.'
	FROM generate_series($1::bigint, $2::bigint, $3::bigint) AS id`

const insertExceptions = `INSERT INTO message_exceptions (account_id, status, id)
	SELECT account_id, status, id FROM message_records WHERE id BETWEEN $1 AND $2 AND status IN ('failed', 'undelivered')`

const insertAttempts = `INSERT INTO message_attempts (record_id, attempt, outcome, late, connector, started_at, finished_at, error_code, error_message, error_fault)
	SELECT id, 1, 'retryable', false, connector, created_at, created_at + interval '10 ms', 'unavailable', 'the provider is busy', 'provider'
	FROM message_records WHERE id BETWEEN $1 AND $2 AND attempt = 2`

// progress draws a bar, which ends with the line.
func (f *fill) progress(done int64) {
	const width = 40
	percent := 100 * done / max(f.total, 1)
	if f.drawn.Swap(percent) == percent {
		return
	}
	bar := int(width * percent / 100)
	rate := float64(done) / time.Since(f.started).Seconds()
	end := ""
	if done >= f.total {
		end = "\n"
	}
	fmt.Fprintf(os.Stderr, "\rfilling [%s%s] %s of %s messages, %s a second %s", strings.Repeat("=", bar), strings.Repeat(" ", width-bar),
		thousands(float64(done)), thousands(float64(f.total)), thousands(rate), end)
}

// settle leaves nothing to be written behind the measurement.
func (f *fill) settle(ctx context.Context, conn *pgx.Conn) error {
	_, err := conn.Exec(ctx, "CHECKPOINT")
	return err
}
