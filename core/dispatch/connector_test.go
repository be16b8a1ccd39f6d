package dispatch

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

func ready(id core.ConnectorID, p Policy) *connector {
	c := newConnector(id)
	p.ID = id
	c.configure(p.withDefaults())
	c.observe(core.ConnectorStatus{ID: id, State: core.ConnectorReady})
	return c
}

func results(n int, fault core.Fault) []core.Result {
	all := make([]core.Result, n)
	for i := range all {
		all[i] = core.Result{Outcome: core.OutcomeRetryable, Error: &core.SendError{Code: "x", Fault: fault}}
	}
	return all
}

func TestBreakerSparesAProviderThatIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ready("sms/a", Policy{})
		for range 5 {
			if !c.available(time.Now()) {
				t.Fatal("the breaker opened early")
			}
			c.judge(results(3, core.FaultProvider))
		}
		if c.available(time.Now()) || c.breaker.TryAcquirePermit() {
			t.Error("the breaker is closed after five calls that failed")
		}
		<-time.After(7 * time.Second) // of the test's own clock
		if !c.available(time.Now()) || !c.breaker.TryAcquirePermit() {
			t.Fatal("the breaker lets no trial through")
		}
		if c.breaker.TryAcquirePermit() {
			t.Error("the breaker lets a second call through while the trial runs")
		}
		c.judge([]core.Result{{Outcome: core.OutcomeAccepted}})
		if !c.breaker.TryAcquirePermit() {
			t.Error("the breaker stays open after a trial that went well")
		}
	})
}

// A trial risks one message, and what it keeps waiting does not go round between queue and workers meanwhile.
func TestConnectorRestsWhileATrialRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := ready("sms/a", Policy{})
		if n := c.permit(100, time.Now()); n != 100 {
			t.Errorf("a closed breaker permits %d of 100", n)
		}
		for range 5 {
			c.judge(results(3, core.FaultProvider))
		}
		<-time.After(7 * time.Second) // of the test's own clock
		if n := c.permit(100, time.Now()); n != 1 {
			t.Errorf("the trial carries %d messages", n)
		}
		if n := c.permit(100, time.Now()); n != 0 || c.available(time.Now()) {
			t.Errorf("beside the trial %d are permitted; available: %v", n, c.available(time.Now()))
		}
		c.judge([]core.Result{{Outcome: core.OutcomeAccepted}})
		<-time.After(time.Second)
		if n := c.permit(100, time.Now()); n != 100 || !c.available(time.Now()) {
			t.Errorf("after the trial %d are permitted; available: %v", n, c.available(time.Now()))
		}
	})
}

func TestRecipientsErrorsDoNotOpenTheBreaker(t *testing.T) {
	c := ready("sms/a", Policy{})
	for range 100 {
		c.judge(results(10, core.FaultMessage))
		c.judge([]core.Result{{Outcome: core.OutcomeThrottled}})
	}
	if !c.available(time.Now()) {
		t.Error("the breaker opened for errors of the recipients")
	}
}

func TestPlacesAreBounded(t *testing.T) {
	c := ready("sms/a", Policy{MaxInFlight: 10})
	if n, err := c.acquire(t.Context(), 7); n != 7 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if n, err := c.acquire(t.Context(), 7); n != 3 || err != nil {
		t.Fatalf("got %d, %v; want the 3 that are left", n, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := c.acquire(ctx, 1); n != 0 || !errors.Is(err, context.Canceled) {
		t.Fatalf("got %d, %v; nothing is left", n, err)
	}
	waited := make(chan int)
	go func() {
		n, _ := c.acquire(context.Background(), 5)
		waited <- n
	}()
	c.release(10)
	if n := <-waited; n != 5 {
		t.Errorf("got %d after ten were given back", n)
	}
}

func TestWhenAConnectorMayBeUsed(t *testing.T) {
	now := time.Now()
	tests := []struct {
		name   string
		change func(*connector)
		want   bool
	}{
		{"ready", func(*connector) {}, true},
		{"degraded", func(c *connector) { c.observe(core.ConnectorStatus{State: core.ConnectorDegraded}) }, true},
		{"its plugin is down", func(c *connector) { c.observe(core.ConnectorStatus{State: core.ConnectorUnavailable}) }, false},
		{"misconfigured", func(c *connector) { c.observe(core.ConnectorStatus{State: core.ConnectorMisconfigured}) }, false},
		{"the provider asked to wait", func(c *connector) { c.pause(now.Add(time.Second)) }, false},
		{"the wait is over", func(c *connector) { c.pause(now.Add(-time.Second)) }, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := ready("sms/a", Policy{})
			tt.change(c)
			if got := c.available(now); got != tt.want {
				t.Errorf("available: %v, want %v", got, tt.want)
			}
		})
	}
}

// Right after the start the plugins have not yet said what they can: nothing is sent again for want of an answer.
func TestNothingIsConcludedWhileThePluginIsNotThere(t *testing.T) {
	d := New(Options{})
	lapsed := []store.Lapsed{{Message: core.Message{ID: 7}}}
	for state, want := range map[core.ConnectorState]bool{core.ConnectorUnavailable: true, core.ConnectorReady: false} {
		got := d.query(t.Context(), core.ConnectorStatus{ID: "sms/a", State: state}, lapsed)
		if got[7].known || got[7].later != want {
			t.Errorf("%s: %+v, want to ask later: %v", state, got[7], want)
		}
	}
}
