package gateway

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
	locallimit "github.com/pigeonry/pigeonry/core/limit/local"
	"github.com/pigeonry/pigeonry/core/lock"
	locallock "github.com/pigeonry/pigeonry/core/lock/local"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/memory"
	"github.com/pigeonry/pigeonry/core/queue/rabbitmq"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/postgres"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/trace"
	localtrace "github.com/pigeonry/pigeonry/core/trace/local"
)

// engines are the technologies that the settings chose.
type engines struct {
	store   store.Store
	groups  int           // commits of accepted messages that the store takes at a time
	pace    time.Duration // between such commits while there are many
	queue   queue.Queue
	limiter limit.Limiter
	locker  lock.Locker
	traces  trace.Store
	// retain tells the traces for how long they are kept; nil where the purge alone sees to that.
	retain func(time.Duration)
	// coordination tells the state of what instances share; nil where nothing is shared.
	coordination func(context.Context) api.DependencyState
	// dead counts the envelopes that the broker gave up on; nil where that cannot happen.
	dead func(context.Context) (int, error)
	// revive publishes them again, a number at most; nil as well.
	revive func(ctx context.Context, most int) (int, error)
	// closers end what the fields above work with, the last first.
	closers []func() error
}

// open opens the technologies. What is open when one of them fails is closed again.
func open(ctx context.Context, s *settings.Settings, channels func() []string, logger *slog.Logger) (_ *engines, err error) {
	e := &engines{}
	defer func() {
		if err != nil {
			err = errors.Join(err, e.close())
		}
	}()
	if err := ensureDataDir(s.DataDir); err != nil {
		return nil, err
	}
	if err := e.openStore(ctx, s, logger); err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	if err := e.openQueue(ctx, s, channels, logger); err != nil {
		return nil, fmt.Errorf("open the queue: %w", err)
	}
	if err := e.openCoordination(ctx, s, logger); err != nil {
		return nil, fmt.Errorf("open the coordination: %w", err)
	}
	return e, nil
}

// openBeside opens the store for a command that runs beside a gateway.
func openBeside(ctx context.Context, s *settings.Settings) (*engines, error) {
	e := &engines{}
	if s.Store.Kind == "postgres" {
		db, err := postgres.OpenBeside(ctx, postgres.Options{URL: s.Store.URL.Reveal()})
		if err != nil {
			return nil, fmt.Errorf("open the store: %w", err)
		}
		e.store = db
		return e.closeLater(db.Close), nil
	}
	if err := ensureDataDir(s.DataDir); err != nil {
		return nil, err
	}
	db, err := sqlite.Open(ctx, sqlite.Options{Path: databasePath(s)})
	if err != nil {
		return nil, fmt.Errorf("open the store: %w", err)
	}
	e.store = db
	return e.closeLater(db.Close), nil
}

// databasePath is the file of the embedded store.
func databasePath(s *settings.Settings) string { return filepath.Join(s.DataDir, "pigeonry.db") }

func (e *engines) openStore(ctx context.Context, s *settings.Settings, logger *slog.Logger) error {
	switch s.Store.Kind {
	case "sqlite":
		db, err := sqlite.Open(ctx, sqlite.Options{Path: databasePath(s), Exclusive: true, Keep: s.Retention.Messages})
		if err != nil {
			return err
		}
		e.store, e.groups = db, 1
	case "postgres":
		db, err := postgres.Open(ctx, postgres.Options{
			URL: s.Store.URL.Reveal(), Keep: s.Retention.Messages, KeepReferences: max(s.Retention.Receipts, keepReferences), Logger: logger,
		})
		if err != nil {
			return err
		}
		// While one waits for the disk, or for the way to the server, the next is written.
		e.store, e.groups, e.pace = db, 3, commitPace
	default:
		return unknown("store", s.Store.Kind, "sqlite", "postgres")
	}
	e.closeLater(e.store.Close)
	return nil
}

// commitPace is what PostgreSQL wants: a group costs four transactions, from its commit until the results are recorded.
const commitPace = 12 * time.Millisecond

// keepReferences is how long a provider may take with its receipts at least.
const keepReferences = 7 * 24 * time.Hour

// unknown is the error about a technology that is not built in.
func unknown(what, kind string, built ...string) error {
	return fmt.Errorf("%s %q is not built into this version; use %s %q", what, kind, what, built)
}

func (e *engines) openQueue(ctx context.Context, s *settings.Settings, channels func() []string, logger *slog.Logger) error {
	switch s.Queue.Kind {
	case "memory":
		e.queue = memory.New(memory.Options{})
	case "rabbitmq":
		broker, err := rabbitmq.Open(ctx, rabbitmq.Options{
			URL: s.Queue.URL.Reveal(), Type: rabbitmq.Type(s.Queue.Type), Prefix: prefixOf(s.Queue, "."), Channels: channels, Logger: logger,
		})
		if err != nil {
			return err
		}
		e.queue, e.dead, e.revive = broker, broker.Dead, broker.Revive
	default:
		return unknown("queue", s.Queue.Kind, "memory", "rabbitmq")
	}
	e.closeLater(e.queue.Close)
	return nil
}

func (e *engines) openCoordination(ctx context.Context, s *settings.Settings, logger *slog.Logger) error {
	switch s.Coordination.Kind {
	case "local":
		return e.openLocal(s)
	case "redis":
		return e.openRedis(ctx, s, logger)
	default:
		return unknown("coordination", s.Coordination.Kind, "local", "redis")
	}
}

// prefixOf is what goes before names on a service; "" if the settings say nothing of it.
func prefixOf(t settings.Technology, separator string) string {
	if t.Prefix == "" {
		return ""
	}
	return t.Prefix + separator
}

// openLocal opens what a gateway that is alone has for itself.
func (e *engines) openLocal(s *settings.Settings) error {
	traces, err := localtrace.Open(localtrace.Options{Path: filepath.Join(s.DataDir, "traces.db")})
	if err != nil {
		return err
	}
	e.limiter, e.locker, e.traces = locallimit.New(locallimit.Options{}), locallock.New(), traces
	e.closeLater(traces.Close)
	return nil
}

// closeLater has something closed when the engines are.
func (e *engines) closeLater(f func() error) *engines {
	e.closers = append(e.closers, f)
	return e
}

// close closes what was opened last first. What queues and traces still hold goes into stores that are open.
func (e *engines) close() error {
	var errs []error
	for _, c := range slices.Backward(e.closers) {
		errs = append(errs, c())
	}
	e.closers = nil
	return errors.Join(errs...)
}
