package store

import (
	"context"
	"encoding/json"
	"slices"
)

// PoolConfig is a row of thread_pool_configs: the size of a pool.
type PoolConfig struct {
	Name               string  `json:"pool_name"`
	CoreSize           int     `json:"core_pool_size"`
	MaxSize            int     `json:"max_pool_size"`
	ScaleUpThreshold   float64 `json:"scale_up_threshold"`
	ScaleDownThreshold float64 `json:"scale_down_threshold"`
	QueueSize          int     `json:"queue_size"`
	// File is the column file_value: what the configuration file last said of the row, "" for one that was
	// inserted by hand. A technology only keeps it.
	File string `json:"-"`
}

// LimitConfig is a row of rate_limit_configs: one limit. A resource has at most one limit of the same type,
// dimension and, where the type is sliding_window, window.
type LimitConfig struct {
	ID            int64   `json:"-"` // 0: not in the table yet
	Resource      string  `json:"resource"`
	Type          string  `json:"limit_type"`
	Dimension     string  `json:"dimension"`
	Max           float64 `json:"max_value"`
	WindowSeconds float64 `json:"window_seconds"` // of a sliding_window; means nothing elsewhere
	File          string  `json:"-"`              // as that of PoolConfig
	// Yields lets a row that was inserted by hand stay in the place of this declaration.
	Yields bool `json:"-"`
}

// Said returns what the file last said of the row, false for a row that was inserted by hand.
func (l LimitConfig) Said() (LimitConfig, bool) {
	var said LimitConfig
	ok := l.File != "" && json.Unmarshal([]byte(l.File), &said) == nil
	said.ID, said.File = l.ID, l.File
	return said, ok
}

// Tuned is the content of both tables: pools by name, limits by id.
type Tuned struct {
	Pools  []PoolConfig
	Limits []LimitConfig
}

// Tuning keeps what operators tune while gateways run. The configuration file and the tables are both ways
// to set it, and the last change wins: a row remembers what the file last said, so that a file that says
// something new overwrites the row, while one that says the same leaves alone what an operator has
// changed since. Rows are as whoever wrote them left them: the caller judges whether they make sense.
type Tuning interface {
	// Tuned reads both tables, in one round trip.
	Tuned(ctx context.Context) (Tuned, error)
	// Declare tells the tables what the configuration file says, and returns what they say then. Rows that
	// came from the file and are no longer in it go; those that somebody inserted stay. Several gateways
	// may declare at the same time; with the same file all of them change it once.
	Declare(ctx context.Context, file Tuned) (Tuned, error)
}

// TuningChanges is what Declare writes: first it drops rows, then it inserts some. A row that is to be
// overwritten is in both lists, so that no order of writing meets a key that is about to become free.
type TuningChanges struct {
	DropPools    []string
	InsertPools  []PoolConfig
	DropLimits   []int64
	InsertLimits []LimitConfig // ID 0: a new one is to be given
}

// Empty says that there is nothing to write.
func (c *TuningChanges) Empty() bool {
	return len(c.DropPools)+len(c.InsertPools)+len(c.DropLimits)+len(c.InsertLimits) == 0
}

// Changes works out what Declare has to write on tables that hold rows.
func (file Tuned) Changes(rows Tuned) TuningChanges {
	var c TuningChanges
	c.pools(file.Pools, rows.Pools)
	c.limits(file.Limits, rows.Limits)
	return c
}

func (c *TuningChanges) pools(file, rows []PoolConfig) {
	for _, row := range rows {
		declared := slices.ContainsFunc(file, func(p PoolConfig) bool { return p.Name == row.Name })
		if row.File != "" && !declared {
			c.DropPools = append(c.DropPools, row.Name)
		}
	}
	for _, p := range file {
		p.File = encode(p)
		i := slices.IndexFunc(rows, func(row PoolConfig) bool { return row.Name == p.Name })
		if i >= 0 && rows[i].File == p.File {
			continue
		}
		if i >= 0 {
			c.DropPools = append(c.DropPools, p.Name)
		}
		c.InsertPools = append(c.InsertPools, p)
	}
}

// limitKey is what tells limits apart.
type limitKey struct {
	resource, kind, dimension string
	window                    float64
}

func (l *LimitConfig) key() limitKey {
	k := limitKey{resource: l.Resource, kind: l.Type, dimension: l.Dimension}
	if l.Type == "sliding_window" {
		k.window = l.WindowSeconds
	}
	return k
}

// limits keeps a row with its block of the file by what the file said of it, not by what the row says now:
// an operator may have given the row another window.
func (c *TuningChanges) limits(file, rows []LimitConfig) {
	fresh := make(map[limitKey]LimitConfig, len(file)) // blocks that say something new
	for _, l := range file {
		l.ID, l.File = 0, encode(l)
		fresh[l.key()] = l
	}
	kept := make(map[limitKey]LimitConfig, len(rows))
	for _, row := range rows {
		said, fromFile := row.Said()
		block, declared := fresh[said.key()]
		switch {
		case !fromFile:
			kept[row.key()] = row
		case declared && block.File == row.File:
			delete(fresh, said.key())
			kept[row.key()] = row
		default:
			c.DropLimits = append(c.DropLimits, row.ID)
			if declared {
				block.ID = row.ID
				fresh[said.key()] = block
			}
		}
	}
	for _, l := range file {
		c.insert(l.key(), fresh, kept)
	}
}

// insert takes a block that is fresh. Where a row has its key, the file's is the later word; if that row
// was another block's, that one gets a row of its own again.
func (c *TuningChanges) insert(key limitKey, fresh, kept map[limitKey]LimitConfig) {
	block, ok := fresh[key]
	if !ok {
		return
	}
	delete(fresh, key)
	row, taken := kept[key]
	if taken && block.Yields && row.File == "" {
		return
	}
	c.InsertLimits = append(c.InsertLimits, block)
	if !taken {
		return
	}
	delete(kept, key)
	c.DropLimits = append(c.DropLimits, row.ID)
	if said, fromFile := row.Said(); fromFile {
		said.ID = 0
		fresh[said.key()] = said
		c.insert(said.key(), fresh, kept)
	}
}

// encode writes what the file says of a row.
func encode[T PoolConfig | LimitConfig](row T) string {
	b, err := json.Marshal(row)
	if err != nil {
		panic(err) // numbers of the file are finite
	}
	return string(b)
}
