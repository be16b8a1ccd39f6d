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
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

var _ trace.Store = (*Store)(nil)

const (
	// defaultBuffer holds what comes in a second or two at full load.
	defaultBuffer = 1 << 16
	// batch is the number of entries that share a transaction at most.
	batch = 2000
	// linger is how long entries may gather before they are written. Nobody waits for them, and a
	// larger batch costs each of them less.
	linger = 50 * time.Millisecond
)

// errClosed is the answer to everything after Close.
var errClosed = core.Errorf(core.KindUnavailable, "the traces are closed")

// Options say where traces are kept.
type Options struct {
	// Path is the file, made if absent, or ":memory:".
	Path string
	// Buffer is how many entries may wait to be written before further ones are dropped; default 65,536.
	Buffer int
	// Logger hears of write errors, and of a damaged file that was set aside; default slog.Default.
	Logger *slog.Logger
}

// Store keeps traces. It implements trace.Store.
type Store struct {
	logger  *slog.Logger
	dropped atomic.Int64
	wake    chan struct{}
	tasks   chan task
	closing chan struct{}
	ended   chan struct{}
	close   func() error

	mu     sync.Mutex
	limit  int
	buffer []trace.Entry
	closed bool
}

// task is something to do on the connection between batches.
type task struct {
	run  func(*file) error
	done chan error
}

// Open opens the file. One that is damaged is set aside as <path>.damaged and a new one begun: nothing
// depends on traces, and a gateway that does not start helps nobody.
func Open(o Options) (*Store, error) {
	if o.Buffer == 0 {
		o.Buffer = defaultBuffer
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	f, err := openOrBegin(o)
	if err != nil {
		return nil, fmt.Errorf("open the traces %s: %w", o.Path, err)
	}
	s := &Store{
		logger: o.Logger, limit: o.Buffer,
		wake: make(chan struct{}, 1), tasks: make(chan task), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	s.close = sync.OnceValue(func() error {
		s.mu.Lock()
		s.closed = true
		s.mu.Unlock()
		close(s.closing)
		<-s.ended
		return f.close()
	})
	go s.loop(f)
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

// Record implements trace.Recorder.
func (s *Store) Record(entries ...trace.Entry) {
	if len(entries) == 0 {
		return
	}
	s.mu.Lock()
	room := s.limit - len(s.buffer)
	if s.closed {
		room = 0
	}
	taken := min(room, len(entries))
	s.buffer = append(s.buffer, entries[:taken]...)
	s.mu.Unlock()
	s.dropped.Add(int64(len(entries) - taken))
	select {
	case s.wake <- struct{}{}:
	default: // the writer knows already
	}
}

// Dropped implements trace.Store.
func (s *Store) Dropped() int64 { return s.dropped.Load() }

// Nodes implements trace.Reader.
func (s *Store) Nodes(ctx context.Context, account core.AccountID, id core.TraceID) ([]core.Node, error) {
	var nodes []core.Node
	err := s.do(ctx, func(f *file) (err error) {
		nodes, err = f.read(account, id)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read a trace: %w", err)
	}
	return nodes, nil
}

// Flush implements trace.Store.
func (s *Store) Flush(ctx context.Context) error {
	// The task is taken after whatever is in the buffer by then was written.
	return s.do(ctx, func(f *file) error { s.writeAll(f); return nil })
}

// Purge implements trace.Store. It goes in small steps, so that recording goes on beside it.
func (s *Store) Purge(ctx context.Context, before time.Time) error {
	for {
		removed := 0
		err := s.do(ctx, func(f *file) (err error) {
			removed, err = f.purge(core.FirstRecordID(before))
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

// do runs a task on the writer's goroutine, which owns the connection.
func (s *Store) do(ctx context.Context, run func(*file) error) error {
	t := task{run: run, done: make(chan error, 1)}
	select {
	case s.tasks <- t:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ended:
		return errClosed
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) loop(f *file) {
	defer close(s.ended)
	for {
		select {
		case t := <-s.tasks:
			t.done <- t.run(f)
		case <-s.wake:
			s.linger(f)
			s.writeAll(f)
		case <-s.closing:
			s.writeAll(f)
			return
		}
	}
}

// linger lets a batch gather, and does tasks meanwhile.
func (s *Store) linger(f *file) {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		select {
		case t := <-s.tasks:
			t.done <- t.run(f)
		case <-timer.C:
			return
		case <-s.closing:
			return
		}
	}
}

// writeAll writes what is in the buffer, a batch at a time. What cannot be written is dropped.
func (s *Store) writeAll(f *file) {
	s.mu.Lock()
	entries := s.buffer
	s.buffer = nil
	s.mu.Unlock()
	for len(entries) > 0 {
		n := min(batch, len(entries))
		if err := f.write(entries[:n]); err != nil {
			s.dropped.Add(int64(n))
			s.logger.Error("traces: cannot write; entries are dropped", "entries", n, "error", err)
		}
		entries = entries[n:]
	}
}
