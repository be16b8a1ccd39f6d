package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// tuningInterval is how often the tables are read: a change is in force within two seconds everywhere.
	tuningInterval = time.Second
	// tuningTimeout bounds one reading, so that a database that hangs does not hold up a reload for long.
	tuningTimeout = 2 * time.Second
)

// tuned is the size of the pool and the limits, wherever they come from.
type tuned struct {
	pool   settings.Pool
	limits []settings.Limit
}

// tuning puts in force what the configuration file and the tables of the store say; the last change wins.
// A row that makes no sense is told of and not used: what was in force for it stays.
type tuning struct {
	store  store.Tuning
	resize func(pool.Settings) error
	limits *limits
	logger *slog.Logger

	mu      sync.Mutex               // held from reading the tables until what they say is in force
	rows    store.Tuned              // as last read
	inForce tuned                    // before the first declare: what the file says
	byRow   map[int64]settings.Limit // the limits in force by the id of their row
}

// Who a change comes from, for the log. Where the database differs at the start, it was changed after the file.
const (
	byFile     = "the configuration file"
	byDatabase = "the database"
)

// declare tells the store what the file says, and puts in force what the tables then say. After an error
// all is as it was.
func (t *tuning) declare(ctx context.Context, s *settings.Settings, by string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	rows, err := t.store.Declare(ctx, declaration(s))
	if err != nil {
		return fmt.Errorf("store the pools and limits of the configuration: %w", err)
	}
	return t.useLocked(ctx, rows, by)
}

// declaration is what the file says in the words of the store.
func declaration(s *settings.Settings) store.Tuned {
	var d store.Tuned
	for _, name := range slices.Sorted(maps.Keys(s.Pools)) {
		p := s.Pools[name]
		d.Pools = append(d.Pools, store.PoolConfig{
			Name: name, CoreSize: p.CoreSize, MaxSize: p.MaxSize, QueueSize: p.QueueSize,
			ScaleUpThreshold: p.ScaleUpThreshold, ScaleDownThreshold: p.ScaleDownThreshold,
		})
	}
	for _, l := range s.Limits {
		d.Limits = append(d.Limits, store.LimitConfig{
			Resource: l.Resource, Type: l.Type, Dimension: l.By, Max: l.Max, WindowSeconds: l.Window.Seconds(),
			Yields: l.Max == settings.Unlimited,
		})
	}
	return d
}

// watch looks for changes of the tables until ctx ends. While the tables cannot be read, what was last in
// force stays.
func (t *tuning) watch(ctx context.Context) {
	tick := time.NewTicker(tuningInterval)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		err := t.look(ctx)
		if err != nil && !failing && ctx.Err() == nil {
			t.logger.WarnContext(ctx, "gateway: cannot read the pools and limits from the database; the earlier ones stay in force", "error", err)
		}
		failing = err != nil
	}
}

// look reads the tables and puts what has changed in force.
func (t *tuning) look(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, tuningTimeout)
	defer cancel()
	rows, err := t.store.Tuned(ctx)
	if err != nil {
		return err
	}
	if slices.Equal(rows.Pools, t.rows.Pools) && slices.Equal(rows.Limits, t.rows.Limits) {
		return nil
	}
	return t.useLocked(ctx, rows, byDatabase)
}

// useLocked puts rows in force.
func (t *tuning) useLocked(ctx context.Context, rows store.Tuned, by string) error {
	byRow := t.limitsLocked(ctx, rows.Limits)
	next := tuned{pool: t.poolLocked(ctx, rows.Pools)}
	for _, id := range slices.Sorted(maps.Keys(byRow)) {
		next.limits = append(next.limits, byRow[id])
	}
	if next.pool != t.inForce.pool {
		if err := t.resize(poolSettings(next.pool)); err != nil {
			return fmt.Errorf("size the pools: %w", err)
		}
	}
	t.limits.set(next.limits)
	t.report(ctx, next, by)
	t.rows, t.byRow, t.inForce = rows, byRow, next
	return nil
}

// poolLocked is the size of the pool by its row, or the one in force.
func (t *tuning) poolLocked(ctx context.Context, rows []store.PoolConfig) settings.Pool {
	size, found := t.inForce.pool, false
	for _, row := range rows {
		at := place{"thread_pool_configs", "pool " + row.Name, "pool_name = '" + row.Name + "'"}
		if row.Name != settings.MessageSender {
			t.complain(ctx, at, settings.Flaw{Problem: "there is no such pool", Remedy: "the pool is " + settings.MessageSender})
			continue
		}
		found = true
		p := settings.Pool{
			CoreSize: row.CoreSize, MaxSize: row.MaxSize, QueueSize: row.QueueSize,
			ScaleUpThreshold: row.ScaleUpThreshold, ScaleDownThreshold: row.ScaleDownThreshold,
		}
		flaws := p.Flaws()
		t.complain(ctx, at, flaws...)
		if len(flaws) == 0 {
			size = p
		}
	}
	if !found {
		t.logger.WarnContext(ctx, "gateway: the row of the pool is gone; its size stays as it was",
			"table", "thread_pool_configs", "row", "pool "+settings.MessageSender, "remedy", "a reload of the configuration brings it back")
	}
	return size
}

// limitsLocked are the limits by row. For a row that makes no sense it is the one that was in force, or what
// the file said of it.
func (t *tuning) limitsLocked(ctx context.Context, rows []store.LimitConfig) map[int64]settings.Limit {
	byRow := make(map[int64]settings.Limit, len(rows))
	for _, row := range rows {
		l := limitOf(row)
		flaws := l.Flaws()
		if len(flaws) == 0 {
			byRow[row.ID] = l
			continue
		}
		t.complain(ctx, place{
			"rate_limit_configs", fmt.Sprintf("%d: %s, %s by %s", row.ID, row.Resource, row.Type, row.Dimension), fmt.Sprintf("id = %d", row.ID),
		}, flaws...)
		if earlier, ok := t.byRow[row.ID]; ok {
			byRow[row.ID] = earlier
		} else if said, ok := row.Said(); ok {
			byRow[row.ID] = limitOf(said)
		}
	}
	return byRow
}

func limitOf(row store.LimitConfig) settings.Limit {
	l := settings.Limit{Resource: row.Resource, Type: row.Type, By: row.Dimension, Max: row.Max}
	if row.Type == "sliding_window" { // elsewhere a window means nothing and is no fault
		l.Window = time.Duration(math.Round(min(row.WindowSeconds, 1e9)*1e6)) * time.Microsecond
	}
	return l
}

// place is a row of a table, for people.
type place struct{ table, row, where string }

// complain tells of what is wrong with a row, in the words of the table.
func (t *tuning) complain(ctx context.Context, at place, flaws ...settings.Flaw) {
	for _, flaw := range flaws {
		remedy := columns.Replace(flaw.Remedy)
		if flaw.Key != "" {
			remedy += fmt.Sprintf(": UPDATE %s SET %s = … WHERE %s;", at.table, columnOf(flaw.Key), at.where)
		}
		problem := columns.Replace(flaw.Problem)
		if rest, ok := strings.CutPrefix(problem, flaw.Key+" "); ok {
			problem = columnOf(flaw.Key) + " " + rest
		}
		t.logger.WarnContext(ctx, "gateway: a row makes no sense and is not used; what was in force stays",
			"table", at.table, "row", at.row, "problem", problem, "remedy", remedy)
	}
}

// columns turns keys of the file that are no words of their own into columns.
var columns = strings.NewReplacer("core_size", "core_pool_size", "max_size", "max_pool_size", `add window = "1m"`, "give it one")

// columnOf is the column of a key of the file.
func columnOf(key string) string {
	switch key {
	case "type":
		return "limit_type"
	case "by":
		return "dimension"
	case "max":
		return "max_value"
	case "window":
		return "window_seconds"
	default:
		return columns.Replace(key)
	}
}

// report logs what changes.
func (t *tuning) report(ctx context.Context, next tuned, by string) {
	log := t.logger.With("set_by", by)
	if was := t.inForce.pool; was != next.pool {
		log.InfoContext(ctx, "gateway: the pool has a new size", "pool", settings.MessageSender, "was", sizeOf(was), "is", sizeOf(next.pool))
	}
	for _, l := range next.limits {
		was, known := find(t.inForce.limits, l)
		switch {
		case !known:
			log.InfoContext(ctx, "gateway: a limit is new", "is", ruleOf(l).String())
		case was.Max != l.Max:
			log.InfoContext(ctx, "gateway: a limit changed", "was", ruleOf(was).String(), "is", ruleOf(l).String())
		}
	}
	for _, l := range t.inForce.limits {
		if _, stays := find(next.limits, l); !stays {
			log.InfoContext(ctx, "gateway: a limit is gone", "was", ruleOf(l).String())
		}
	}
}

// find returns the limit that counts the same.
func find(limits []settings.Limit, l settings.Limit) (settings.Limit, bool) {
	i := slices.IndexFunc(limits, l.Same)
	if i < 0 {
		return settings.Limit{}, false
	}
	return limits[i], true
}

func sizeOf(p settings.Pool) string {
	return fmt.Sprintf("%d to %d workers, growing from %v and shrinking at %v of a queue of %d",
		p.CoreSize, p.MaxSize, p.ScaleUpThreshold, p.ScaleDownThreshold, p.QueueSize)
}
