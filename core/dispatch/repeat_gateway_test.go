package dispatch_test

import (
	"context"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/store"
)

// What the provider may have, and drops a repeat of, waits for its connector, though another one is free.
func TestSafeRepeatStaysWithItsConnector(t *testing.T) {
	c := newCarrier("sms/a", "sms/b")
	for _, id := range []core.ConnectorID{"sms/a", "sms/b"} {
		c.status[id] = core.ConnectorStatus{ID: id, State: core.ConnectorUnavailable, Query: true}
	}
	c.query = func(core.Inquiry) core.Result {
		c.mu.Lock()
		defer c.mu.Unlock()
		for id := range c.status {
			c.status[id] = core.ConnectorStatus{ID: id, State: core.ConnectorReady, Query: true}
		}
		return core.Result{Outcome: core.OutcomeUncertain, Error: &core.SendError{Code: core.CodeRepeatSafe}}
	}
	by := make(chan core.ConnectorID, 10)
	c.deliver = func(_ context.Context, id core.ConnectorID, _ core.Delivery) core.Result {
		by <- id
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"}, dispatch.Policy{ID: "sms/b", Weight: 1000})
	id := r.send("sms", 1, nil)[0]
	now := time.Now()
	won, err := r.store.Claim(t.Context(), []store.Claim{{Record: id, Attempt: 1, Connector: "sms/a"}}, now, now.Add(100*time.Millisecond))
	if err != nil || !won[0] {
		t.Fatalf("claim: %v, %v", won, err)
	}
	r.await(core.StatusSent, id)
	if m := r.message(id); m.Doubtful || m.Attempt != 2 || m.StartedAt.Before(now) || <-by != "sms/a" {
		t.Errorf("message %+v", m)
	}
}
