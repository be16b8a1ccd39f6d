package gateway

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
	locallimit "github.com/pigeonry/pigeonry/core/limit/local"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/memory"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/trace"
	localtrace "github.com/pigeonry/pigeonry/core/trace/local"
)

// engines are the technologies that the settings chose.
type engines struct {
	store   store.Store
	queue   queue.Queue
	limiter limit.Limiter
	traces  trace.Store
}

// open opens the technologies. Exclusive refuses to share an embedded store with another gateway.
func open(ctx context.Context, s *settings.Settings, exclusive bool) (engines, error) {
	for _, t := range []struct{ what, kind, built string }{
		{"store", s.Store.Kind, "sqlite"}, {"queue", s.Queue.Kind, "memory"}, {"coordination", s.Coordination.Kind, "local"},
	} {
		if t.kind != t.built {
			return engines{}, fmt.Errorf("%s %q is not built into this version; use %s %q", t.what, t.kind, t.what, t.built)
		}
	}
	if err := ensureDataDir(s.DataDir); err != nil {
		return engines{}, err
	}
	records, err := sqlite.Open(ctx, sqlite.Options{Path: filepath.Join(s.DataDir, "pigeonry.db"), Exclusive: exclusive})
	if err != nil {
		return engines{}, fmt.Errorf("open the store: %w", err)
	}
	if !exclusive {
		return engines{store: records}, nil // a command beside a gateway needs no more
	}
	traces, err := localtrace.Open(localtrace.Options{Path: filepath.Join(s.DataDir, "traces.db")})
	if err != nil {
		return engines{}, errors.Join(fmt.Errorf("open the traces: %w", err), records.Close())
	}
	return engines{
		store: records, traces: traces,
		queue: memory.New(memory.Options{}), limiter: locallimit.New(locallimit.Options{}),
	}, nil
}

func (e engines) close() error {
	var errs []error
	if e.queue != nil {
		errs = append(errs, e.queue.Close())
	}
	if e.traces != nil {
		errs = append(errs, e.traces.Close())
	}
	if e.store != nil {
		errs = append(errs, e.store.Close())
	}
	return errors.Join(errs...)
}
