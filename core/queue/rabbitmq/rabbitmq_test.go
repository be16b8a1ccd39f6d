package rabbitmq_test

import (
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/queuetest"
	"github.com/pigeonry/pigeonry/core/queue/rabbitmq"
)

func TestQueue(t *testing.T) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		t.Run(string(kind), func(t *testing.T) { suite(t, kind) })
	}
}

func suite(t *testing.T, kind rabbitmq.Type) {
	t.Helper()
	brokerURL(t)
	prefixes := map[queue.Queue]string{}
	openOn := func(t *testing.T, prefix string) queue.Queue {
		t.Helper()
		q := open(t, rabbitmq.Options{Type: kind, Prefix: prefix})
		prefixes[q] = prefix
		return q
	}
	another := func(t *testing.T, q queue.Queue) queue.Queue {
		t.Helper()
		return openOn(t, prefixes[q])
	}
	traits := queuetest.Traits{
		Durable: true, Reopen: another, Peer: another,
		Overtaking: 256, // about what a lane has ahead by the end of the test
		Pace:       2 * time.Millisecond,
	}
	queuetest.Run(t, traits, func(t *testing.T) queue.Queue {
		t.Helper()
		return openOn(t, newPrefix(t))
	})
}

// A gateway that neither publishes nor subscribes to a channel counts it all the same if it is told of it.
func TestStatsOfChannelsThatAreNamed(t *testing.T) {
	brokerURL(t)
	prefix := newPrefix(t)
	publisher := open(t, rabbitmq.Options{Prefix: prefix})
	if err := publisher.Publish(patient(t), []core.Envelope{{ID: 1, Channel: "sms", Lane: core.LaneHigh, Records: []core.RecordID{1}}}); err != nil {
		t.Fatal(err)
	}
	onlooker := open(t, rabbitmq.Options{Prefix: prefix, Channels: func() []string { return []string{"sms"} }})
	stats, err := onlooker.Stats(patient(t))
	if err != nil {
		t.Fatal(err)
	}
	if len(stats) != 4 || stats[core.LaneHigh].Channel != "sms" || stats[core.LaneHigh].Envelopes != 1 {
		t.Errorf("stats: %+v", stats)
	}
}

func BenchmarkQueue(b *testing.B) {
	for _, kind := range []rabbitmq.Type{rabbitmq.Quorum, rabbitmq.Classic} {
		b.Run(string(kind), func(b *testing.B) { benchmark(b, kind) })
	}
}

// benchmark publishes, receives and acknowledges envelopes of one message, as a gateway does with single
// sends: publishes of what has gathered, one receiver that hands to others.
func benchmark(b *testing.B, kind rabbitmq.Type) {
	b.Helper()
	q := open(b, rabbitmq.Options{Type: kind})
	s := subscribe(b, q)
	ctx := patient(b)
	var publishers sync.WaitGroup
	b.ResetTimer()
	const batch = 200
	for p := range 2 {
		publishers.Go(func() {
			for first := p * batch; first < b.N; first += 2 * batch {
				if err := q.Publish(ctx, sequence(int64(first+1), min(batch, b.N-first), core.LaneNormal)); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	for range b.N {
		r, err := s.Receive(ctx)
		if err == nil {
			err = r.Ack(ctx)
		}
		if err != nil {
			b.Fatal(err)
		}
	}
	publishers.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "envelopes/s")
}
