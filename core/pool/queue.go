package pool

import "time"

// The methods of this file need the pool's mutex.

// offer hands a task to a worker that waits, or queues it, or returns ErrFull.
func (p *Pool) offer(t task) error {
	switch last := len(p.idle) - 1; {
	case t == nil:
		return errNilTask
	case p.stopping:
		return ErrStopped
	case last >= 0: // then the queue is empty
		w := p.idle[last]
		p.idle = p.idle[:last]
		p.active++
		w.next <- t
	case p.tasks.len() >= p.settings.QueueSize:
		p.grow()
		return ErrFull
	default:
		p.enqueue(t)
	}
	return nil
}

// enqueue appends a task, which may bring a worker.
func (p *Pool) enqueue(t task) {
	p.tasks.push(t)
	p.observe()
	p.grow()
}

// dequeue takes the oldest task and lets in who waits for its room.
func (p *Pool) dequeue() task {
	t := p.tasks.pop()
	p.active++
	p.observe()
	p.admit()
	return t
}

// admit queues tasks of submissions that wait, as far as there is room.
func (p *Pool) admit() {
	for len(p.blocked) > 0 && p.tasks.len() < p.settings.QueueSize {
		s := p.blocked[0]
		p.blocked[0] = nil
		p.blocked = p.blocked[1:]
		p.enqueue(s.task)
		s.ready <- nil
	}
}

// usage is the share of the queue that is taken.
func (p *Pool) usage() float64 { return float64(p.tasks.len()) / float64(p.settings.QueueSize) }

// observe notes since when the queue is low.
func (p *Pool) observe() {
	switch low := p.usage() <= p.settings.ScaleDown; {
	case !low:
		p.lowSince = time.Time{}
	case p.lowSince.IsZero():
		p.lowSince = time.Now()
	}
}

// grow brings a worker if the queue is high.
func (p *Pool) grow() {
	if p.workers < p.settings.Max && p.usage() >= p.settings.ScaleUp {
		p.start(1)
	}
}

// surplus says whether a busy worker may end, which it does once in Idle.
func (p *Pool) surplus() bool {
	if p.workers <= p.settings.Core || p.stopping || p.lowSince.IsZero() || time.Since(p.lowSince) < p.settings.Idle {
		return false
	}
	p.lowSince = time.Now()
	return true
}

// wakeIdle makes every worker that waits look around: it may be one too many.
func (p *Pool) wakeIdle() {
	for _, w := range p.idle {
		w.next <- nil
	}
	p.idle = p.idle[:0]
}

// ring is a first-in-first-out queue of tasks that grows as needed.
type ring struct {
	tasks       []task
	first, size int
}

func (r *ring) len() int { return r.size }

func (r *ring) push(t task) {
	if r.size == len(r.tasks) {
		larger := make([]task, max(16, 2*r.size))
		n := copy(larger, r.tasks[r.first:])
		copy(larger[n:], r.tasks[:r.first])
		r.tasks, r.first = larger, 0
	}
	r.tasks[(r.first+r.size)%len(r.tasks)] = t
	r.size++
}

func (r *ring) pop() task {
	t := r.tasks[r.first]
	r.tasks[r.first] = nil
	r.first = (r.first + 1) % len(r.tasks)
	r.size--
	return t
}
