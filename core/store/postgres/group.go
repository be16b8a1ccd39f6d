package postgres

import (
	"context"
	"sync"
	"time"
)

const (
	// groupRows is how many rows calls share a statement with, and groupStatements how many statements of a kind run
	// at a time: while one waits for the disk the other uses the processor.
	groupRows       = 2000
	groupStatements = 2
	// groupTimeout bounds one statement, whatever its callers' contexts do.
	groupTimeout = 30 * time.Second
)

// call is a part of a group's next statement. It is filled in by the statement.
type call interface {
	rows() int
}

// group lets calls that come while a statement runs share the next one. A call that comes alone goes at once. The
// longer a statement takes, the more calls the next one carries: there is no timer to tune. It has no goroutine
// while nobody calls.
type group[C call] struct {
	run func(context.Context, []C) error

	mu      sync.Mutex
	waiting []pendingCall[C]
	running int
	idle    sync.WaitGroup
}

type pendingCall[C call] struct {
	call C
	done chan error
}

func newGroup[C call](run func(context.Context, []C) error) *group[C] { return &group[C]{run: run} }

// do runs a call and waits for it. When ctx ends first the statement may still run.
func (g *group[C]) do(ctx context.Context, c C) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	done := make(chan error, 1)
	g.mu.Lock()
	g.waiting = append(g.waiting, pendingCall[C]{c, done})
	if g.running < groupStatements {
		g.running++
		g.idle.Go(g.work)
	}
	g.mu.Unlock()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// work runs statements until no call waits.
func (g *group[C]) work() {
	for {
		calls := g.take()
		if calls == nil {
			return
		}
		g.share(calls)
	}
}

// take returns the calls of the next statement, or ends the worker.
func (g *group[C]) take() []pendingCall[C] {
	g.mu.Lock()
	defer g.mu.Unlock()
	n, rows := 0, 0
	for n < len(g.waiting) && (n == 0 || rows+g.waiting[n].call.rows() <= groupRows) {
		rows += g.waiting[n].call.rows()
		n++
	}
	if n == 0 {
		g.running--
		return nil
	}
	calls := g.waiting[:n:n]
	g.waiting = g.waiting[n:]
	if len(g.waiting) == 0 {
		g.waiting = nil
	}
	return calls
}

// share runs calls as one. If that fails, each runs alone, so that none fails for another's sake.
func (g *group[C]) share(calls []pendingCall[C]) {
	ctx, cancel := context.WithTimeout(context.Background(), groupTimeout)
	defer cancel()
	all := make([]C, len(calls))
	for i := range calls {
		all[i] = calls[i].call
	}
	err := g.run(ctx, all)
	if err == nil || len(calls) == 1 || isNetwork(err) {
		for i := range calls {
			calls[i].done <- err
		}
		return
	}
	for i := range calls {
		calls[i].done <- g.run(ctx, all[i:i+1])
	}
}

// wait returns when no statement runs.
func (g *group[C]) wait() { g.idle.Wait() }
