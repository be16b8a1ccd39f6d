package main

import (
	"sync"
	"testing"
)

// BenchmarkSend measures Send over loopback with a window of 100.
func BenchmarkSend(b *testing.B) {
	smsc := newSMSC(b)
	cfg := smsc.config()
	cfg.Window = 100
	c := openConnector(b, cfg)
	m := message("Your order 4711 is on its way and will be with you tomorrow between 9 and 12.")
	b.ReportAllocs()
	b.ResetTimer()
	var workers sync.WaitGroup
	for w := range cfg.Window {
		workers.Go(func() {
			for i := w; i < b.N; i += cfg.Window {
				if _, err := c.Send(b.Context(), m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}
