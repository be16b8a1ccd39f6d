package sqlite

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"zombiezen.com/go/sqlite"
)

const (
	// maxWaiting bounds the operations that wait for the writer; beyond it callers wait to hand theirs over.
	maxWaiting = 1024
	// maxGroupRows ends a group: what has waited behind this many rows goes into the next commit.
	maxGroupRows = 4096
	// commitGrace is how long a caller whose context ended still waits for a commit under way: its true
	// end, milliseconds away, is worth more than a quick "unknown".
	commitGrace = time.Second
)

// operation is one write on its way through the writer.
type operation struct {
	what string
	rows int // how much work it is, as near as can be told
	// run does the write inside a transaction. It may run more than once: see writer.group.
	run  func(conn) error
	done chan error
	// state goes from waiting to taken (by the writer) or abandoned (by the caller), once.
	state atomic.Int32
}

const (
	operationWaiting int32 = iota
	operationTaken
	operationAbandoned
)

// writer owns the one connection that writes. Its goroutine takes all operations that wait into one
// transaction, so that they share one sync to disk; an operation that comes alone is committed at once.
// The longer a commit takes, the larger the next group: there is no timer to tune.
type writer struct {
	conn    conn
	queue   chan *operation
	closing chan struct{}
	close   sync.Once
	ended   chan struct{} // closed when the goroutine has ended
}

func startWriter(c conn) *writer {
	w := &writer{
		conn: c, queue: make(chan *operation, maxWaiting),
		closing: make(chan struct{}), ended: make(chan struct{}),
	}
	go w.loop()
	return w
}

// stop lets the operations that wait finish, and waits for the goroutine.
func (w *writer) stop() {
	w.close.Do(func() { close(w.closing) })
	<-w.ended
}

// do hands an operation to the writer and waits for its commit.
func (w *writer) do(ctx context.Context, what string, rows int, run func(conn) error) error {
	op := &operation{what: what, rows: rows, run: run, done: make(chan error, 1)}
	select {
	case <-w.closing:
		return errClosed
	default:
	}
	select {
	case w.queue <- op:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.closing:
		return errClosed
	}
	select {
	case err := <-op.done:
		return err
	case <-w.ended:
		return w.afterEnd(op)
	case <-ctx.Done():
		return w.afterCancel(ctx, op)
	}
}

// afterEnd answers for an operation that may have come too late for the last group.
func (w *writer) afterEnd(op *operation) error {
	select {
	case err := <-op.done:
		return err
	default:
		return errClosed
	}
}

// afterCancel takes the operation back if the writer has not begun it, and waits for it otherwise.
func (w *writer) afterCancel(ctx context.Context, op *operation) error {
	if op.state.CompareAndSwap(operationWaiting, operationAbandoned) {
		return ctx.Err()
	}
	grace := time.NewTimer(commitGrace)
	defer grace.Stop()
	select {
	case err := <-op.done:
		return err
	case <-grace.C:
		return unknown(op.what, ctx.Err())
	}
}

func (w *writer) loop() {
	defer close(w.ended)
	for {
		select {
		case op := <-w.queue:
			w.group(w.gather(op))
		case <-w.closing:
			for len(w.queue) > 0 {
				w.group(w.gather(<-w.queue))
			}
			return
		}
	}
}

// gather takes what waits behind the first operation, up to the size of a group.
func (w *writer) gather(first *operation) []*operation {
	var group []*operation
	rows := 0
	for op := first; ; op = <-w.queue {
		if op.state.CompareAndSwap(operationWaiting, operationTaken) {
			group = append(group, op)
			rows += op.rows
		}
		if rows >= maxGroupRows || len(w.queue) == 0 {
			return group
		}
	}
}

// group commits operations together. Operations do not fail when the database is sound, so they run
// without savepoints, which would copy every page that each of them touches. If one does fail, the
// whole transaction is rolled back and each runs again in one of its own.
func (w *writer) group(ops []*operation) {
	if len(ops) == 0 {
		return
	}
	failed, err := w.commit(ops...)
	if failed == nil || len(ops) == 1 {
		for _, op := range ops {
			op.done <- answer(op, err)
		}
		return
	}
	for _, op := range ops {
		_, err := w.commit(op)
		op.done <- answer(op, err)
	}
}

// answer is what the caller of an operation gets to see.
func answer(op *operation, err error) error {
	if _, ok := errors.AsType[*commitError](err); ok {
		return unknown(op.what, err)
	}
	return explain(op.what, err)
}

// commit runs operations in one transaction. If one of them failed, it returns that one too.
func (w *writer) commit(ops ...*operation) (*operation, error) {
	if _, err := w.conn.prepare("BEGIN IMMEDIATE").run(); err != nil {
		return nil, err
	}
	for _, op := range ops {
		if err := op.run(w.conn); err != nil {
			w.rollback()
			return op, err
		}
	}
	_, err := w.conn.prepare("COMMIT").run()
	if err == nil {
		return nil, nil
	}
	w.rollback()
	if sqlite.ErrCode(err).ToPrimary() == sqlite.ResultIOErr {
		err = &commitError{err}
	}
	return nil, err
}

// rollback ends the transaction, unless SQLite did so itself when an operation failed.
func (w *writer) rollback() {
	if !w.conn.AutocommitEnabled() {
		_, _ = w.conn.prepare("ROLLBACK").run() // the error that led here says more
	}
}

// commitError is a failure of the disk while a commit was written: after a crash the commit may turn
// out to be there. Every other failure of a commit surely changes nothing.
type commitError struct{ cause error }

func (e *commitError) Error() string { return "commit: " + e.cause.Error() }

func (e *commitError) Unwrap() error { return e.cause }
