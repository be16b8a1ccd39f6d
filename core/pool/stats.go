package pool

import "time"

// Stats is what a pool tells of itself.
type Stats struct {
	Name              string
	Core, Max         int     // settings in force
	Workers           int     // that live
	ActiveCount       int     // workers that run a task
	QueueSize         int     // tasks that wait
	QueueCapacity     int     // tasks that may wait
	CompletedTasks    int64   // since the start, those that panicked too
	AvgTaskDurationMS float64 // of all completed tasks
	Panics            int64   // tasks that panicked
}

// counters sum up what has run.
type counters struct {
	tasks, panics int64
	duration      time.Duration
}

// finish counts a task that has ended.
func (p *Pool) finish(took time.Duration, panicked bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active--
	p.done.tasks++
	p.done.duration += took
	if panicked {
		p.done.panics++
	}
}

// Stats returns the state of this moment.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	return Stats{
		Name: p.name, Core: p.settings.Core, Max: p.settings.Max,
		Workers: p.workers, ActiveCount: p.active,
		QueueSize: p.tasks.len(), QueueCapacity: p.settings.QueueSize,
		CompletedTasks:    p.done.tasks,
		AvgTaskDurationMS: p.done.average().Seconds() * 1000,
		Panics:            p.done.panics,
	}
}

func (c counters) average() time.Duration {
	if c.tasks == 0 {
		return 0
	}
	return c.duration / time.Duration(c.tasks)
}
