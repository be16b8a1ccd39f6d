package sqlite_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// BenchmarkLatency measures how long single messages wait for their commit while others are claimed and
// recorded: the log moving into the database must not be felt.
func BenchmarkLatency(b *testing.B) {
	s := openBench(b)
	var mu sync.Mutex
	var waits []time.Duration
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		var own []time.Duration
		for pb.Next() {
			id, err := s.ReserveIDs(b.Context(), 1)
			if err != nil {
				b.Error(err)
				return
			}
			m := core.Message{ID: id, TraceID: core.NewTraceID(id, 1), Account: 1, Channel: "sms", Recipient: "+8613800000001", Budget: 5, CreatedAt: time.Now()}
			start := time.Now()
			e, _, err := s.Accept(b.Context(), []store.Submission{{Account: 1, Messages: []core.Message{m}}})
			if err != nil {
				b.Error(err)
				return
			}
			own = append(own, time.Since(start))
			benchClaim(b, s, e[0])
			benchRecord(b, s, e[0], false)
		}
		mu.Lock()
		defer mu.Unlock()
		waits = append(waits, own...)
	})
	slices.Sort(waits)
	at := func(q float64) float64 { return float64(waits[int(q*float64(len(waits)-1))].Microseconds()) / 1000 }
	b.ReportMetric(at(0.5), "p50-ms")
	b.ReportMetric(at(0.99), "p99-ms")
	b.ReportMetric(at(0.999), "p999-ms")
	b.ReportMetric(at(1), "max-ms")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
	b.ReportMetric(0, "ns/op")
}
