package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
	"github.com/pigeonry/pigeonry/core/trace/redis"
	"github.com/pigeonry/pigeonry/core/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fresh are options for keys that no other test has. They expire soon.
func fresh(tb testing.TB) redis.Options {
	tb.Helper()
	return redis.Options{
		Prefix:    fmt.Sprintf("test:%s:%d:", tb.Name(), time.Now().UnixNano()),
		Retention: time.Minute, Logger: slog.New(slog.DiscardHandler),
	}
}

func open(tb testing.TB, client *goredis.Client, o redis.Options) *redis.Store {
	tb.Helper()
	s := redis.New(client, o)
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func TestStore(t *testing.T) {
	client := connect(t, nil)
	tracetest.Run(t, tracetest.Factory{Open: func(t *testing.T, buffer int) trace.Store {
		t.Helper()
		o := fresh(t)
		o.Buffer = buffer
		return open(t, client, o)
	}})
}

var (
	start   = time.Date(2026, time.January, 15, 10, 0, 0, 0, time.UTC)
	traceID = core.NewTraceID(core.FirstRecordID(start)+1, 5)
)

func entryOf(id core.TraceID) trace.Entry {
	record, _ := id.RecordID()
	at := record.Time()
	nodes := make([]core.Node, 3)
	for i, name := range []string{core.NodeQueue, core.NodeProcess, core.NodeSend} {
		finish := at.Add(time.Duration(i+1) * 1234 * time.Microsecond)
		nodes[i] = core.Node{Name: name, Attempt: 1, Start: at, Finish: finish, Status: core.NodeSuccess}
		at = finish
	}
	nodes[2].Detail = "sms/main"
	return trace.Entry{TraceID: id, Account: 1, Nodes: nodes}
}

func flush(tb testing.TB, s trace.Store) {
	tb.Helper()
	if err := s.Flush(tb.Context()); err != nil {
		tb.Fatal(err)
	}
}

func count(tb testing.TB, s trace.Store, id core.TraceID) int {
	tb.Helper()
	nodes, err := s.Nodes(tb.Context(), 1, id)
	if err != nil {
		tb.Fatal(err)
	}
	return len(nodes)
}

func TestGatewaysShareTraces(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	one, two := open(t, client, o), open(t, client, o)
	for range 2 {
		for _, s := range []*redis.Store{one, two} {
			s.Record(entryOf(traceID))
			flush(t, s)
		}
	}
	if n := count(t, one, traceID); n != 12 {
		t.Errorf("%d nodes, want 12", n)
	}
}

func TestWhatWasRecordedBeforeCloseIsKept(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	s := open(t, client, o)
	s.Record(entryOf(traceID))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := count(t, open(t, client, o), traceID); n != 3 {
		t.Errorf("%d nodes, want 3", n)
	}
}

func TestTracesExpire(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	s := open(t, client, o)
	s.Record(entryOf(traceID))
	flush(t, s)
	keys, err := client.Keys(t.Context(), "test:"+t.Name()+"*").Result()
	if err != nil || len(keys) < 2 {
		t.Fatalf("%d keys, want a bucket and the spans (%v)", len(keys), err)
	}
	for _, key := range keys {
		if left := client.PTTL(t.Context(), key).Val(); strings.HasPrefix(key, o.Prefix) && (left <= 0 || left > time.Minute) {
			t.Errorf("%s expires in %v", key, left)
		}
	}
	s.Retain(time.Hour)
	s.Record(entryOf(traceID))
	flush(t, s)
	for _, key := range keys {
		if left := client.PTTL(t.Context(), key).Val(); strings.HasPrefix(key, o.Prefix) && left <= time.Minute {
			t.Errorf("%s expires in %v, though it is kept for an hour now", key, left)
		}
	}
}

// A purge removes what expired long ago from the list of spans too.
func TestAPurgeKeepsWhatIsYoung(t *testing.T) {
	client, o := connect(t, nil), fresh(t)
	s := open(t, client, o)
	var ids []core.TraceID
	for hour := range 10 {
		ids = append(ids, core.NewTraceID(core.FirstRecordID(start.Add(time.Duration(hour)*time.Hour))+1, 5))
		s.Record(entryOf(ids[hour]))
	}
	flush(t, s)
	for range 2 {
		if err := s.Purge(t.Context(), start.Add(5*time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	for hour, id := range ids {
		if n, want := count(t, s, id), 3*min(1, hour/5); n != want {
			t.Errorf("hour %d has %d nodes, want %d", hour, n, want)
		}
	}
	if n := client.ZCard(t.Context(), o.Prefix+"trace:spans").Val(); n < 4 || n > 6 {
		t.Errorf("%d spans are left, want about 5", n)
	}
}

func TestRedisIsLostAndFound(t *testing.T) {
	for _, fault := range []string{"cut", "hung"} {
		t.Run(fault, func(t *testing.T) {
			n, o, log := &network{}, fresh(t), &bytes.Buffer{}
			o.Logger = slog.New(slog.NewTextHandler(log, nil))
			s := open(t, connect(t, n), o)
			n.cut.Store(fault == "cut")
			n.hung.Store(fault == "hung")
			for range 10 {
				s.Record(entryOf(traceID))
				flush(t, s)
			}
			if d := s.Dropped(); d != 10 {
				t.Errorf("%d entries were dropped, want 10", d)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := s.Nodes(ctx, 1, traceID); core.KindOf(err) != core.KindUnavailable {
				t.Errorf("Nodes: %v, want KindUnavailable", err)
			}
			n.cut.Store(false)
			n.hung.Store(false)
			for written := 0; written == 0; written = count(t, s, traceID) {
				s.Record(entryOf(traceID))
				flush(t, s)
			}
			_ = s.Close()
			if lines := strings.Count(log.String(), "\n"); lines != 2 {
				t.Errorf("%d lines in the log, want one each way:\n%s", lines, log)
			}
		})
	}
}

func TestCloseWithoutRedisDoesNotTakeLong(t *testing.T) {
	n := &network{}
	s := open(t, connect(t, n), fresh(t))
	n.hung.Store(true)
	for range 20_000 {
		s.Record(entryOf(traceID))
	}
	begin := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(begin); took > 8*time.Second || s.Dropped() != 20_000 {
		t.Errorf("Close took %v and dropped %d entries", took, s.Dropped())
	}
}

// BenchmarkRecord measures entries of three nodes from Record to Redis, as they come under load.
func BenchmarkRecord(b *testing.B) {
	client, o := connect(b, nil), fresh(b)
	s := open(b, client, o)
	id := core.FirstRecordID(start)
	const batch = 1000 // 50 ms at 20,000 a second
	entries := make([]trace.Entry, batch)
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for i := range entries {
			id += 1 << 12 / 20
			entries[i] = entryOf(core.NewTraceID(id, uint64(id)*0x9e3779b97f4a7c15))
		}
		b.StartTimer()
		s.Record(entries...)
		flush(b, s)
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "entries/s")
	if d := s.Dropped(); d != 0 {
		b.Errorf("%d entries were dropped", d)
	}
}
