package telemetry_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/telemetry"
)

// sources are a gateway with one message waiting and one plugin that runs twice in the same version.
func sources() telemetry.Sources {
	return telemetry.Sources{
		Queue: func(context.Context) ([]queue.LaneStats, error) {
			return []queue.LaneStats{{Channel: "sms", Lane: core.LaneHigh, Envelopes: 1, Messages: 3, Unacked: 2}}, nil
		},
		Pools: func() map[string]pool.Stats {
			return map[string]pool.Stats{"sms": {Name: "message_sender", Workers: 20, ActiveCount: 4}}
		},
		Connectors: func() []core.ConnectorStatus {
			return []core.ConnectorStatus{
				{ID: "sms/a", State: core.ConnectorDegraded}, {ID: "sms/b", State: core.ConnectorUnavailable},
			}
		},
		Plugins: func() []core.PluginStatus {
			return []core.PluginStatus{{Name: "sms", Generations: []core.GenerationStatus{
				{Version: "1.0.0", InFlight: 5, Restarts: 1}, {Version: "1.0.0", InFlight: 2, Restarts: 2},
			}}}
		},
		OldestAge:     func(context.Context) (time.Duration, error) { return 90 * time.Second, nil },
		TracesDropped: func() int64 { return 7 },
	}
}

// scrape returns what Prometheus would read.
func scrape(t *testing.T, m *telemetry.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetrics(t *testing.T) {
	m := telemetry.New()
	m.Watch(sources())
	m.Accepted([]core.Envelope{{Channel: "sms", Lane: core.LaneLow, Records: []core.RecordID{1, 2}}})
	m.Outcome("sms/a", core.OutcomeAccepted, core.StatusSent, 2*time.Millisecond)
	m.Outcome("sms/a", core.OutcomeUncertain, core.StatusQueued, 0) // no latency is known
	m.Receipt("sms/a", core.ReceiptDelivered, true)
	m.Request(http.MethodPost, "/api/messages/send", "200", time.Millisecond)
	got := scrape(t, m)
	for _, want := range []string{
		`pigeonry_messages_accepted_total{channel="sms",lane="low"} 2`,
		`pigeonry_attempts_total{connector="sms/a",outcome="accepted",status="sent"} 1`,
		`pigeonry_attempts_total{connector="sms/a",outcome="uncertain",status="queued"} 1`,
		`pigeonry_provider_latency_seconds_count{connector="sms/a"} 1`,
		`pigeonry_receipts_total{connector="sms/a",matched="yes",status="delivered"} 1`,
		`pigeonry_http_request_seconds_count{method="POST",route="/api/messages/send",status="200"} 1`,
		`pigeonry_queue_messages{channel="sms",lane="high"} 3`,
		`pigeonry_queue_unacked_envelopes{channel="sms",lane="high"} 2`,
		`pigeonry_pool_active_count{channel="sms",pool="message_sender"} 4`,
		`pigeonry_connector_ready{connector="sms/a"} 1`,
		`pigeonry_connector_ready{connector="sms/b"} 0`,
		`pigeonry_plugin_in_flight{plugin="sms",version="1.0.0"} 7`,
		`pigeonry_plugin_restarts{plugin="sms",version="1.0.0"} 3`,
		`pigeonry_oldest_message_seconds 90`,
		`pigeonry_traces_dropped 7`,
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("missing: %s", want)
		}
	}
}

func TestWhatCannotBeReadIsLeftOut(t *testing.T) {
	s := sources()
	s.Queue = func(context.Context) ([]queue.LaneStats, error) { return nil, errors.New("the broker is gone") }
	s.OldestAge = func(context.Context) (time.Duration, error) { return 0, errors.New("the store is gone") }
	m := telemetry.New()
	m.Watch(s)
	got := scrape(t, m)
	if strings.Contains(got, "pigeonry_queue_messages") || strings.Contains(got, "pigeonry_oldest_message_seconds") {
		t.Errorf("values of what cannot be read:\n%s", got)
	}
	if !strings.Contains(got, "pigeonry_connector_ready") {
		t.Error("what can be read is missing")
	}
}
