package pluginhost

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// A version stalls while calls are open and nothing comes to its end.
func TestMeterMeasuresTheLackOfProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var m meter
		want := func(what string, stalled time.Duration, stuck int) {
			t.Helper()
			if f := m.read(); f.Stalled != stalled || f.Stuck != stuck {
				t.Errorf("%s: %d calls without progress for %s, want %d for %s", what, f.Stuck, f.Stalled, stuck, stalled)
			}
		}
		begin := func() *call {
			c := &call{started: time.Now()}
			m.begin(c)
			return c
		}
		want("nothing in flight", 0, 0)
		slow := begin()
		<-time.After(10 * time.Second)
		want("one call", 10*time.Second, 1)
		quick := begin()
		<-time.After(time.Second)
		want("one that is slow and one that is new", 11*time.Second, 1)
		m.progress()
		want("a result", 0, 2)
		<-time.After(2 * time.Second)
		want("none since then", 2*time.Second, 2)
		m.end(slow)
		m.end(quick)
		want("all have ended", 0, 0)
	})
}

// What a version blames on its provider is told from its other failures.
func TestMeterCountsWhatIsTheProviders(t *testing.T) {
	var m meter
	failed := func(fault core.Fault) core.Result {
		return core.Result{Outcome: core.OutcomeRetryable, Error: &core.SendError{Fault: fault}}
	}
	m.observe([]core.Result{failed(core.FaultProvider), failed(core.FaultPlugin), failed(core.FaultProvider), {Outcome: core.OutcomeAccepted}}, time.Second)
	if f := m.read(); f.Failed != 3 || f.Provider != 2 || f.Accepted != 1 {
		t.Errorf("%+v", f)
	}
}
