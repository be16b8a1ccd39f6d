package trace

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// DefaultBuffer is how many entries wait at most by default. It holds what comes in a second or two
	// at full load.
	DefaultBuffer = 1 << 16
	// batch is the number of entries that are written together at most.
	batch = 2000
	// linger is how long entries may gather before they are written. Nobody waits for them, and a
	// larger batch costs each of them less.
	linger = 50 * time.Millisecond
)

// errClosed is the answer to everything after Close.
var errClosed = core.Errorf(core.KindUnavailable, "the traces are closed")

// Buffer takes entries from many and hands them in batches to a writer. It owns one goroutine, on which
// everything is written and done.
type Buffer struct {
	write   func([]Entry) int
	dropped atomic.Int64
	wake    chan struct{}
	tasks   chan task
	closing chan struct{}
	ended   chan struct{}
	close   func()

	mu      sync.Mutex
	limit   int
	waiting []Entry
	closed  bool
	spare   []Entry // the writer's; takes the place of waiting
}

// task is something to do between batches.
type task struct {
	run  func() error
	done chan error
}

// NewBuffer makes a buffer of up to limit entries, 0 for DefaultBuffer. Write keeps the entries of a batch
// and returns how many of them it could not keep; it must not hold on to the slice.
func NewBuffer(limit int, write func(entries []Entry) (lost int)) *Buffer {
	if limit <= 0 {
		limit = DefaultBuffer
	}
	b := &Buffer{
		write: write, limit: limit,
		wake: make(chan struct{}, 1), tasks: make(chan task), closing: make(chan struct{}), ended: make(chan struct{}),
	}
	b.close = sync.OnceFunc(func() {
		b.mu.Lock()
		b.closed = true
		b.mu.Unlock()
		close(b.closing)
		<-b.ended
	})
	go b.loop()
	return b
}

// Record implements Recorder.
func (b *Buffer) Record(entries ...Entry) {
	if len(entries) == 0 {
		return
	}
	b.mu.Lock()
	room := b.limit - len(b.waiting)
	if b.closed {
		room = 0
	}
	taken := min(room, len(entries))
	b.waiting = append(b.waiting, entries[:taken]...)
	b.mu.Unlock()
	b.dropped.Add(int64(len(entries) - taken))
	select {
	case b.wake <- struct{}{}:
	default: // the writer knows already
	}
}

// Dropped counts entries that were not taken, or taken and lost.
func (b *Buffer) Dropped() int64 { return b.dropped.Load() }

// Flush waits until what was recorded before is written.
func (b *Buffer) Flush(ctx context.Context) error {
	// The task is taken after whatever is in the buffer by then was written.
	return b.Do(ctx, func() error { b.writeAll(); return nil })
}

// Do runs a task on the writer's goroutine. The error is the task's or ctx's, or says that the buffer is
// closed.
func (b *Buffer) Do(ctx context.Context, run func() error) error {
	t := task{run: run, done: make(chan error, 1)}
	select {
	case b.tasks <- t:
	case <-ctx.Done():
		return ctx.Err()
	case <-b.ended:
		return errClosed
	}
	select {
	case err := <-t.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what waits and ends.
func (b *Buffer) Close() { b.close() }

func (b *Buffer) loop() {
	defer close(b.ended)
	for {
		select {
		case t := <-b.tasks:
			t.done <- t.run()
		case <-b.wake:
			b.linger()
			b.writeAll()
		case <-b.closing:
			b.writeAll()
			return
		}
	}
}

// linger lets a batch gather, and does tasks meanwhile.
func (b *Buffer) linger() {
	timer := time.NewTimer(linger)
	defer timer.Stop()
	for {
		select {
		case t := <-b.tasks:
			t.done <- t.run()
		case <-timer.C:
			return
		case <-b.closing:
			return
		}
	}
}

// maxSpare bounds the memory that is kept between batches after a rush.
const maxSpare = 1 << 13

// writeAll writes what waits, a batch at a time.
func (b *Buffer) writeAll() {
	b.mu.Lock()
	entries := b.waiting
	b.waiting, b.spare = b.spare[:0], nil
	b.mu.Unlock()
	for rest := entries; len(rest) > 0; {
		n := min(batch, len(rest))
		b.dropped.Add(int64(b.write(rest[:n])))
		rest = rest[n:]
	}
	if cap(entries) <= maxSpare {
		clear(entries) // lets go of the nodes
		b.spare = entries
	}
}
