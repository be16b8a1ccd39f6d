package pool

import (
	"fmt"
	"runtime/debug"
	"slices"
	"time"
)

// worker is one goroutine of the pool.
type worker struct {
	next chan task // what it gets while it waits: a task, or nil to look around; has room for one
}

// start brings n workers, none if n is negative. The mutex is held.
func (p *Pool) start(n int) {
	for range max(n, 0) {
		p.workers++
		w := &worker{next: make(chan task, 1)}
		p.running.Go(func() { p.work(w) })
	}
}

// work runs tasks until the worker is not needed any more.
func (p *Pool) work(w *worker) {
	ended := false
	defer func() {
		if !ended { // a task called runtime.Goexit
			p.replace()
		}
	}()
	for {
		t, needed := p.next(w)
		if t != nil {
			p.run(t)
		} else if !needed {
			ended = true
			return
		}
	}
}

// next returns the next task, or nil to be called again, or that the worker is not needed.
func (p *Pool) next(w *worker) (t task, needed bool) {
	t, idle, needed := p.takeOrWait(w)
	if t != nil || !needed {
		return t, needed
	}
	if idle == 0 {
		return <-w.next, true
	}
	timer := time.NewTimer(idle)
	defer timer.Stop()
	select {
	case t = <-w.next:
		return t, true
	case <-timer.C:
		return p.afterIdle(w)
	}
}

// takeOrWait takes a task, or makes the worker wait: for Idle if it is beyond Core, 0 stands for ever.
func (p *Pool) takeOrWait(w *worker) (t task, idle time.Duration, needed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch waiting := p.tasks.len() > 0; {
	case p.workers > p.settings.Max, p.stopping && !waiting, p.surplus():
		p.workers--
		return nil, 0, false
	case waiting:
		return p.dequeue(), 0, true
	}
	p.idle = append(p.idle, w)
	if p.workers > p.settings.Core {
		idle = p.settings.Idle
	}
	return nil, idle, true
}

// afterIdle ends a worker that waited for Idle, unless it is needed or got a task in the same moment.
func (p *Pool) afterIdle(w *worker) (t task, needed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.idle, w)
	if i < 0 {
		return <-w.next, true // it is there: who takes a worker off the list fills its channel
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	if p.workers <= p.settings.Core {
		return nil, true
	}
	p.workers--
	return nil, false
}

// replace brings a worker for one that its task has ended.
func (p *Pool) replace() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.workers--
	p.start(1)
}

// run runs one task. A panic costs the task and nothing else.
func (p *Pool) run(t task) {
	start := time.Now()
	defer func() {
		cause := recover()
		p.finish(time.Since(start), cause != nil)
		if cause != nil {
			p.logger.Error("a task panicked", "pool", p.name, "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
	}()
	t(p.ctx)
}
