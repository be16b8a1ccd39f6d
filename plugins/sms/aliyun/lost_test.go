package aliyun

import (
	"strconv"
	"testing"
)

func TestLost(t *testing.T) {
	var l lost
	if got := l.attempt("a", "13800138000"); got != "" {
		t.Errorf("nothing was lost, and there is %q", got)
	}
	for i := range maxLost + 1 {
		l.remember(strconv.Itoa(i), []item{{phone: "13800138000", attempt: strconv.Itoa(i) + ".1"}, {phone: "13800138001", attempt: "x"}})
	}
	for outID, want := range map[string]string{"0": "", "1": "1.1", strconv.Itoa(maxLost): strconv.Itoa(maxLost) + ".1", "none": ""} {
		if got := l.attempt(outID, "13800138000"); got != want {
			t.Errorf("%s: %q, want %q", outID, got, want)
		}
	}
	if got := l.attempt("1", "13800138002"); got != "" {
		t.Errorf("another number: %q", got)
	}
	if len(l.attempts) != maxLost || len(l.order) != maxLost {
		t.Errorf("%d are remembered", len(l.attempts))
	}
}
