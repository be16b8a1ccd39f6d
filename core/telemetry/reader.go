package telemetry

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/pigeonry/pigeonry/core"
)

// readTimeout bounds what a scrape may ask of the store and the queue.
const readTimeout = 2 * time.Second

// reader reads the state of the parts at each scrape.
type reader struct {
	s Sources

	depth, unacked, workers, active, waiting, tasks, taskMS *prometheus.Desc
	connector, inFlight, restarts, oldest, dropped, dead    *prometheus.Desc
}

func newReader(s Sources) *reader {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("pigeonry_"+name, help, labels, nil)
	}
	return &reader{
		s:         s,
		depth:     d("queue_messages", "Messages that wait in the queue.", "channel", "lane"),
		unacked:   d("queue_unacked_envelopes", "Envelopes that workers hold.", "channel", "lane"),
		workers:   d("pool_workers", "Workers of the pool.", "pool", "channel"),
		active:    d("pool_active_count", "Workers at work.", "pool", "channel"),
		waiting:   d("pool_queue_size", "Tasks that wait for a worker.", "pool", "channel"),
		tasks:     d("pool_completed_tasks", "Tasks done.", "pool", "channel"),
		taskMS:    d("pool_avg_task_duration_ms", "Average time of a task.", "pool", "channel"),
		connector: d("connector_ready", "1 if the connector can carry messages.", "connector"),
		inFlight:  d("plugin_in_flight", "Attempts handed to the process and without a result.", "plugin", "version"),
		restarts:  d("plugin_restarts", "Times the process was started again after a crash.", "plugin", "version"),
		oldest:    d("oldest_message_seconds", "Age of the oldest message that could be sent."),
		dropped:   d("traces_dropped", "Trace entries that were not kept."),
		dead:      d("dead_envelopes", "Envelopes in the dead-letter queue: the broker gave up on them, and the gateway publishes their messages again."),
	}
}

// Describe implements prometheus.Collector.
func (r *reader) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		r.depth, r.unacked, r.workers, r.active, r.waiting, r.tasks, r.taskMS,
		r.connector, r.inFlight, r.restarts, r.oldest, r.dropped, r.dead,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. What cannot be read now is left out.
func (r *reader) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	if lanes, err := r.s.Queue(ctx); err == nil {
		for _, l := range lanes {
			gauge(r.depth, float64(l.Messages), l.Channel, l.Lane.String())
			gauge(r.unacked, float64(l.Unacked), l.Channel, l.Lane.String())
		}
	}
	for channel, p := range r.s.Pools() {
		gauge(r.workers, float64(p.Workers), p.Name, channel)
		gauge(r.active, float64(p.ActiveCount), p.Name, channel)
		gauge(r.waiting, float64(p.QueueSize), p.Name, channel)
		gauge(r.tasks, float64(p.CompletedTasks), p.Name, channel)
		gauge(r.taskMS, p.AvgTaskDurationMS, p.Name, channel)
	}
	for _, c := range r.s.Connectors() {
		ready := 0.0
		if c.State == core.ConnectorReady || c.State == core.ConnectorDegraded {
			ready = 1
		}
		gauge(r.connector, ready, string(c.ID))
	}
	for _, p := range r.s.Plugins() {
		inFlight, restarts := map[string]int{}, map[string]int{} // several processes may run the same version
		for _, g := range p.Generations {
			inFlight[g.Version] += g.InFlight
			restarts[g.Version] += g.Restarts
		}
		for version, n := range inFlight {
			gauge(r.inFlight, float64(n), p.Name, version)
			gauge(r.restarts, float64(restarts[version]), p.Name, version)
		}
	}
	if age, err := r.s.OldestAge(ctx); err == nil {
		gauge(r.oldest, age.Seconds())
	}
	gauge(r.dropped, float64(r.s.TracesDropped()))
	if r.s.Dead != nil {
		if n, err := r.s.Dead(ctx); err == nil {
			gauge(r.dead, float64(n))
		}
	}
}
