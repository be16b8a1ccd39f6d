package local

import (
	"reflect"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// FuzzNodes: whatever the fields hold, nodes are read as they were written.
func FuzzNodes(f *testing.F) {
	f.Add("queue", 1, int64(1_700_000_000_000_000), int64(1500), "success", "sms/main")
	f.Add("", -1, int64(0), int64(0), "", "\"\\\x00\n\u2028你好\x7f")
	f.Fuzz(func(t *testing.T, name string, attempt int, start, duration int64, status, detail string) {
		start %= 1 << 52
		want := core.Node{
			Name: valid(name), Attempt: attempt, Start: time.UnixMicro(start).UTC(), Status: core.NodeStatus(valid(status)), Detail: valid(detail),
		}
		if duration >= 0 {
			want.Finish = want.Start.Add(time.Duration(duration%(1<<40)) * time.Microsecond)
		}
		got, err := parseNodes(string(appendNodes(nil, []core.Node{want, want})))
		if err != nil || len(got) != 2 || !reflect.DeepEqual(got[0], want) || !reflect.DeepEqual(got[1], want) {
			t.Errorf("wrote %+v and read %+v (%v)", want, got, err)
		}
	})
}

// FuzzParseNodes: a file that something else wrote into makes an error, not a panic.
func FuzzParseNodes(f *testing.F) {
	for _, seed := range []string{`[["queue",1,2,3,"success",""]]`, `[]`, `null`, `[[]]`, `[null]`, `[["a"]]`, `[[1,2,3,4,5,6]]`, `{`, `[[null,null,null,null,null,null]]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		nodes, err := parseNodes(text)
		if err != nil && nodes != nil {
			t.Error("nodes came with an error")
		}
	})
}

// valid replaces what JSON cannot hold as JSON does.
func valid(s string) string {
	return string([]rune(s))
}
