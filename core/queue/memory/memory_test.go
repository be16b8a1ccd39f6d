package memory_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/memory"
	"github.com/pigeonry/pigeonry/core/queue/queuetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(tb testing.TB, o memory.Options) queue.Queue {
	tb.Helper()
	q := memory.New(o)
	tb.Cleanup(func() { _ = q.Close() })
	return q
}

func TestQueue(t *testing.T) {
	traits := queuetest.Traits{
		Reopen: func(t *testing.T, _ queue.Queue) queue.Queue {
			t.Helper()
			return open(t, memory.Options{})
		},
		OpenBounded: func(t *testing.T, messages int) queue.Queue {
			t.Helper()
			return open(t, memory.Options{LaneMessages: messages})
		},
	}
	queuetest.Run(t, traits, func(t *testing.T) queue.Queue {
		t.Helper()
		return open(t, memory.Options{})
	})
}

// single makes n envelopes of one message each.
func single(n int, lane core.Lane) []core.Envelope {
	envelopes := make([]core.Envelope, n)
	for i := range envelopes {
		envelopes[i] = core.Envelope{ID: int64(i + 1), Channel: "sms", Lane: lane, Records: []core.RecordID{core.RecordID(i)}}
	}
	return envelopes
}

func mustPublish(tb testing.TB, q queue.Queue, envelopes ...core.Envelope) {
	tb.Helper()
	if err := q.Publish(tb.Context(), envelopes); err != nil {
		tb.Fatal(err)
	}
}

func mustSubscribe(tb testing.TB, q queue.Queue) queue.Subscription {
	tb.Helper()
	s, err := q.Subscribe(tb.Context(), "sms")
	if err != nil {
		tb.Fatal(err)
	}
	return s
}

func mustReceive(tb testing.TB, s queue.Subscription) queue.Received {
	tb.Helper()
	r, err := s.Receive(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	return r
}

// In a bubble time stands still while somebody can run, so a Receive that polled would take time.
func TestReceiveIsWokenInNoTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, memory.Options{})
		s := mustSubscribe(t, q)
		start := time.Now()
		received := make(chan time.Duration)
		go func() {
			_, _ = s.Receive(t.Context())
			received <- time.Since(start)
		}()
		synctest.Wait()
		mustPublish(t, q, single(1, core.LaneNormal)...)
		if waited := <-received; waited != 0 {
			t.Errorf("Receive took %v after the publish", waited)
		}
	})
}

// A wait that ends in the moment of a publish either has the envelope or leaves it where it is.
func TestAWaitThatEndsWhileItIsServed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := open(t, memory.Options{})
		s := mustSubscribe(t, q)
		for i := range 2000 {
			ctx, cancel := context.WithCancel(t.Context())
			got := make(chan queue.Received)
			go func() {
				r, _ := s.Receive(ctx)
				got <- r
			}()
			synctest.Wait()
			cancel()
			mustPublish(t, q, single(1, core.LaneNormal)...)
			r := <-got
			if r.Ack == nil {
				r = mustReceive(t, s)
			}
			if err := r.Ack(t.Context()); err != nil {
				t.Fatalf("round %d: Ack: %v", i, err)
			}
		}
	})
}

func TestReturnedGoesToTheFrontInItsOrder(t *testing.T) {
	q := open(t, memory.Options{})
	s := mustSubscribe(t, q)
	mustPublish(t, q, single(6, core.LaneNormal)...)
	var held []queue.Received
	for range 4 {
		held = append(held, mustReceive(t, s))
	}
	for _, i := range []int{2, 0, 3} {
		if err := held[i].Return(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	var order []int64
	for range 5 {
		order = append(order, mustReceive(t, s).ID)
	}
	if !slices.Equal(order, []int64{1, 3, 4, 5, 6}) {
		t.Errorf("received %v", order)
	}
}

func TestACloseKeepsTheOrder(t *testing.T) {
	const envelopes = 1000
	q := open(t, memory.Options{})
	mustPublish(t, q, single(envelopes, core.LaneNormal)...)
	first := mustSubscribe(t, q)
	for range envelopes - 1 {
		mustReceive(t, first)
	}
	_ = first.Close()
	second := mustSubscribe(t, q)
	for i := range int64(envelopes) {
		if got := mustReceive(t, second); got.ID != i+1 {
			t.Fatalf("received envelope %d, want %d", got.ID, i+1)
		}
	}
}

func TestTurnsAreSpreadEvenly(t *testing.T) {
	q := open(t, memory.Options{})
	for _, l := range core.Lanes() {
		mustPublish(t, q, single(100, l)...)
	}
	s := mustSubscribe(t, q)
	const round = 16 + 8 + 4 + 1
	for range 3 {
		counts, gap := map[core.Lane]int{}, 0
		for range round {
			lane := mustReceive(t, s).Lane
			counts[lane]++
			gap++
			if lane == core.LaneUrgent {
				gap = 0
			}
			if gap > 2 {
				t.Errorf("urgent waited for %d turns", gap)
			}
		}
		for _, l := range core.Lanes() {
			if counts[l] != l.Weight() {
				t.Errorf("%s had %d turns of a round, want %d", l, counts[l], l.Weight())
			}
		}
	}
}

func TestPublishTakesAllOrNothing(t *testing.T) {
	q := open(t, memory.Options{LaneMessages: 5})
	both := append(single(3, core.LaneHigh), single(6, core.LaneLow)...)
	if err := q.Publish(t.Context(), both); !errors.Is(err, queue.ErrFull) {
		t.Fatalf("Publish: %v, want ErrFull", err)
	}
	bad := single(2, core.LaneHigh)
	for _, spoil := range []func(*core.Envelope){
		func(e *core.Envelope) { e.Records = nil },
		func(e *core.Envelope) { e.Records = make([]core.RecordID, core.MaxEnvelope+1) },
		func(e *core.Envelope) { e.Records = []core.RecordID{1 << 53} },
		func(e *core.Envelope) { e.Records = []core.RecordID{1, -1} },
		func(e *core.Envelope) { e.Lane = 4 },
		func(e *core.Envelope) { e.Lane = -1 },
	} {
		bad[1] = single(2, core.LaneHigh)[1]
		spoil(&bad[1])
		if err := q.Publish(t.Context(), bad); err == nil {
			t.Errorf("Publish took %+v", bad[1])
		}
	}
	stats, err := q.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range stats {
		if s.Envelopes != 0 || s.Messages != 0 {
			t.Errorf("a refused publish left %+v", s)
		}
	}
}

func TestStatsCountMessages(t *testing.T) {
	q := open(t, memory.Options{})
	mustPublish(t, q, core.Envelope{ID: 1, Channel: "sms", Lane: core.LaneHigh, Records: []core.RecordID{1, 2, 3}},
		core.Envelope{ID: 2, Channel: "sms", Lane: core.LaneHigh, Records: []core.RecordID{4}})
	high := func() queue.LaneStats {
		stats, err := q.Stats(t.Context())
		if err != nil || len(stats) != 4 {
			t.Fatalf("Stats = %v, %v; want four lanes", stats, err)
		}
		return stats[1]
	}
	want := queue.LaneStats{Channel: "sms", Lane: core.LaneHigh, Envelopes: 2, Messages: 4}
	if got := high(); got != want {
		t.Errorf("Stats = %+v, want %+v", got, want)
	}
	r := mustReceive(t, mustSubscribe(t, q))
	want.Envelopes, want.Messages, want.Unacked = 1, 1, 1
	if got := high(); got != want {
		t.Errorf("Stats while one is held = %+v, want %+v", got, want)
	}
	if err := r.Return(t.Context()); err != nil {
		t.Fatal(err)
	}
	want.Envelopes, want.Messages, want.Unacked = 2, 4, 0
	if got := high(); got != want {
		t.Errorf("Stats after the return = %+v, want %+v", got, want)
	}
}

func TestClosedQueueHandsNothingOn(t *testing.T) {
	q := open(t, memory.Options{})
	holder, other := mustSubscribe(t, q), mustSubscribe(t, q)
	mustPublish(t, q, single(1, core.LaneNormal)...)
	held := mustReceive(t, holder)
	ended := make(chan error)
	go func() {
		_, err := other.Receive(t.Context())
		ended <- err
	}()
	_ = q.Close()
	if err := <-ended; !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Receive: %v, want ErrClosed", err)
	}
	if err := held.Ack(t.Context()); !errors.Is(err, queue.ErrClosed) {
		t.Errorf("Ack: %v, want ErrClosed", err)
	}
}

// A gateway with a million queued messages may have 200 MB; this part of it stays far below.
func TestMillionEnvelopesFit(t *testing.T) {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	q := open(t, memory.Options{})
	batch := single(1000, core.LaneNormal)
	before := heap()
	for range 1000 {
		mustPublish(t, q, batch...)
	}
	used := heap() - before
	if used > 24<<20 {
		t.Errorf("a million envelopes take %d MB", used>>20)
	}
	if err := q.Publish(t.Context(), batch[:1]); !errors.Is(err, queue.ErrFull) {
		t.Errorf("Publish of one more: %v, want ErrFull", err)
	}
	runtime.KeepAlive(q)
}

// FuzzOrder drives a lane with random sizes of envelopes: what goes in comes out, over chunk borders too.
func FuzzOrder(f *testing.F) {
	f.Add([]byte{1, 100, 3, 0, 255, 7}, 4)
	f.Add([]byte{99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99}, 400)
	f.Fuzz(func(t *testing.T, sizes []byte, times int) {
		q := open(t, memory.Options{})
		s := mustSubscribe(t, q)
		var waiting []core.Envelope
		id := core.RecordID(0)
		for range min(max(times, 0), 500) {
			for _, size := range sizes[:min(len(sizes), 32)] {
				if size%3 == 0 && len(waiting) > 0 {
					got := mustReceive(t, s)
					if got.ID != waiting[0].ID || !slices.Equal(got.Records, waiting[0].Records) {
						t.Fatalf("received %+v, want %+v", got.Envelope, waiting[0])
					}
					_ = got.Ack(t.Context())
					waiting = waiting[1:]
					continue
				}
				records := make([]core.RecordID, int(size)%core.MaxEnvelope+1)
				for i := range records {
					id++
					records[i] = id
				}
				e := core.Envelope{ID: int64(id), Channel: "sms", Lane: core.LaneNormal, Records: records}
				mustPublish(t, q, e)
				waiting = append(waiting, e)
			}
		}
	})
}

func BenchmarkQueue(b *testing.B) {
	b.Run("one of each", func(b *testing.B) {
		q := open(b, memory.Options{})
		s := mustSubscribe(b, q)
		ctx, batch := context.Background(), single(1, core.LaneNormal)
		b.ReportAllocs()
		for b.Loop() {
			_ = q.Publish(ctx, batch)
			r, _ := s.Receive(ctx)
			_ = r.Ack(ctx)
		}
	})
	b.Run("many subscribers", func(b *testing.B) {
		q := open(b, memory.Options{})
		ctx, batch := context.Background(), single(1, core.LaneNormal)
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			s := mustSubscribe(b, q)
			for pb.Next() {
				_ = q.Publish(ctx, batch)
				r, _ := s.Receive(ctx)
				_ = r.Ack(ctx)
			}
		})
	})
}
