package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// instant accepts everything at once.
type instant struct{}

func (instant) Send(context.Context, *sdk.Message) (sdk.Receipt, error) { return sdk.Receipt{}, nil }

// instantBatch accepts everything at once, in batches.
type instantBatch struct{ instant }

func (instantBatch) SendBatch(_ context.Context, ms []*sdk.Message, report func(int, sdk.Receipt, error)) {
	for i := range ms {
		report(i, sdk.Receipt{}, nil)
	}
}

func BenchmarkDeliver(b *testing.B) {
	for name, sender := range map[string]sdk.Sender{"Sender": instant{}, "BatchSender": instantBatch{}} {
		for _, n := range []int{1, 100} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { benchmarkDeliver(b, sender, n) })
		}
	}
}

func benchmarkDeliver(b *testing.B, sender sdk.Sender, n int) {
	b.Helper()
	gw := start(b, plugin(sender))
	gw.LogDiscard()
	gw.configure("test/a", 1, `{}`)
	req := batchOf("test/a", n)
	for i := range req.GetItems() {
		req.Items[i].Content = &channelv1.Content{Text: string(make([]byte, 300))}
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			stream, err := gw.Deliver(b.Context(), req)
			if err != nil {
				b.Error(err)
				return
			}
			got := 0
			for {
				r, err := stream.Recv()
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					b.Error(err)
					return
				}
				got += len(r.GetResults())
			}
			if got != n {
				b.Errorf("got %d results, want %d", got, n)
			}
		}
	})
	b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "items/s")
}
