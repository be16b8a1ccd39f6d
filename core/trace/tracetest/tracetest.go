// Package tracetest is the contract of core/trace as tests, which every technology passes.
package tracetest

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

// Factory makes the stores that the suite tests.
type Factory struct {
	// Open returns an empty store that holds buffer entries which wait to be written; 0 leaves the
	// technology its default. The suite closes it.
	Open func(t *testing.T, buffer int) trace.Store
}

const account core.AccountID = 7

var t0 = time.Date(2026, time.January, 15, 10, 0, 0, 0, time.UTC)

// Run tests that the stores of a factory keep the contract.
func Run(t *testing.T, f Factory) {
	t.Helper()
	for _, x := range []struct {
		holds string
		run   func(t *testing.T, s trace.Store)
	}{
		{"nodes are read as they were recorded, in that order", testOrder},
		{"nothing is known of an unknown trace", testUnknown},
		{"a trace belongs to its account", testIsolation},
		{"purge removes traces that began before a time", testPurge},
		{"purge removes any number", testPurgeMany},
		{"many may record at a time", testConcurrent},
		{"what is closed takes no more, and counts it", testClosed},
	} {
		t.Run(x.holds, func(t *testing.T) {
			s := f.Open(t, 0)
			defer closeStore(t, s)
			x.run(t, s)
		})
	}
	t.Run("what cannot be taken is dropped and counted, and nobody waits", func(t *testing.T) {
		s := f.Open(t, 10)
		defer closeStore(t, s)
		testPressure(t, s)
	})
}

func closeStore(t *testing.T, s trace.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// id is the trace id of the n-th message of a time.
func id(at time.Time, n int) core.TraceID {
	return core.NewTraceID(core.FirstRecordID(at)+core.RecordID(n)+1, 99)
}

func entry(id core.TraceID, nodes ...core.Node) trace.Entry {
	return trace.Entry{TraceID: id, Account: account, Nodes: nodes}
}

// node is a node of which every field is set.
func node(name string, attempt int) core.Node {
	return core.Node{
		Name: name, Attempt: attempt, Start: t0, Finish: t0.Add(1500 * time.Microsecond), Status: core.NodeFailed,
		Detail: `sms/main: "quoted" \ 你好` + "\n",
	}
}

func flush(t *testing.T, s trace.Store) {
	t.Helper()
	if err := s.Flush(t.Context()); err != nil {
		t.Fatalf("Flush: %v", err)
	}
}

// wantNodes reports other nodes than those wanted.
func wantNodes(t *testing.T, s trace.Store, account core.AccountID, id core.TraceID, want ...core.Node) {
	t.Helper()
	got, err := s.Nodes(t.Context(), account, id)
	if err != nil {
		t.Fatalf("Nodes: %v", err)
	}
	if len(got) != len(want) {
		t.Fatalf("%d nodes, want %d: %+v", len(got), len(want), got)
	}
	for i := range got {
		g, w := got[i], want[i]
		if !g.Start.Equal(w.Start) || !g.Finish.Equal(w.Finish) {
			t.Errorf("node %d from %v to %v, want from %v to %v", i, g.Start, g.Finish, w.Start, w.Finish)
		}
		g.Start, g.Finish, w.Start, w.Finish = time.Time{}, time.Time{}, time.Time{}, time.Time{}
		if g != w {
			t.Errorf("node %d is %+v, want %+v", i, g, w)
		}
	}
}

func testOrder(t *testing.T, s trace.Store) {
	t.Helper()
	x := id(t0, 1)
	running := core.Node{Name: core.NodeSend, Attempt: 2, Start: t0.Add(time.Microsecond), Status: core.NodePending}
	s.Record(entry(x, node(core.NodeQueue, 1), node(core.NodeProcess, 1)), entry(id(t0, 2), node(core.NodeQueue, 1)))
	s.Record(entry(x, running))
	flush(t, s)
	s.Record(entry(x, node(core.NodeCallback, 2)))
	flush(t, s)
	wantNodes(t, s, account, x, node(core.NodeQueue, 1), node(core.NodeProcess, 1), running, node(core.NodeCallback, 2))
}

func testUnknown(t *testing.T, s trace.Store) {
	t.Helper()
	s.Record(entry("not a trace id", node(core.NodeQueue, 1)))
	s.Record()
	flush(t, s)
	wantNodes(t, s, account, id(t0, 1))
	wantNodes(t, s, account, "not a trace id")
}

func testIsolation(t *testing.T, s trace.Store) {
	t.Helper()
	s.Record(entry(id(t0, 1), node(core.NodeQueue, 1)))
	flush(t, s)
	wantNodes(t, s, account+1, id(t0, 1))
	wantNodes(t, s, account, id(t0, 1), node(core.NodeQueue, 1))
}

func testPurge(t *testing.T, s trace.Store) {
	t.Helper()
	old, young := id(t0, 1), id(t0.Add(time.Hour), 1)
	s.Record(entry(old, node(core.NodeQueue, 1)), entry(young, node(core.NodeQueue, 1)))
	flush(t, s)
	s.Record(entry(old, node(core.NodeCallback, 1)))
	flush(t, s)
	if err := s.Purge(t.Context(), t0.Add(time.Hour)); err != nil {
		t.Fatalf("Purge: %v", err)
	}
	wantNodes(t, s, account, old)
	wantNodes(t, s, account, young, node(core.NodeQueue, 1))
}

func testPurgeMany(t *testing.T, s trace.Store) {
	t.Helper()
	const n = 12_345
	for i := range n {
		s.Record(entry(id(t0, i%4000), node(core.NodeQueue, i)))
	}
	flush(t, s)
	if err := s.Purge(t.Context(), t0.Add(time.Minute)); err != nil {
		t.Fatalf("Purge: %v", err)
	}
	for _, i := range []int{0, 1999, 3999} {
		wantNodes(t, s, account, id(t0, i))
	}
	if d := s.Dropped(); d != 0 {
		t.Errorf("%d entries were dropped", d)
	}
}

func testConcurrent(t *testing.T, s trace.Store) {
	t.Helper()
	const writers, each = 8, 200
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				s.Record(entry(id(t0, w), core.Node{Name: fmt.Sprint(i), Start: t0, Status: core.NodeSuccess}))
				if i%50 == 0 {
					if _, err := s.Nodes(t.Context(), account, id(t0, w)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	wg.Wait()
	flush(t, s)
	for w := range writers {
		nodes, err := s.Nodes(t.Context(), account, id(t0, w))
		if err != nil || len(nodes) != each {
			t.Fatalf("%d nodes, want %d (%v)", len(nodes), each, err)
		}
		for i, n := range nodes {
			if n.Name != fmt.Sprint(i) {
				t.Fatalf("node %d is %s: out of order", i, n.Name)
			}
		}
	}
}

func testClosed(t *testing.T, s trace.Store) {
	t.Helper()
	closeStore(t, s)
	s.Record(entry(id(t0, 1), node(core.NodeQueue, 1)))
	if d := s.Dropped(); d != 1 {
		t.Errorf("%d entries were dropped after Close, want 1", d)
	}
	if err := s.Flush(t.Context()); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("Flush after Close: %v, want KindUnavailable", err)
	}
}

func testPressure(t *testing.T, s trace.Store) {
	t.Helper()
	entries := make([]trace.Entry, 1000)
	for i := range entries {
		entries[i] = entry(id(t0, 1), node(core.NodeQueue, i))
	}
	s.Record(entries...)
	flush(t, s)
	nodes, err := s.Nodes(t.Context(), account, id(t0, 1))
	if err != nil {
		t.Fatal(err)
	}
	if dropped := s.Dropped(); dropped == 0 || int(dropped)+len(nodes) != len(entries) {
		t.Errorf("%d entries: %d kept and %d dropped", len(entries), len(nodes), dropped)
	}
}
