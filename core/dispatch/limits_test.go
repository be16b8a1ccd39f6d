package dispatch_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/limit"
)

// keep puts limits of the connector sms/a in force.
func (c *carrier) keep(rules ...limit.Rule) {
	for i := range rules {
		rules[i].Resource, rules[i].By = dispatch.ResourceConnector+"sms/a", limit.ByConnector
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.rules = map[string][]limit.Rule{dispatch.ResourceConnector + "sms/a": rules}
}

// A limit counts beside the connector's own rate, whichever is lower; it counts no other connector.
func TestLimitOfAConnectorBesideItsRate(t *testing.T) {
	for name, rate := range map[string]float64{"the limit is lower": 1000, "there is no rate": 0, "the rate is lower": 60} {
		t.Run(name, func(t *testing.T) {
			c := newCarrier("sms/a", "email/a")
			c.keep(limit.Rule{Type: limit.QPS, Max: 100}, limit.Rule{Type: limit.SlidingWindow, Max: 1000, Window: time.Hour})
			r := newRig(t, c, dispatch.Policy{ID: "sms/a", Rate: rate}, dispatch.Policy{ID: "email/a"})
			began := time.Now()
			sms := r.send("sms", 150, nil)
			r.await(core.StatusSent, r.send("email", 150, nil)...)
			r.await(core.StatusSent, sms...)
			least := 400 * time.Millisecond
			if rate == 60 {
				least = 1400 * time.Millisecond
			}
			if took := time.Since(began); took < least || took > 20*time.Second { // on a busy machine more than it needs
				t.Errorf("150 messages took %s", took)
			}
		})
	}
}

// A concurrent limit holds places until the messages have been sent, and gives them back.
func TestConcurrentLimitOfAConnector(t *testing.T) {
	c := newCarrier("sms/a")
	c.keep(limit.Rule{Type: limit.Concurrent, Max: 3})
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		<-time.After(time.Millisecond)
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	r.await(core.StatusSent, r.send("sms", 100, nil)...)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.most["sms/a"] > 3 || c.most["sms/a"] == 0 {
		t.Errorf("%d messages were under way at a time", c.most["sms/a"])
	}
}

// Nothing passes a limit of zero; a limit that is raised lets pass what waits, and soon.
func TestALimitThatIsRaised(t *testing.T) {
	c := newCarrier("sms/a")
	c.keep(limit.Rule{Type: limit.QPS, Max: 0})
	var once sync.Once
	sent := make(chan struct{})
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		once.Do(func() { close(sent) })
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	ids := r.send("sms", 10, nil)
	select {
	case <-sent:
		t.Error("a message was sent under a limit of zero")
	case <-time.After(300 * time.Millisecond):
	}
	c.keep(limit.Rule{Type: limit.QPS, Max: 100})
	raised := time.Now()
	select {
	case <-sent:
	case <-time.After(2 * time.Second):
		t.Errorf("nothing was sent %s after the limit was raised", time.Since(raised))
	}
	r.await(core.StatusSent, ids...)
}
