// Package local keeps traces in a SQLite file of its own, apart from the truth: traces are many, may be
// lost and are thrown away after a while. One goroutine owns the file; it writes what was recorded in
// batches, so that recording costs the caller next to nothing.
package local

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

var _ trace.Store = (*Store)(nil)

// Options say where traces are kept.
type Options struct {
	// Path is the file, made if absent, or ":memory:".
	Path string
	// Buffer is how many entries may wait to be written before further ones are dropped; 0: trace.DefaultBuffer.
	Buffer int
	// Logger hears of write errors, and of a damaged file that was set aside; default slog.Default.
	Logger *slog.Logger
}

// Store keeps traces. It implements trace.Store.
type Store struct {
	*trace.Buffer

	logger *slog.Logger
	file   *file // used on the buffer's goroutine
	close  func() error
}

// Open opens the file. One that is damaged is set aside as <path>.damaged and a new one begun: nothing
// depends on traces, and a gateway that does not start helps nobody.
func Open(o Options) (*Store, error) {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	f, err := openOrBegin(o)
	if err != nil {
		return nil, fmt.Errorf("open the traces %s: %w", o.Path, err)
	}
	s := &Store{logger: o.Logger, file: f}
	s.Buffer = trace.NewBuffer(o.Buffer, s.write)
	s.close = sync.OnceValue(func() error {
		s.Buffer.Close()
		return f.close()
	})
	return s, nil
}

func openOrBegin(o Options) (*file, error) {
	if o.Path != ":memory:" {
		if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
			return nil, err
		}
	}
	f, err := openFile(o.Path)
	switch sqlite.ErrCode(err).ToPrimary() {
	case sqlite.ResultNotADB, sqlite.ResultCorrupt:
	default:
		return f, err
	}
	o.Logger.Warn("traces: the file is damaged; it is set aside and a new one begun", "path", o.Path, "error", err)
	for _, suffix := range []string{"", "-wal", "-shm"} {
		if err := os.Rename(o.Path+suffix, o.Path+".damaged"+suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
	}
	return openFile(o.Path)
}

// Nodes implements trace.Reader.
func (s *Store) Nodes(ctx context.Context, account core.AccountID, id core.TraceID) ([]core.Node, error) {
	var nodes []core.Node
	err := s.Do(ctx, func() (err error) {
		nodes, err = s.file.read(account, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read a trace: %w", err)
	}
	return nodes, nil
}

// Purge implements trace.Store. It goes in small steps, so that recording goes on beside it.
func (s *Store) Purge(ctx context.Context, before time.Time) error {
	for {
		removed := 0
		err := s.Do(ctx, func() (err error) {
			removed, err = s.file.purge(core.FirstRecordID(before))
			return err
		})
		if err != nil {
			return fmt.Errorf("purge traces: %w", err)
		}
		if removed == 0 {
			return nil
		}
	}
}

// Close implements trace.Store.
func (s *Store) Close() error { return s.close() }

// write drops what cannot be written.
func (s *Store) write(entries []trace.Entry) (lost int) {
	if err := s.file.write(entries); err != nil {
		s.logger.Error("traces: cannot write; entries are dropped", "entries", len(entries), "error", err)
		return len(entries)
	}
	return 0
}
