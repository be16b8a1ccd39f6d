package api_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/limit"
)

func TestLimitOfARoute(t *testing.T) {
	h := newHarness(t)
	id := h.createTemplate(`{"name":"t","channel":"sms","content":"x"}`).Id
	for _, test := range []struct{ resource, method, path, body string }{
		{"api:/messages/send", "POST", "/api/messages/send", anSMS},
		{"api:/messages/send-batch", "POST", "/api/messages/send-batch", `{"channel":"sms","content":"x","recipients":["+8613800138000"]}`},
		{"api:/messages/{record_id}", "GET", "/api/messages/1", ""},
		{"api:/messages/templates/{id}", "GET", "/api/messages/templates/" + itoa(id), ""},
		{"api:/plugins", "GET", "/api/plugins", ""},
	} {
		h.rules[test.resource] = []limit.Rule{{Resource: test.resource, Type: limit.SlidingWindow, Max: 2, Window: time.Hour}}
		for range 2 {
			if a := h.do(test.method, test.path, test.body); a.Status == 429 {
				t.Errorf("%s: refused too early", test.resource)
			}
		}
		a := h.want(h.do(test.method, test.path, test.body), 429, core.CodeRateLimited)
		if a.Header.Get("Retry-After") == "" || !strings.Contains(a.Message, test.resource) || !strings.Contains(a.Message, "2 requests in 1h0m0s") {
			t.Errorf("%s: Retry-After %q, message %q", test.resource, a.Header.Get("Retry-After"), a.Message)
		}
		if theirs := h.do(test.method, test.path, test.body, as(h.other)...); theirs.Status == 429 {
			t.Errorf("%s: the limit of one account holds another", test.resource)
		}
	}
}

// TestLimitOfConcurrentRequests holds one request in the handler while another comes.
func TestLimitOfConcurrentRequests(t *testing.T) {
	slow := &slowSender{entered: make(chan struct{}), goOn: make(chan struct{})}
	h := newHarness(t, func(o *api.Options) { slow.Sender, o.Sender = o.Sender, slow })
	h.rules[accept.ResourceSend] = []limit.Rule{{Resource: "send", Type: limit.Concurrent, Max: 2}}
	var first answer
	var wg sync.WaitGroup
	wg.Go(func() { first = h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", "k") })
	<-slow.entered
	h.rules[accept.ResourceSend][0].Max = 1
	a := h.do("POST", "/api/messages/send", anSMS)
	close(slow.goOn)
	wg.Wait()
	h.want(first, 200, 0)
	h.want(a, 429, core.CodeRateLimited)
	h.rules[accept.ResourceSend][0].Max = 2
	h.want(h.do("POST", "/api/messages/send", anSMS), 200, 0) // the place was given back
}

// brokenLimiter cannot decide.
type brokenLimiter struct{}

func (brokenLimiter) Allow(context.Context, ...limit.Request) (limit.Decision, error) {
	return limit.Decision{}, errSecret
}

func TestLimiterThatCannotDecideLetsPass(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.Limiter = brokenLimiter{} })
	h.rules["api:/messages"] = []limit.Rule{{Type: limit.QPS, Max: 1}}
	h.want(h.do("GET", "/api/messages", ""), 200, 0)
}
