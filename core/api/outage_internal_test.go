package api

import (
	"testing"
	"testing/synctest"
	"time"
)

// An outage is logged at once and from time to time, with what was left out; each kind for itself.
func TestOutageFillsNoLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var o outages
		for i, step := range []struct {
			pause   time.Duration
			what    string
			leftOut int
			logged  bool
		}{
			{0, "/send", 0, true},
			{0, "/send", 0, false},
			{0, "/batch", 0, true},
			{outageEvery - 1, "/send", 0, false},
			{1, "/send", 2, true},
			{outageEvery, "/send", 0, true},
		} {
			<-time.After(step.pause)
			if leftOut, ok := o.worthALine(step.what); ok != step.logged || leftOut != step.leftOut {
				t.Errorf("step %d: logged %t, left out %d", i, ok, leftOut)
			}
		}
	})
}
