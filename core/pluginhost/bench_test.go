package pluginhost_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// BenchmarkDeliver hands batches of 100 messages of 300 bytes to a plugin that accepts all of them at
// once: the raw rate of the hop, with mutual TLS.
func BenchmarkDeliver(b *testing.B) {
	h := benchHost(b)
	text := strings.Repeat("x", 300)
	texts := make([]string, 100)
	for i := range texts {
		texts[i] = text
	}
	for _, callers := range []int{1, 4, 16} {
		b.Run(map[int]string{1: "callers=1", 4: "callers=4", 16: "callers=16"}[callers], func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(max(1, callers/2)) // times GOMAXPROCS, which is 2 where it matters
			if callers == 1 {
				ds := batch(texts...)
				for b.Loop() {
					deliverBench(b, h, ds)
				}
			} else {
				b.RunParallel(func(pb *testing.PB) {
					ds := batch(texts...)
					for pb.Next() {
						deliverBench(b, h, ds)
					}
				})
			}
			b.ReportMetric(float64(b.N*100)/b.Elapsed().Seconds(), "messages/s")
		})
	}
}

func deliverBench(b *testing.B, h *pluginhost.Host, ds []core.Delivery) {
	b.Helper()
	n := 0
	h.Deliver(context.Background(), "test/null", ds, func(rs []core.Result) {
		for _, r := range rs {
			if r.Outcome != core.OutcomeAccepted {
				b.Errorf("result: %+v", r)
			}
		}
		n += len(rs)
	})
	if n != len(ds) {
		b.Errorf("%d results for %d messages", n, len(ds))
	}
}

func benchHost(b *testing.B) *pluginhost.Host {
	b.Helper()
	dir := b.TempDir()
	install(b, dir, "null", "1.0.0")
	h, err := pluginhost.New(pluginhost.Options{
		Catalog: open(b, dir), RuntimeDir: filepath.Join(b.TempDir(), "run"), Events: noEvents,
		Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := h.Start(); err != nil {
		b.Fatal(err)
	}
	arrangeHighest(h)
	h.Settle(b.Context())
	b.Cleanup(func() { _ = h.Stop(context.Background()) })
	h.Configure(b.Context(), []pluginhost.ConnectorConfig{connector("null", 1, `{}`)})
	for {
		changed := h.Changed()
		if h.Ready("test/null") {
			return h
		}
		select {
		case <-changed:
		case <-b.Context().Done():
			b.Fatal("the plugin is not ready")
		}
	}
}
