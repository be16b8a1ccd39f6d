package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
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
	// lookEvery is the time from one look at the partitions to the next, and lookAgain that after one that failed.
	lookEvery, lookAgain = time.Hour, time.Minute
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
		{table: messageRecords, storage: " WITH (fillfactor = 27)", keep: messages},
	}
}

// partitions makes the partitions of the days to come and drops those past their retention.
type partitions struct {
	pool *pgxpool.Pool
	days *days
	now  func(context.Context) (time.Time, error)
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
	if err := p.makeMissing(ctx); err != nil {
		return err
	}
	return p.look(ctx)
}

// look learns which partitions there are.
func (p *partitions) look(ctx context.Context) error {
	known, err := p.known(ctx)
	if err == nil {
		p.days.set(known)
	}
	return err
}

// watch goes on looking until ctx ends, at once when a day turns out to be gone: only a scheduler makes and drops
// partitions, and every gateway names those of the day.
func (p *partitions) watch(ctx context.Context, every time.Duration) {
	wait := every
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.days.forgotten:
		case <-time.After(wait):
		}
		wait = every
		if err := p.lookWithin(ctx, statementTimeout); err != nil && ctx.Err() == nil {
			wait = lookAgain
			p.o.Logger.WarnContext(ctx, "postgres: the partitions cannot be listed; statements about a day that is not known are slower meanwhile", "error", err)
		}
	}
}

func (p *partitions) lookWithin(ctx context.Context, d time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	return p.look(ctx)
}

func (p *partitions) makeMissing(ctx context.Context) error {
	now, err := p.now(ctx)
	if err != nil {
		return err
	}
	known, err := p.known(ctx)
	if err != nil {
		return err
	}
	today := now.UTC().Truncate(day)
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
			if n > 0 && isCode(err, codeLockTimeout) {
				p.o.Logger.WarnContext(ctx, "postgres: the partition of a day to come is left for later, as the table is busy", "partition", t.name(date))
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
				return cmp.Or(err, errKept)
			}
		}
		_, err = tx.Exec(ctx, statement)
		return err
	})
}

// datedName tells the day from the name of a partition.
var datedName = regexp.MustCompile(`^(\w+)_p(\d{8})$`)

// dayOf returns the table and the day that a partition is of.
func dayOf(name string) (table string, date time.Time, ok bool) {
	parts := datedName.FindStringSubmatch(name)
	if parts == nil {
		return "", date, false
	}
	date, err := time.Parse("20060102", parts[2])
	return parts[1], date, err == nil
}

// drop drops the days past their retention and returns how many tables went. A day with a message that is not done is kept
// until it is: a schedule may lie a year ahead.
func (p *partitions) drop(ctx context.Context) (int, error) {
	now, err := p.now(ctx)
	if err != nil {
		return 0, err
	}
	known, err := p.known(ctx)
	if err != nil {
		return 0, err
	}
	dropped := 0
	defer p.days.set(known) // without what went
	for _, date := range p.past(known, now) {
		for _, keep := range []time.Duration{p.o.Keep, p.o.KeepReferences} {
			n, err := p.dropDay(ctx, date, now.Sub(date.Add(day)), keep, known)
			if dropped += n; err != nil {
				return dropped, err
			}
		}
	}
	return dropped, nil
}

// dropDay drops all tables of a day that are kept for the same time, once the day is so old, in one transaction.
func (p *partitions) dropDay(ctx context.Context, date time.Time, age, keep time.Duration, known map[string]bool) (int, error) {
	var names []string
	records := false
	for _, t := range partitionedTables() {
		name := t.name(date)
		if t.keep(p.o) == keep && keep != 0 && known[name] && age >= keep {
			names, records = append(names, name), records || t.table == messageRecords
			delete(known, name)
		}
	}
	if len(names) == 0 {
		return 0, nil
	}
	var checks []func(pgx.Tx) (bool, error)
	if records {
		open, err := p.hasOpen(ctx, date)
		if err != nil {
			return 0, err
		}
		if open {
			p.o.Logger.WarnContext(ctx, "postgres: a day past its retention is kept, as a message of it is not done", "day", date.Format(time.DateOnly))
			return 0, nil
		}
		checks = append(checks, func(tx pgx.Tx) (bool, error) { return p.lockDone(ctx, tx, date) })
	}
	err := p.ddl(ctx, "DROP TABLE "+strings.Join(names, ", "), checks...)
	if errors.Is(err, errKept) {
		return 0, nil // the next look finds it open
	}
	if err != nil {
		return 0, fmt.Errorf("drop the day %s: %w", date.Format(time.DateOnly), explain("drop", err))
	}
	p.o.Logger.InfoContext(ctx, "postgres: dropped a day past its retention", "tables", strings.Join(names, ", "))
	return len(names), nil
}

// errKept says that a table must stay.
var errKept = errors.New("it is still in use")

// messageRecords is the table whose rows say whether a day is done.
const messageRecords = "message_records"

// lockDone keeps everybody from a day's messages and says whether none was brought back since they were looked at: what
// is retried has an envelope.
func (p *partitions) lockDone(ctx context.Context, tx pgx.Tx, date time.Time) (bool, error) {
	if _, err := exec(ctx, tx, "LOCK TABLE "+partitioned{table: messageRecords}.name(date)+" IN ACCESS EXCLUSIVE MODE"); err != nil {
		return false, err
	}
	back, err := first(ctx, tx, func(*row) {}, "SELECT 1 FROM outbox o, unnest(o.record_ids) AS r(id) WHERE r.id >= $1 AND r.id < $2 LIMIT 1",
		int64(core.FirstRecordID(date)), int64(core.FirstRecordID(date.Add(day))))
	return !back, err
}

// past returns the days, of those that have partitions, that some retention has ended for.
func (p *partitions) past(known map[string]bool, now time.Time) []time.Time {
	shortest := p.o.KeepReferences
	if p.o.Keep != 0 {
		shortest = min(shortest, p.o.Keep)
	}
	seen := map[time.Time]bool{}
	var days []time.Time
	for name := range known {
		_, date, ok := dayOf(name)
		if ok && !seen[date] && now.Sub(date.Add(day)) >= shortest {
			seen[date] = true
			days = append(days, date)
		}
	}
	return days
}

// lookTimeout bounds the look through a whole day, which takes longer than anything else.
const lookTimeout = 30 * time.Minute

// hasOpen says whether a message of a day is not done. It reads the day without holding anybody up, over a connection of
// its own: those of the pool do not wait for so long.
func (p *partitions) hasOpen(ctx context.Context, date time.Time) (bool, error) {
	config := p.pool.Config().ConnConfig
	config.DialFunc = (&net.Dialer{Timeout: connectTimeout}).DialContext
	config.RuntimeParams["statement_timeout"] = fmt.Sprint(lookTimeout.Milliseconds())
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return false, explain("look for messages that are not done", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read
	var open bool
	_, err = first(ctx, conn, func(r *row) { open = r.bool() }, fmt.Sprintf(
		"SELECT EXISTS (SELECT FROM %s WHERE status IN ('scheduled', 'queued', 'sending', 'uncertain'))", partitioned{table: messageRecords}.name(date)))
	return open, explain("look for messages that are not done", err)
}
