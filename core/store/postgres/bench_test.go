package postgres_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/enginetest"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/postgres"
)

// The hot path by many workers, each with an envelope at a time. Each benchmark prints rows/s.
//
//	bin/pigeonry-bench engines --durable --only postgres -- go test -run '^$' -bench . -benchtime 3s ./core/store/postgres

const (
	benchBatch   = 1000
	benchWorkers = 16
)

func openBench(b *testing.B) *postgres.Store {
	b.Helper()
	s := open(b, enginetest.Database(b).String())
	b.Cleanup(func() { closeStore(b, s) })
	return s
}

// benchMessages makes messages with ids of their own.
func benchMessages(b testing.TB, s *postgres.Store, n int) []core.Message {
	b.Helper()
	id, err := s.ReserveIDs(b.Context(), n)
	if err != nil {
		b.Fatal(err)
	}
	now := time.Now()
	messages := make([]core.Message, n)
	for i := range messages {
		messages[i] = core.Message{
			ID: id + core.RecordID(i), TraceID: core.NewTraceID(id, 7), Account: 1, Template: 3, Channel: "sms", Batch: 7,
			Priority: core.DefaultPriority, Recipient: fmt.Sprintf("+86138%08d", rand.IntN(100_000_000)), Budget: 5,
			Content: core.Content{Text: strings.Repeat("x", 200)}, CreatedAt: now,
		}
	}
	return messages
}

func benchAccept(b testing.TB, s *postgres.Store, messages []core.Message) []core.Envelope {
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
	reportRows(b, benchBatch)
}

// BenchmarkWay accepts messages, and loads, claims and records them with many workers at a time.
func BenchmarkWay(b *testing.B) {
	for _, receipts := range []bool{false, true} {
		b.Run(fmt.Sprintf("receipts=%v", receipts), func(b *testing.B) {
			s := openBench(b)
			var spent [3]time.Duration
			for b.Loop() {
				began := time.Now()
				envelopes := benchAccept(b, s, benchMessages(b, s, benchBatch))
				envelopes = append(envelopes, benchAccept(b, s, benchMessages(b, s, benchBatch))...)
				spent[0] += time.Since(began)
				began = time.Now()
				sideBySide(envelopes, func(e core.Envelope) { benchClaim(b, s, e) })
				spent[1] += time.Since(began)
				began = time.Now()
				sideBySide(envelopes, func(e core.Envelope) { benchRecord(b, s, e, receipts) })
				spent[2] += time.Since(began)
			}
			for i, name := range []string{"accept", "load+claim", "record"} {
				b.ReportMetric(float64(spent[i].Nanoseconds())/1000/float64(b.N*2*benchBatch), name+"-µs/row")
			}
			reportRows(b, 2*benchBatch)
		})
	}
}

// sideBySide gives envelopes to workers.
func sideBySide(envelopes []core.Envelope, work func(core.Envelope)) {
	var wg sync.WaitGroup
	queue := make(chan core.Envelope, len(envelopes))
	for _, e := range envelopes {
		queue <- e
	}
	close(queue)
	for range benchWorkers {
		wg.Go(func() {
			for e := range queue {
				work(e)
			}
		})
	}
	wg.Wait()
}

func benchClaim(b *testing.B, s *postgres.Store, e core.Envelope) {
	b.Helper()
	if m, err := s.Load(b.Context(), e.Records); err != nil || len(m) != len(e.Records) {
		b.Errorf("loaded %d (%v)", len(m), err)
	}
	claims := make([]store.Claim, len(e.Records))
	for i, id := range e.Records {
		claims[i] = store.Claim{Record: id, Attempt: 1, Connector: "sms/main"}
	}
	now := time.Now()
	won, err := s.Claim(b.Context(), claims, now, now.Add(time.Minute))
	if err != nil || !won[0] || !won[len(won)-1] {
		b.Errorf("claim: %v", err)
	}
}

func benchRecord(b *testing.B, s *postgres.Store, e core.Envelope, receipts bool) {
	b.Helper()
	now := time.Now()
	transitions := make([]store.Transition, len(e.Records))
	for i, id := range e.Records {
		transitions[i] = store.Transition{
			Record: id, Attempt: 1, Status: core.StatusSent, Outcome: core.OutcomeAccepted, ExpectReceipts: receipts,
			ProviderIDs: []string{fmt.Sprintf("%016x", rand.Uint64())}, Segments: 1, StartedAt: now, FinishedAt: now,
		}
	}
	counted, _, err := s.Record(b.Context(), transitions, now)
	if err != nil || !counted[0] || !counted[len(counted)-1] {
		b.Errorf("record: %v", err)
	}
}

func reportRows(b *testing.B, each int) {
	b.Helper()
	b.ReportMetric(float64(b.N*each)/b.Elapsed().Seconds(), "rows/s")
	b.ReportMetric(0, "ns/op")
}
