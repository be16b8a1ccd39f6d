package cli

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/api/client"
)

// On a terminal each picture takes the place of the one before, and none is higher than the terminal.
func TestWatcherDraws(t *testing.T) {
	var out bytes.Buffer
	height := 24
	w := &watcher{out: printer{Writer: &out}, height: func() int { return height }}
	d := client.RolloutDetail{Rollout: client.Rollout{Plugin: "sms", State: "starting", Reason: "a\x1b[2J\nb"}, WaitingFor: "gateway b has not answered"}
	for i := range 30 {
		d.Events = append(d.Events, client.RolloutEvent{Reason: fmt.Sprintf("event %d.", i)})
	}
	w.show(&d)
	first := out.String()
	lines := strings.Count(first, "\n")
	if lines != 23 || !strings.HasPrefix(first, noWrap+"sms ") || !strings.HasSuffix(first, "event 29.\n"+wrap) || strings.Contains(first, "event 1.") {
		t.Errorf("%d lines:\n%s", lines, first)
	}
	if !strings.Contains(first, "reason   a [2J b\n") {
		t.Errorf("a text moves the terminal:\n%q", first)
	}
	out.Reset()
	height = 100
	w.show(&d)
	if have := out.String(); !strings.HasPrefix(have, "\x1b[23A\x1b[J"+noWrap+"sms ") || !strings.Contains(have, "event 1.") {
		t.Errorf("the second picture:\n%q", have)
	}
	out.Reset()
	if err := w.end(&d); err != nil || out.Len() != 0 {
		t.Errorf("the end writes %q, %v", out.String(), err)
	}
}

func TestBar(t *testing.T) {
	for share, full := range map[float64]int{-1: 0, 0: 0, 0.001: 1, 0.5: barWidth / 2, 1: barWidth, 7: barWidth} {
		if have := bar(share); strings.Count(have, "█") != full || len([]rune(have)) != barWidth+2 {
			t.Errorf("%v: %s", share, have)
		}
	}
}
