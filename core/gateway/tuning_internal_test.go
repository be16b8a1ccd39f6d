package gateway

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/store"
)

// tables are what a database would say.
type tables struct {
	mu    sync.Mutex
	rows  store.Tuned
	err   error
	reads int
}

// say changes what the tables say.
func (t *tables) say(change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
}

// Tuned implements store.Tuning.
func (t *tables) Tuned(context.Context) (store.Tuned, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reads++
	return t.rows, t.err
}

// Declare implements store.Tuning.
func (t *tables) Declare(_ context.Context, file store.Tuned) (store.Tuned, error) {
	if t.err == nil {
		t.rows = file
	}
	return t.rows, t.err
}

// bench is a tuning without a gateway around it.
type bench struct {
	*tuning
	tables *tables
	log    bytes.Buffer
	sizes  []pool.Settings // in the order they came
}

func newBench(t *testing.T, s *settings.Settings) *bench {
	t.Helper()
	b := &bench{tables: &tables{}}
	b.tuning = &tuning{
		store: b.tables, limits: newLimits(s.Limits), logger: slog.New(slog.NewTextHandler(&b.log, nil)),
		inForce: tuned{s.Pools[settings.MessageSender], s.Limits},
		resize: func(p pool.Settings) error {
			b.sizes = append(b.sizes, p)
			return nil
		},
	}
	if err := b.declare(t.Context(), s, byFile); err != nil {
		t.Fatal(err)
	}
	return b
}

// said are settings with a pool of a size and a limit of a max.
func said(core int, maximum float64) *settings.Settings {
	return &settings.Settings{
		Pools: map[string]settings.Pool{settings.MessageSender: {
			CoreSize: core, MaxSize: 100, ScaleUpThreshold: 0.8, ScaleDownThreshold: 0.2, QueueSize: 10,
		}},
		Limits: []settings.Limit{{Resource: "api:/messages/send", Type: "qps", By: "account", Max: maximum}},
	}
}

// max is that of the one limit in force.
func (b *bench) max(t *testing.T) float64 {
	t.Helper()
	rules := b.limits.rules("api:/messages/send")
	if len(rules) != 1 {
		t.Fatalf("rules %v", rules)
	}
	return rules[0].Max
}

// While the database is away what was in force stays, and the log says so once.
func TestTuningWithoutADatabase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, said(3, 5))
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			b.watch(ctx)
		}()
		<-time.After(2500 * time.Millisecond)
		b.tables.say(func() {
			if b.tables.reads != 2 || len(b.sizes) != 0 {
				t.Errorf("%d reads, sizes %v", b.tables.reads, b.sizes)
			}
		})
		b.tables.say(func() { b.tables.err = errors.New("connection refused") })
		<-time.After(5 * time.Second)
		if n := strings.Count(b.log.String(), "connection refused"); n != 1 || b.max(t) != 5 {
			t.Errorf("max %v, log:\n%s", b.max(t), &b.log)
		}
		b.tables.say(func() {
			b.tables.err = nil
			b.tables.rows.Limits = []store.LimitConfig{{Resource: "api:/messages/send", Type: "qps", Dimension: "account", Max: 8}}
		})
		<-time.After(time.Second)
		if b.max(t) != 8 {
			t.Errorf("max %v after the database is back", b.max(t))
		}
		stop()
		<-ended
	})
}

func TestTuningKeepsAllAfterAnError(t *testing.T) {
	b := newBench(t, said(3, 5))
	b.tables.err = errors.New("disk full")
	if err := b.declare(t.Context(), said(4, 6), byFile); err == nil || !strings.Contains(err.Error(), "disk full") {
		t.Errorf("answered %v", err)
	}
	b.tables.err = nil
	b.resize = func(pool.Settings) error { return pool.ErrStopped }
	if err := b.declare(t.Context(), said(4, 6), byFile); !errors.Is(err, pool.ErrStopped) {
		t.Errorf("answered %v", err)
	}
	if b.max(t) != 5 || b.inForce.pool.CoreSize != 3 {
		t.Errorf("max %v, pool %+v", b.max(t), b.inForce.pool)
	}
}

// The pool keeps its size when its row is gone, and takes the next that comes.
func TestTuningWithoutThePool(t *testing.T) {
	b := newBench(t, said(3, 5))
	rows := b.tables.rows
	b.tables.rows = store.Tuned{Limits: rows.Limits}
	if err := b.look(t.Context()); err != nil || len(b.sizes) != 0 || !strings.Contains(b.log.String(), "row of the pool is gone") {
		t.Errorf("%v, sizes %v, log:\n%s", err, b.sizes, &b.log)
	}
	grown := rows.Pools[0]
	grown.CoreSize = 7
	b.tables.rows.Pools = []store.PoolConfig{grown}
	if err := b.look(t.Context()); err != nil || len(b.sizes) != 1 || b.sizes[0].Core != 7 {
		t.Errorf("%v, sizes %v", err, b.sizes)
	}
}

// Of limits that count the same one counts, and a window of what has none means nothing.
func TestLimitsCountOnce(t *testing.T) {
	b := newBench(t, said(3, 5))
	b.tables.rows.Limits = []store.LimitConfig{
		{ID: 1, Resource: "api:/messages/send", Type: "qps", Dimension: "account", Max: 5, WindowSeconds: 1},
		{ID: 2, Resource: "api:/messages/send", Type: "qps", Dimension: "account", Max: 6},
	}
	if err := b.look(t.Context()); err != nil || b.max(t) != 5 {
		t.Errorf("max %v, %v", b.max(t), err)
	}
}
