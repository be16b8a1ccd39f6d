package api

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// An outage is logged at once and from time to time, with what was left out; each kind for itself.
func TestOutageFillsNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outages
		for i, step := range []struct {
			pause   time.Duration
			route   string
			code    int
			leftOut int
			logged  bool
		}{
			{0, "/send", core.CodeUnavailable, 0, true},
			{0, "/send", core.CodeUnavailable, 0, false},
			{0, "/batch", core.CodeUnavailable, 0, true},
			{0, "/send", core.CodeInternal, 0, true},
			{outageEvery - 1, "/send", core.CodeUnavailable, 0, false},
			{1, "/send", core.CodeUnavailable, 2, true},
			{outageEvery, "/send", core.CodeUnavailable, 0, true},
		} {
			<-time.After(step.pause)
			if leftOut, ok := o.worthALine(step.route, step.code); ok != step.logged || leftOut != step.leftOut {
				t.Errorf("step %d: logged %t, left out %d", i, ok, leftOut)
			}
		}
	})
}
