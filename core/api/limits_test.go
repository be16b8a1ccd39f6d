package api_test

import (
	"context"
	"math/rand/v2"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/account"
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
		if a.Header.Get("Retry-After") == "" || !strings.Contains(a.Message, test.resource) || !strings.Contains(a.Message, "2 in 1h0m0s by account") {
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

// TestLimitsByDimension asks twice, each time from another caller: only a limit that counts both together
// refuses the second.
func TestLimitsByDimension(t *testing.T) {
	routes := []struct{ resource, method, path, body string }{
		{"api:/messages/send", "POST", "/api/messages/send", anSMS}, // accept's to keep
		{"api:/messages", "GET", "/api/messages", ""},               // the API's own
	}
	for _, route := range routes {
		for _, test := range []struct {
			by        limit.Dimension
			otherKey  int // status for another key of the account, from the same address
			otherIP   int
			otherUser int // of another account, from the same address
		}{
			{"", 429, 429, 200},
			{limit.ByAccount, 429, 429, 200},
			{limit.ByKey, 200, 429, 200},
			{limit.ByIP, 429, 200, 429},
			{limit.Global, 429, 429, 429},
		} {
			t.Run(route.resource+" by "+string(test.by), func(t *testing.T) {
				h := newHarness(t)
				second, _, err := account.New(account.Options{Accounts: h.store, Keys: h.store}).Create(t.Context(), h.account.ID, "second", time.Time{})
				must(t, err)
				h.rules[route.resource] = []limit.Rule{{Resource: route.resource, Type: limit.SlidingWindow, By: test.by, Max: 1, Window: time.Hour}}
				ask := func(key, address string) int {
					r := httptest.NewRequest(route.method, route.path, strings.NewReader(route.body))
					r.Header.Set("Authorization", "Bearer "+key)
					r.Header.Set("X-Forwarded-For", strconv.Itoa(rand.IntN(255))+".2.3.4") // nobody is believed
					r.RemoteAddr = address + ":1"
					if route.body != "" {
						r.Header.Set("Content-Type", "application/json")
					}
					return h.serve(r).Status
				}
				if first := ask(h.key, "192.0.2.1"); first != 200 {
					t.Fatalf("the first request: %d", first)
				}
				if got := ask(second, "192.0.2.1"); got != test.otherKey {
					t.Errorf("another key: %d, want %d", got, test.otherKey)
				}
				if got := ask(h.key, "192.0.2.2"); got != test.otherIP {
					t.Errorf("another address: %d, want %d", got, test.otherIP)
				}
				if got := ask(h.other, "192.0.2.1"); got != test.otherUser {
					t.Errorf("another account: %d, want %d", got, test.otherUser)
				}
			})
		}
	}
}

// A batch that a limit of recipients holds back in part answers with both parts.
func TestLimitByRecipientLeavesOut(t *testing.T) {
	h := newHarness(t)
	h.rules[accept.ResourceSendBatch] = []limit.Rule{{
		Resource: accept.ResourceSendBatch, Type: limit.SlidingWindow, By: limit.ByRecipient, Max: 1, Window: time.Minute,
	}}
	const body = `{"channel":"sms","content":"x","recipients":["+8613800138000","+8613800138001","138 0013 8000"]}`
	result := data[api.SendBatchResult](t, h.want(h.do("POST", "/api/messages/send-batch", body), 200, 0))
	if result.Accepted != 2 || len(result.Rejected) != 1 || result.Rejected[0].Index != 2 || result.Rejected[0].Recipient != "138 0013 8000" {
		t.Fatalf("answer %+v", result)
	}
	const want = "over the limit of 1 in 1m0s by recipient for api:/messages/send-batch (sliding_window); send it again after 1m0s"
	if reason := result.Rejected[0].Reason; !strings.Contains(reason, want) {
		t.Errorf("reason %q", reason)
	}
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
