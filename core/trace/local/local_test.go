package local_test

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
	"github.com/pigeonry/pigeonry/core/trace/local"
	"github.com/pigeonry/pigeonry/core/trace/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string, buffer int) *local.Store {
	t.Helper()
	s, err := local.Open(local.Options{Path: path, Buffer: buffer, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestFile(t *testing.T) {
	tracetest.Run(t, tracetest.Factory{Open: func(t *testing.T, buffer int) trace.Store {
		t.Helper()
		return open(t, filepath.Join(t.TempDir(), "traces.db"), buffer)
	}})
}

func TestMemory(t *testing.T) {
	tracetest.Run(t, tracetest.Factory{Open: func(t *testing.T, buffer int) trace.Store {
		t.Helper()
		return open(t, ":memory:", buffer)
	}})
}

var (
	start   = time.Date(2026, time.January, 15, 10, 0, 0, 0, time.UTC)
	traceID = core.NewTraceID(core.FirstRecordID(start)+1, 5)
)

func entryOf(id core.TraceID) trace.Entry {
	nodes := make([]core.Node, 3)
	for i, name := range []string{core.NodeQueue, core.NodeProcess, core.NodeSend} {
		nodes[i] = core.Node{Name: name, Attempt: 1, Start: start, Finish: start.Add(time.Millisecond), Status: core.NodeSuccess, Detail: "sms/main"}
	}
	return trace.Entry{TraceID: id, Account: 1, Nodes: nodes}
}

func TestTracesOutliveARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "folder", "traces.db")
	for want := 3; want <= 9; want += 3 {
		s := open(t, path, 0)
		s.Record(entryOf(traceID))
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		nodes, err := s.Nodes(t.Context(), 1, traceID)
		if err != nil || len(nodes) != want {
			t.Errorf("%d nodes, want %d (%v)", len(nodes), want, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatWasRecordedBeforeCloseIsKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traces.db")
	s := open(t, path, 0)
	s.Record(entryOf(traceID))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, 0)
	defer func() { _ = s.Close() }()
	if nodes, err := s.Nodes(t.Context(), 1, traceID); err != nil || len(nodes) != 3 {
		t.Errorf("%d nodes, want 3 (%v)", len(nodes), err)
	}
}

func TestADamagedFileIsSetAside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "traces.db")
	if err := os.WriteFile(path, []byte("this is not a database, and long enough to be read as one"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, 0)
	defer func() { _ = s.Close() }()
	s.Record(entryOf(traceID))
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if nodes, err := s.Nodes(t.Context(), 1, traceID); err != nil || len(nodes) != 3 {
		t.Errorf("%d nodes, want 3 (%v)", len(nodes), err)
	}
	if _, err := os.Stat(path + ".damaged"); err != nil {
		t.Errorf("the damaged file: %v", err)
	}
}

func TestAnUnusablePathIsAnError(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := local.Open(local.Options{Path: filepath.Join(blocked, "traces.db")}); err == nil {
		t.Error("a file in place of the folder was accepted")
	}
}

// BenchmarkRecord measures entries of three nodes from Record to the file.
func BenchmarkRecord(b *testing.B) {
	s := open(b, filepath.Join(b.TempDir(), "traces.db"), 0)
	defer func() { _ = s.Close() }()
	id := core.FirstRecordID(start)
	const batch = 1000
	entries := make([]trace.Entry, batch)
	for b.Loop() {
		for i := range entries {
			id++
			entries[i] = entryOf(core.NewTraceID(id, 5))
		}
		s.Record(entries...)
		if err := s.Flush(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*batch)/b.Elapsed().Seconds(), "entries/s")
	b.ReportMetric(0, "ns/op")
	if d := s.Dropped(); d != 0 {
		b.Errorf("%d entries were dropped", d)
	}
}
