package redis

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

// FuzzEntries: whatever the fields hold, nodes are read as they were written.
func FuzzEntries(f *testing.F) {
	f.Add(int64(1)<<40, int64(7), "queue", 1, int64(1_700_000_000_000_000), int64(1500), "success", "sms/main")
	f.Add(int64(1), int64(-1), "", -1, int64(0), int64(-1), "", "\"\\\x00\n\u2028你好\x7f\xff")
	f.Add(int64(1)<<52, int64(1)<<62, strings.Repeat("x", 200), 1<<40, int64(-62135596800000000), int64(0), "odd", strings.Repeat("y", 20_000))
	f.Fuzz(func(t *testing.T, record, account int64, name string, attempt int, start, duration int64, status, detail string) {
		id := core.NewTraceID(core.RecordID(max(1, record&(1<<53-1))), 5)
		p, ok := placeOf(id)
		if !ok {
			t.Fatalf("%s has no place", id)
		}
		want := core.Node{Name: name, Attempt: attempt, Start: time.UnixMicro(start % (1 << 56)).UTC(), Status: core.NodeStatus(status), Detail: detail}
		if duration >= 0 {
			want.Finish = want.Start.Add(time.Duration(duration%(1<<40)) * time.Microsecond)
		}
		e := trace.Entry{TraceID: id, Account: core.AccountID(account), Nodes: []core.Node{want, {Name: core.NodeSend, Start: start0, Status: core.NodePending}, want}}
		other := e
		other.Account++
		chunk := appendEntry(appendEntry(appendEntry([]byte{format}, p, &other), p, &e), p, &e)
		got, err := parseChunk(string(chunk), e.Account, p)
		if twice := append(append([]core.Node{}, e.Nodes...), e.Nodes...); err != nil || !reflect.DeepEqual(got, twice) {
			t.Errorf("wrote %+v and read %+v (%v)", twice, got, err)
		}
	})
}

var start0 = time.Date(2026, time.January, 15, 10, 0, 0, 0, time.UTC)

// FuzzParseChunk: what something else wrote into Redis makes an error, not a panic.
func FuzzParseChunk(f *testing.F) {
	id := core.NewTraceID(core.FirstRecordID(start0), 5)
	p, _ := placeOf(id)
	sound := appendEntry([]byte{format}, p, &trace.Entry{TraceID: id, Account: 7, Nodes: []core.Node{{Name: core.NodeQueue, Start: start0}}})
	f.Add(string(sound))
	for i := range sound {
		f.Add(string(sound[:i]))
		f.Add(string(sound[:i]) + "\xff" + string(sound[i:]))
	}
	f.Fuzz(func(t *testing.T, chunk string) {
		if nodes, err := parseChunk(chunk, 7, p); err != nil && nodes != nil {
			t.Error("nodes came with an error")
		}
	})
}

func TestAnEntryIsSmall(t *testing.T) {
	id := core.NewTraceID(core.FirstRecordID(start0), 5)
	p, _ := placeOf(id)
	e := trace.Entry{TraceID: id, Account: 12345}
	at := start0.Add(300 * time.Microsecond)
	for _, name := range []string{core.NodeQueue, core.NodeProcess, core.NodeSend} {
		n := core.Node{Name: name, Attempt: 1, Start: at, Finish: at.Add(12_345 * time.Microsecond), Status: core.NodeSuccess}
		e.Nodes, at = append(e.Nodes, n), n.Finish
	}
	e.Nodes[2].Detail = "sms/main"
	if n := len(appendEntry(nil, p, &e)); n > 50 {
		t.Errorf("an entry takes %d bytes", n)
	}
}
