package api_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/store"
)

// faultySender answers every request with an error, or panics.
type faultySender struct {
	err   error
	panic any
}

func (f faultySender) Send(context.Context, accept.Request) (accept.Accepted, error) {
	if f.panic != nil {
		panic(f.panic)
	}
	return accept.Accepted{}, f.err
}

func TestFaultsShowNothingOfTheInside(t *testing.T) {
	tests := []struct {
		about        string
		sender       faultySender
		status, code int
	}{
		{"any error", faultySender{err: fmt.Errorf("insert: %w", errSecret)}, 500, core.CodeInternal},
		{"an internal one with a message", faultySender{err: &core.Error{Message: "hunter2", Cause: errSecret}}, 500, core.CodeInternal},
		{"a panic", faultySender{panic: errSecret}, 500, core.CodeInternal},
		{"a panic with a text", faultySender{panic: "password=hunter2"}, 500, core.CodeInternal},
		{"store down", faultySender{err: &core.Error{Kind: core.KindUnavailable, Message: "later", Cause: errSecret}}, 503, core.CodeUnavailable},
		{"unseen end of a commit", faultySender{err: fmt.Errorf("commit: %w", errors.Join(store.ErrUnknown, errSecret))}, 503, core.CodeUnavailable},
		{"out of time", faultySender{err: fmt.Errorf("%w: %w", context.DeadlineExceeded, errSecret)}, 503, core.CodeUnavailable},
		{"a refusal with a cause", faultySender{err: &core.Error{Kind: core.KindUnprocessable, Message: "no", Cause: errSecret}}, 422, core.CodeInvalidField},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			h := newHarness(t, func(o *api.Options) { o.Sender = test.sender })
			a := h.want(h.do("POST", "/api/messages/send", anSMS), test.status, test.code)
			if strings.Contains(string(a.Raw), "hunter2") || strings.Contains(string(a.Raw), "goroutine") {
				t.Errorf("the answer shows the inside: %s", a.Raw)
			}
			if log := h.log.String(); !strings.Contains(log, "hunter2") || !strings.Contains(log, a.RequestID) {
				t.Errorf("the log lacks the cause or the request id: %s", log)
			}
			if test.status == 503 && a.Header.Get("Retry-After") != "1" {
				t.Errorf("Retry-After %q", a.Header.Get("Retry-After"))
			}
		})
	}
}

// What all requests run into while something is away takes one line of the log; each fault of our own takes one.
func TestOutageTakesOneLineOfTheLog(t *testing.T) {
	const requests = 3
	away := &core.Error{Kind: core.KindUnavailable, Message: "later", Cause: errSecret}
	for name, c := range map[string]struct {
		change func(*api.Options)
		method string
		path   string
		line   string
		want   int
	}{
		"store down":    {func(o *api.Options) { o.Sender = faultySender{err: away} }, "POST", "/api/messages/send", `level=WARN msg="api: request refused"`, 1},
		"limiter down":  {func(o *api.Options) { o.Limiter = brokenLimiter{} }, "GET", "/api/messages", `level=WARN msg="api: cannot ask the limiter`, 1},
		"fault of ours": {func(o *api.Options) { o.Sender = faultySender{err: errSecret} }, "POST", "/api/messages/send", `level=ERROR msg="api: request refused"`, requests},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, c.change)
			h.rules["api:/messages"] = []limit.Rule{{Type: limit.QPS, Max: 100}}
			for range requests {
				h.do(c.method, c.path, anSMS)
			}
			if n := strings.Count(h.log.String(), c.line); n != c.want {
				t.Errorf("%d lines, want %d:\n%s", n, c.want, h.log)
			}
		})
	}
}

func TestFaultsOfTheStore(t *testing.T) {
	h := newHarness(t)
	id := h.createTemplate(`{"name":"t","channel":"sms","content":"x"}`).Id
	must(t, h.store.Close())
	for _, request := range [][2]string{
		{"GET", "/api/messages"},
		{"GET", "/api/messages/1"},
		{"POST", "/api/messages/1/cancel"},
		{"POST", "/api/messages/1/retry"},
		{"GET", "/api/messages/batches/1"},
		{"POST", "/api/messages/batches/1/cancel"},
		{"GET", "/api/messages/templates"},
		{"GET", "/api/messages/templates/" + itoa(id)},
		{"DELETE", "/api/messages/templates/" + itoa(id)},
		{"GET", "/api/messages/traces/" + string(core.NewTraceID(1, 1))},
	} {
		if a := h.do(request[0], request[1], ""); a.Status < 500 {
			t.Errorf("%s %s without a store: %d %s", request[0], request[1], a.Status, a.Raw)
		}
	}
	if a := h.do("POST", "/api/messages/send", anSMS, "Idempotency-Key", "k"); a.Status != 503 || a.Header.Get("Retry-After") == "" {
		t.Errorf("send without a store: %d %s", a.Status, a.Raw)
	}
}

func TestFaultAbortEndsTheConnection(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.Sender = faultySender{panic: http.ErrAbortHandler} })
	defer func() {
		if v := recover(); v != http.ErrAbortHandler {
			t.Errorf("recovered %v; want http.ErrAbortHandler", v)
		}
	}()
	h.do("POST", "/api/messages/send", anSMS)
}

func TestNoRouteAndNoMethod(t *testing.T) {
	h := newHarness(t)
	for _, path := range []string{"/nowhere", "/api", "/api/", "/api/messages/", "/api/messages/send/", "//api/messages", "/docs/", "/docs/../openapi.yaml", "/API/messages"} {
		h.want(h.do("GET", path, ""), 404, core.CodeRouteNotFound)
	}
	for _, request := range [][2]string{{"PATCH", "/api/messages/send"}, {"DELETE", "/api/messages"}, {"POST", "/healthz"}, {"MADEUP", "/api/plugins"}} {
		a := h.want(h.do(request[0], request[1], ""), 405, core.CodeMethodNotAllowed)
		if a.Header.Get("Allow") == "" {
			t.Errorf("%v: Allow %q", request, a.Header.Get("Allow"))
		}
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	_, err := api.New(api.Options{})
	if err == nil || !strings.Contains(err.Error(), "Sender") || !strings.Contains(err.Error(), "Logger") {
		t.Errorf("New: %v", err)
	}
}

// TestServerHasLimits keeps anybody from holding on to connections.
func TestServerHasLimits(t *testing.T) {
	h := newHarness(t)
	s := api.Server(h.handler, discard)
	if s.ReadHeaderTimeout != 5*time.Second || s.ReadTimeout != 15*time.Second || s.WriteTimeout != 30*time.Second ||
		s.IdleTimeout != time.Minute || s.MaxHeaderBytes != 16<<10 || s.Handler == nil || s.ErrorLog == nil {
		t.Errorf("server %+v", s)
	}
}

func TestOverTheNetwork(t *testing.T) {
	h := newHarness(t)
	server := httptest.NewUnstartedServer(nil)
	server.Config = api.Server(h.handler, discard)
	server.Start()
	defer server.Close()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/api/messages", http.NoBody)
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+h.key)
	r.Header.Set("X-Huge", strings.Repeat("x", 64<<10))
	answer, err := server.Client().Do(r)
	must(t, err)
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("64 KiB of headers: %s", answer.Status)
	}
}
