// Package pool runs tasks on workers whose number follows the queue. It knows tasks, not messages.
//
// A pool keeps Core workers. A task that finds the queue filled to ScaleUp brings a further worker, up to
// Max. While the queue stays at ScaleDown or below for Idle, workers beyond Core end: all that had
// nothing to do for Idle, and one of the busy ones for each Idle, as they finish a task. Between the
// two shares nothing changes, so that the number does not swing.
package pool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// ErrStopped says that the pool takes no more tasks.
var ErrStopped = errors.New("pool is stopped")

// ErrFull says that the queue of tasks has no room now.
var ErrFull = errors.New("pool queue is full")

// errNilTask is the answer to a slip of the caller.
var errNilTask = errors.New("pool: the task is nil")

// Options of a pool. See Settings for the fields that both have.
type Options struct {
	Name      string // for stats and logs
	Core, Max int
	ScaleUp   float64
	ScaleDown float64
	QueueSize int
	Idle      time.Duration
	Logger    *slog.Logger // nil: slog.Default
}

// Pool runs tasks. Several goroutines may use it. Its workers are its own goroutines, which Stop ends
// and waits for.
type Pool struct {
	name   string
	logger *slog.Logger
	ctx    context.Context //nolint:containedctx // the pool's own, handed to every task
	cancel context.CancelFunc

	mu       sync.Mutex
	settings Settings
	stopping bool
	tasks    ring
	blocked  []*submission // submits that wait for room, in the order of their coming
	idle     []*worker     // workers that wait for a task, the latest last
	lowSince time.Time     // the queue is at ScaleDown or below since then; zero: it is above
	workers  int
	active   int
	done     counters

	running sync.WaitGroup // workers
}

// task is what a worker runs.
type task func(context.Context)

// New starts a pool with its Core workers. The error is a *core.Error that names every wrong setting.
func New(o Options) (*Pool, error) {
	settings := Settings{
		Core: o.Core, Max: o.Max, ScaleUp: o.ScaleUp, ScaleDown: o.ScaleDown,
		QueueSize: o.QueueSize, Idle: o.Idle,
	}.complete()
	if err := settings.validate(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Pool{
		name: o.Name, logger: cmp.Or(o.Logger, slog.Default()), ctx: ctx, cancel: cancel,
		settings: settings, lowSince: time.Now(),
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.start(settings.Core)
	return p, nil
}

// submission is a Submit that waits for room.
type submission struct {
	task  task
	ready chan error // nil when the task is in the queue; has room for the one value it gets
}

// Submit gives a task to the pool, and waits for room in the queue until ctx ends. Each task that was
// taken runs exactly once, with a context of the pool's own that ends when Stop loses patience. The
// error is ErrStopped or wraps ctx's.
func (p *Pool) Submit(ctx context.Context, t func(context.Context)) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("submit to pool %s: %w", p.name, err)
	}
	s, err := p.submitOrWait(t)
	if s == nil {
		return err
	}
	select {
	case err := <-s.ready:
		return err
	case <-ctx.Done():
	}
	if p.withdraw(s) {
		return fmt.Errorf("submit to pool %s: %w", p.name, ctx.Err())
	}
	return <-s.ready // it was decided in the same moment
}

// TrySubmit gives a task to the pool if there is room at once. The error is ErrFull or ErrStopped.
func (p *Pool) TrySubmit(t func(context.Context)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.offer(t)
}

// submitOrWait takes a task, or returns a submission that waits for room.
func (p *Pool) submitOrWait(t task) (*submission, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	err := p.offer(t)
	if !errors.Is(err, ErrFull) {
		return nil, err
	}
	s := &submission{task: t, ready: make(chan error, 1)}
	p.blocked = append(p.blocked, s)
	return s, nil
}

// withdraw ends a wait for room, or returns false if it was decided before.
func (p *Pool) withdraw(s *submission) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.blocked, s)
	if i >= 0 {
		p.blocked = slices.Delete(p.blocked, i, i+1)
	}
	return i >= 0
}

// Resize puts new settings in force at once: missing workers start, and workers above the new Max end
// when they have finished their task. Tasks beyond a smaller queue stay. The error is a *core.Error that
// names every wrong setting, and then nothing changes.
func (p *Pool) Resize(s Settings) error {
	s = s.complete()
	if err := s.validate(); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.stopping {
		return ErrStopped
	}
	p.settings = s
	p.start(s.Core - p.workers)
	p.observe()
	p.admit()
	p.wakeIdle()
	return nil
}

// Stop takes no more tasks and waits until those taken have run. When ctx ends first, it cancels the
// context of every task, of those still queued too, and waits for them all: no task is dropped, and the
// error then wraps ctx's. Stop may be called again and waits again.
func (p *Pool) Stop(ctx context.Context) error {
	p.refuse()
	stop := context.AfterFunc(ctx, p.cancel)
	p.running.Wait()
	patient := stop()
	p.cancel()
	if !patient {
		return fmt.Errorf("drain pool %s: %w", p.name, ctx.Err())
	}
	return nil
}

// refuse ends the taking of tasks, and the wait of those who offer one.
func (p *Pool) refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stopping = true
	for _, s := range p.blocked {
		s.ready <- ErrStopped
	}
	p.blocked = nil
	p.wakeIdle()
}
