package postgres

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// days knows the partitions of each day, so that a statement about messages of one day can name them. One that
// names whole tables has PostgreSQL lock and open the partitions of all days before it looks which ones it needs: with
// ninety of them that costs several times what the statement does.
type days struct {
	forgotten chan struct{} // has room for one

	mu    sync.RWMutex
	known map[time.Time]*dated
}

func newDays() *days { return &days{forgotten: make(chan struct{}, 1)} }

// dated are the tables of a day.
type dated struct {
	names *strings.Replacer

	mu    sync.Mutex
	texts map[string]string // rewritten statements by what they were
}

// set replaces what is known by the names of all partitions there are.
func (d *days) set(names map[string]bool) {
	byID := map[string]bool{}
	for _, t := range partitionedTables() {
		byID[t.table] = !t.byDate
	}
	pairs := map[time.Time][]string{}
	for name := range names {
		if table, date, ok := dayOf(name); ok && byID[table] {
			pairs[date] = append(pairs[date], table, name)
		}
	}
	known := make(map[time.Time]*dated, len(pairs))
	for date, names := range pairs {
		known[date] = &dated{names: strings.NewReplacer(names...), texts: map[string]string{}}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.known = known
}

// forget makes statements name whole tables until the partitions are looked after again: another gateway has dropped a day.
func (d *days) forget() {
	d.mu.Lock()
	d.known = nil
	d.mu.Unlock()
	select {
	case d.forgotten <- struct{}{}:
	default:
	}
}

// of returns the tables of messages: those of their day if it is the same for all, else nil for the whole tables.
func (d *days) of(ids ...[]int64) *dated {
	var date time.Time
	for _, ids := range ids {
		if len(ids) == 0 {
			continue
		}
		low, high := core.RecordID(slices.Min(ids)).Time().UTC().Truncate(day), core.RecordID(slices.Max(ids)).Time().UTC().Truncate(day)
		if low != high || !date.IsZero() && date != low {
			return nil
		}
		date = low
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.known[date]
}

// sql returns a statement with the tables' names.
func (t *dated) sql(text string) string {
	if t == nil {
		return text
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	rewritten, ok := t.texts[text]
	if !ok {
		rewritten = t.names.Replace(text)
		t.texts[text] = rewritten
	}
	return rewritten
}
