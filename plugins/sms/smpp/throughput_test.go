package smpp_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// BenchmarkSubmit measures submits over loopback TCP with a window of 100.
func BenchmarkSubmit(b *testing.B) {
	server := &smpp.Server{
		Submit: func(context.Context, *smpp.Session, *smpp.ShortMessage) (string, smpp.Status) {
			return "0123456789abcdef", smpp.StatusOK
		},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	client, err := smpp.Dial(b.Context(), smpp.Client{
		Addr: listener.Addr().String(), Options: smpp.Options{Window: 100},
	})
	if err != nil {
		b.Fatal(err)
	}
	m := &smpp.ShortMessage{
		Source: smpp.Address{TON: 5, Addr: "Shop"}, Dest: smpp.Address{TON: 1, NPI: 1, Addr: "8613800138000"},
		RegisteredDelivery: 1, Message: make([]byte, 140),
	}
	b.ReportAllocs()
	b.ResetTimer()
	var workers sync.WaitGroup
	for w := range 100 {
		workers.Go(func() {
			for i := w; i < b.N; i += 100 {
				if _, err := client.Submit(b.Context(), m); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	workers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "submits/s")
	client.Close()
	server.Close()
	if err := <-served; !errors.Is(err, smpp.ErrServerClosed) {
		b.Errorf("Serve: %v", err)
	}
}
