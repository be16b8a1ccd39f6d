package sqlite_test

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"syscall"
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

// BenchmarkWay measures accept, claim and record of each message, one after the other, in processor time
// of the whole process, which other programs on the machine do not change.
func BenchmarkWay(b *testing.B) {
	for _, receipts := range []bool{false, true} {
		b.Run(fmt.Sprintf("receipts=%v", receipts), func(b *testing.B) {
			s := openBench(b)
			var spent [3]time.Duration
			for b.Loop() {
				messages := benchMessages(b, s, benchBatch)
				times := [4]time.Duration{processorTime(b)}
				e := benchAccept(b, s, messages)[0]
				times[1] = processorTime(b)
				benchClaim(b, s, e)
				times[2] = processorTime(b)
				benchRecord(b, s, e, receipts)
				times[3] = processorTime(b)
				for i := range spent {
					spent[i] += times[i+1] - times[i]
				}
			}
			for i, name := range []string{"accept", "claim", "record"} {
				b.ReportMetric(float64(spent[i].Microseconds())/float64(b.N*benchBatch), name+"-cpu-µs/row")
			}
			reportRows(b)
		})
	}
}

// processorTime is what the process has used so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
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
