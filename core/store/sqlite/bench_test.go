package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
)

// The hot path, in batches: what one message costs the one writer. Each benchmark prints rows/s.
//
//	go test -run '^$' -bench . -benchtime 2s ./core/store/sqlite

const benchBatch = 100

func openBench(b *testing.B) *sqlite.Store {
	b.Helper()
	s, err := sqlite.Open(b.Context(), sqlite.Options{Path: filepath.Join(b.TempDir(), "bench.db"), Exclusive: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Close() })
	return s
}

// benchMessages makes messages with ids of their own.
func benchMessages(b *testing.B, s *sqlite.Store, n int) []core.Message {
	b.Helper()
	id, err := s.ReserveIDs(b.Context(), n)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	messages := make([]core.Message, n)
	for i := range messages {
		messages[i] = core.Message{
			ID: id + core.RecordID(i), TraceID: core.NewTraceID(id, 7), Account: 1, Template: 3, Channel: "sms",
			Priority: core.DefaultPriority, Recipient: fmt.Sprintf("+86138%08d", rand.IntN(100_000_000)), Budget: 5,
			Content: core.Content{Text: strings.Repeat("x", 200)}, CreatedAt: now,
		}
	}
	return messages
}

func benchAccept(b *testing.B, s *sqlite.Store, messages []core.Message) []core.Envelope {
	b.Helper()
	envelopes, _, err := s.Accept(b.Context(), []store.Submission{{Account: 1, Messages: messages}})
	if err != nil {
		b.Fatal(err)
	}
	return envelopes
}

func BenchmarkAccept(b *testing.B) {
	s := openBench(b)
	for b.Loop() {
		benchAccept(b, s, benchMessages(b, s, benchBatch))
	}
	reportRows(b)
}

func BenchmarkLoad(b *testing.B) {
	s := openBench(b)
	e := benchAccept(b, s, benchMessages(b, s, benchBatch))[0]
	for b.Loop() {
		if _, err := s.Load(b.Context(), e.Records); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b)
}

// BenchmarkWay measures accept, claim and record of each message, and the outbox, one after the other.
func BenchmarkWay(b *testing.B) {
	for _, receipts := range []bool{false, true} {
		b.Run(fmt.Sprintf("receipts=%v", receipts), func(b *testing.B) {
			s := openBench(b)
			var accept, claim, record time.Duration
			for b.Loop() {
				messages := benchMessages(b, s, benchBatch)
				start := time.Now()
				e := benchAccept(b, s, messages)[0]
				accepted := time.Now()
				benchClaim(b, s, e)
				claimed := time.Now()
				benchRecord(b, s, e, receipts)
				record += time.Since(claimed)
				claim += claimed.Sub(accepted)
				accept += accepted.Sub(start)
			}
			perRow := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(b.N*benchBatch) }
			b.ReportMetric(perRow(accept), "accept-µs/row")
			b.ReportMetric(perRow(claim), "claim-µs/row")
			b.ReportMetric(perRow(record), "record-µs/row")
			reportRows(b)
		})
	}
}

func benchClaim(b *testing.B, s *sqlite.Store, e core.Envelope) {
	b.Helper()
	claims := make([]store.Claim, len(e.Records))
	for i, id := range e.Records {
		claims[i] = store.Claim{Record: id, Attempt: 1, Connector: "sms/main"}
	}
	now := time.Now()
	won, err := s.Claim(b.Context(), claims, now, now.Add(time.Minute))
	if err != nil || !won[0] {
		b.Fatal(won, err)
	}
}

func benchRecord(b *testing.B, s *sqlite.Store, e core.Envelope, receipts bool) {
	b.Helper()
	now := time.Now()
	transitions := make([]store.Transition, len(e.Records))
	for i, id := range e.Records {
		transitions[i] = store.Transition{
			Record: id, Attempt: 1, Status: core.StatusSent, Outcome: core.OutcomeAccepted, Segments: 1,
			ProviderIDs: []string{fmt.Sprintf("%016x", rand.Uint64())}, ExpectReceipts: receipts, StartedAt: now, FinishedAt: now,
		}
	}
	counted, _, err := s.Record(b.Context(), transitions, now)
	if err != nil || !counted[0] {
		b.Fatal(counted, err)
	}
}

func reportRows(b *testing.B) {
	b.Helper()
	b.ReportMetric(float64(b.N*benchBatch)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(0, "ns/op")
}
