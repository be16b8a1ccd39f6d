package postgres

import (
	"context"
	"fmt"
	"regexp"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pigeonry/pigeonry/core"
)

const (
	day = 24 * time.Hour
	// ahead is how many days beyond today have their partitions: a gateway that could not make any for so long
	// still finds one.
	ahead = 3
	// ddlLock bounds the wait for a table that others use: all of them wait behind it.
	ddlLock = 2 * time.Second
	// partitionLock is the advisory lock of those who make and drop partitions.
	partitionLock = 0x706967656f6e // "pigeon"
)

// partitioned is a table that has a partition for each day.
type partitioned struct {
	table   string
	byDate  bool   // its key is a date; else an id
	storage string // parameters of each partition
	// keep says how long a partition is kept after its day.
	keep func(Options) time.Duration
}

func partitionedTables() []partitioned {
	messages := func(o Options) time.Duration { return o.Keep }
	references := func(o Options) time.Duration { return o.KeepReferences }
	return []partitioned{
		{table: "message_contents", keep: messages},
		{table: "message_attempts", keep: messages},
		{table: "message_batches", keep: messages},
		{table: "message_exceptions", keep: messages},
		{table: "provider_refs", keep: references},
		{table: "receipts", byDate: true, keep: references},
		{table: "inbound_messages", byDate: true, keep: messages},
		// Last: while a day of this one is kept, its messages are there.
		{table: "message_records", storage: " WITH (fillfactor = 27)", keep: messages},
	}
}

// partitions makes the partitions of the days to come and drops those past their retention.
type partitions struct {
	pool *pgxpool.Pool
	o    Options

	mu   sync.Mutex
	kept time.Time // when they were last looked after
}

// due says whether it is time to look after the partitions: to find out that a day must be kept may read all of it.
func (p *partitions) due(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Sub(p.kept) >= time.Hour
}

func (p *partitions) done(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept = now
}

// ensure makes the partitions of today and the next days. Gateways may do so at once.
func (p *partitions) ensure(ctx context.Context) error {
	known, err := p.known(ctx)
	if err != nil {
		return err
	}
	today := p.o.Now().UTC().Truncate(day)
	for _, t := range partitionedTables() {
		for n := range ahead + 1 {
			date := today.Add(time.Duration(n) * day)
			if known[t.name(date)] {
				continue
			}
			err := p.create(ctx, t, date)
			if isCode(err, codeCheckViolation) {
				p.o.Logger.WarnContext(ctx, "postgres: a day has no partition, as its rows are in the default one already", "partition", t.name(date))
				continue
			}
			if err != nil {
				return fmt.Errorf("partition %s: %w", t.name(date), explain("create", err))
			}
		}
	}
	return nil
}

// name is the table of a day.
func (t partitioned) name(date time.Time) string { return t.table + "_" + date.Format("p20060102") }

// bounds are the values of a day, for SQL.
func (t partitioned) bounds(date time.Time) (from, to string) {
	if t.byDate {
		return "'" + date.Format(time.DateOnly) + "'", "'" + date.Add(day).Format(time.DateOnly) + "'"
	}
	return fmt.Sprint(int64(core.FirstRecordID(date))), fmt.Sprint(int64(core.FirstRecordID(date.Add(day))))
}

// known returns the names of all partitions there are.
func (p *partitions) known(ctx context.Context) (map[string]bool, error) {
	names := map[string]bool{}
	err := each(ctx, p.pool, func(r *row) error {
		names[r.text()] = true
		return nil
	}, `SELECT c.relname::text FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid JOIN pg_class t ON t.oid = i.inhparent
		WHERE t.relkind = 'p' AND c.relnamespace = current_schema()::regnamespace`)
	return names, err
}

func (p *partitions) create(ctx context.Context, t partitioned, date time.Time) error {
	from, to := t.bounds(date)
	return p.ddl(ctx, fmt.Sprintf("CREATE TABLE IF NOT EXISTS %s PARTITION OF %s FOR VALUES FROM (%s) TO (%s)%s",
		t.name(date), t.table, from, to, t.storage))
}

// ddl changes a table, while no other gateway does, and gives up rather than hold up those who use it.
func (p *partitions) ddl(ctx context.Context, statement string, checks ...func(pgx.Tx) (bool, error)) error {
	return pgx.BeginFunc(ctx, p.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, fmt.Sprintf("SET LOCAL lock_timeout = %d", ddlLock.Milliseconds()))
		if err == nil {
			_, err = tx.Exec(ctx, "SELECT pg_advisory_xact_lock($1)", partitionLock)
		}
		if err != nil {
			return err
		}
		for _, check := range checks {
			if ok, err := check(tx); err != nil || !ok {
				return err
			}
		}
		_, err = tx.Exec(ctx, statement)
		return err
	})
}

// datedName tells the day from the name of a partition.
var datedName = regexp.MustCompile(`^(\w+)_p(\d{8})$`)

// drop drops partitions past their retention and returns how many. A day with a message that is not done is kept
// until it is: a schedule may lie a year ahead.
func (p *partitions) drop(ctx context.Context) (int, error) {
	known, err := p.known(ctx)
	if err != nil {
		return 0, err
	}
	dropped := 0
	for _, date := range p.past(known) {
		open, err := p.hasOpen(ctx, p.pool, date, known)
		if err != nil {
			return dropped, err
		}
		for _, t := range partitionedTables() {
			keep := t.keep(p.o)
			if !known[t.name(date)] || keep == 0 || p.o.Now().Sub(date.Add(day)) < keep {
				continue
			}
			if open && t.table != "provider_refs" && t.table != "receipts" {
				p.o.Logger.WarnContext(ctx, "postgres: a day past its retention is kept, as a message of it is not done", "partition", t.name(date))
				continue
			}
			if err := p.ddl(ctx, "DROP TABLE "+t.name(date)); err != nil {
				return dropped, fmt.Errorf("drop partition %s: %w", t.name(date), explain("drop", err))
			}
			p.o.Logger.InfoContext(ctx, "postgres: dropped a partition past its retention", "partition", t.name(date))
			dropped++
		}
	}
	return dropped, nil
}

// past returns the days, of those that have partitions, that some retention has ended for.
func (p *partitions) past(known map[string]bool) []time.Time {
	shortest := p.o.KeepReferences
	if p.o.Keep != 0 {
		shortest = min(shortest, p.o.Keep)
	}
	seen := map[time.Time]bool{}
	var days []time.Time
	for name := range known {
		parts := datedName.FindStringSubmatch(name)
		if parts == nil {
			continue
		}
		date, err := time.Parse("20060102", parts[2])
		if err == nil && !seen[date] && p.o.Now().Sub(date.Add(day)) >= shortest {
			seen[date] = true
			days = append(days, date)
		}
	}
	return days
}

// hasOpen says whether a message of a day is not done: by its status, or because an envelope or a timer may bring it
// back.
func (p *partitions) hasOpen(ctx context.Context, q querier, date time.Time, known map[string]bool) (bool, error) {
	records := partitioned{table: "message_records"}
	if !known[records.name(date)] || p.o.Keep == 0 || p.o.Now().Sub(date.Add(day)) < p.o.Keep {
		return false, nil
	}
	var open bool
	_, err := first(ctx, q, func(r *row) { open = r.bool() }, fmt.Sprintf(
		"SELECT EXISTS (SELECT FROM %s WHERE status IN ('scheduled', 'queued', 'sending', 'uncertain'))", records.name(date)))
	return open, explain("look for messages that are not done", err)
}
