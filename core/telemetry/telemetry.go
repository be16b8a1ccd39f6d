// Package telemetry counts what the gateway does, for Prometheus. Names start with pigeonry_. No label
// ever carries a recipient, a template or an account: their number has no bound.
package telemetry

import (
	"context"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/queue"
)

// Sources are asked when the metrics are read.
type Sources struct {
	Queue      func(context.Context) ([]queue.LaneStats, error)
	Pools      func() map[string]pool.Stats // by channel
	Connectors func() []core.ConnectorStatus
	Plugins    func() []core.PluginStatus
	// OldestAge is how long the oldest message that could be sent has waited.
	OldestAge     func(context.Context) (time.Duration, error)
	TracesDropped func() int64
	// Dead counts the envelopes that the broker gave up on; nil: there is no such thing.
	Dead func(context.Context) (int, error)
}

// Metrics are the counters of one gateway.
type Metrics struct {
	registry *prometheus.Registry
	accepted *prometheus.CounterVec
	outcomes *prometheus.CounterVec
	latency  *prometheus.HistogramVec
	receipts *prometheus.CounterVec
	requests *prometheus.HistogramVec
}

// New returns metrics in a registry of their own.
func New() *Metrics {
	m := &Metrics{
		registry: prometheus.NewRegistry(),
		accepted: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pigeonry_messages_accepted_total", Help: "Messages committed to the store, by channel and lane.",
		}, []string{"channel", "lane"}),
		outcomes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pigeonry_attempts_total", Help: "Attempts that ended, by connector, outcome and the status the message got.",
		}, []string{"connector", "outcome", "status"}),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pigeonry_provider_latency_seconds", Help: "Time the provider took for an attempt, by connector.",
			Buckets: prometheus.ExponentialBuckets(0.001, 4, 9),
		}, []string{"connector"}),
		receipts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "pigeonry_receipts_total", Help: "Receipts stored, by connector, status and whether they found their message.",
		}, []string{"connector", "status", "matched"}),
		requests: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "pigeonry_http_request_seconds", Help: "Time of HTTP requests, by route and status.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 3, 9),
		}, []string{"method", "route", "status"}),
	}
	m.registry.MustRegister(m.accepted, m.outcomes, m.latency, m.receipts, m.requests,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// Watch adds what is read from the parts of a running gateway.
func (m *Metrics) Watch(s Sources) { m.registry.MustRegister(newReader(s)) }

// Handler serves the metrics in the Prometheus text format.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{Timeout: 5 * time.Second})
}

// Accepted counts the envelopes of a commit.
func (m *Metrics) Accepted(envelopes []core.Envelope) {
	for _, e := range envelopes {
		m.accepted.WithLabelValues(e.Channel, e.Lane.String()).Add(float64(len(e.Records)))
	}
}

// Outcome counts an attempt that ended.
func (m *Metrics) Outcome(connector core.ConnectorID, outcome core.Outcome, status core.Status, latency time.Duration) {
	m.outcomes.WithLabelValues(string(connector), string(outcome), string(status)).Inc()
	if latency > 0 {
		m.latency.WithLabelValues(string(connector)).Observe(latency.Seconds())
	}
}

// Receipt counts a receipt.
func (m *Metrics) Receipt(connector core.ConnectorID, status core.ReceiptStatus, matched bool) {
	found := "no"
	if matched {
		found = "yes"
	}
	m.receipts.WithLabelValues(string(connector), string(status), found).Inc()
}

// Request observes an HTTP request. The route is the pattern, not the path.
func (m *Metrics) Request(method, route, status string, d time.Duration) {
	m.requests.WithLabelValues(method, route, status).Observe(d.Seconds())
}
