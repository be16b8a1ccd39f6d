package main

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// The account of the tests.
const (
	testAppID  = "wx0123456789abcdef"
	testSecret = "0123456789abcdef0123456789abcdef"
	testToken  = "pamtest"
	testKey    = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG"
	testUser   = "oia2TjjewbmiOUlr6X-1crbLOvLw"
)

// call is one request that the provider got.
type call struct {
	method, path, token, kind string
	contentType               string
	body                      []byte
}

func (c call) json(t *testing.T) map[string]any {
	t.Helper()
	var out map[string]any
	if err := json.Unmarshal(c.body, &out); err != nil {
		t.Fatalf("the request is no JSON: %v\n%s", err, c.body)
	}
	return out
}

// provider is a WeChat that answers what a test says, and gives out token-1, token-2 and so on.
type provider struct {
	*httptest.Server

	mu     sync.Mutex
	calls  []call
	tokens int
	lives  int // expires_in
	// answers says what the path is answered with; without one a message is taken.
	answers map[string]http.HandlerFunc
}

func newProvider(t *testing.T) *provider {
	t.Helper()
	p := &provider{answers: map[string]http.HandlerFunc{}, lives: 7200}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(func() {
		p.Close()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections() // what sdk.DoHTTPFunc uses outside of a gateway
	})
	return p
}

// on answers a path.
func (p *provider) on(path string, answer http.HandlerFunc) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answers[path] = answer
}

func says(body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Content-Type", "application/json; encoding=utf-8")
		_, _ = io.WriteString(rw, body)
	}
}

// inTurn answers with each in turn, and then with the last.
func inTurn(answers ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(rw http.ResponseWriter, r *http.Request) {
		mu.Lock()
		answer := answers[0]
		if len(answers) > 1 {
			answers = answers[1:]
		}
		mu.Unlock()
		answer(rw, r)
	}
}

func (p *provider) serve(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.calls = append(p.calls, call{
		r.Method, r.URL.Path, r.URL.Query().Get("access_token"), r.URL.Query().Get("type"), r.Header.Get("Content-Type"), body,
	})
	answer := p.answers[r.URL.Path]
	if answer == nil && r.URL.Path == pathStableToken {
		p.tokens++
		answer = says(`{"access_token":"token-` + string(rune('0'+p.tokens)) + `","expires_in":` + jsonNumber(p.lives) + `}`)
	}
	p.mu.Unlock()
	if answer == nil {
		answer = says(`{"errcode":0,"errmsg":"ok","msgid":200228332}`)
	}
	answer(rw, r)
}

func jsonNumber(n int) string {
	b, _ := json.Marshal(n)
	return string(b)
}

// to returns the calls of a path.
func (p *provider) to(path string) []call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []call
	for _, c := range p.calls {
		if c.path == path {
			out = append(out, c)
		}
	}
	return out
}

// only returns the one call of a path.
func (p *provider) only(t *testing.T, path string) call {
	t.Helper()
	calls := p.to(path)
	if len(calls) != 1 {
		t.Fatalf("%s was called %d times, want once", path, len(calls))
	}
	return calls[0]
}

// settings are a config as its defaults make it, for the address of a provider.
func settings(base string) config {
	return config{
		AppID: testAppID, AppSecret: testSecret, TemplateType: typeTemplate, Token: testToken, EncodingAESKey: testKey,
		CallbackTolerance: 10 * time.Minute, BaseURL: base, Timeout: 10 * time.Second,
	}
}

func openAt(t *testing.T, c config) *connector {
	t.Helper()
	if err := validate(c); err != nil {
		t.Fatalf("validate: %v", err)
	}
	out, err := open(t.Context(), c)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return out
}

func text(text string) *sdk.Message {
	return &sdk.Message{
		ID: "msg_1", IdempotencyKey: "key-1", Recipient: testUser, Attempt: 1, Content: sdk.Content{Plain: text},
	}
}

func templated(id string, parameters map[string]string) *sdk.Message {
	m := text("")
	m.Template = &sdk.Template{ID: id, Parameters: parameters}
	return m
}

// wantOutcome checks what an error tells the gateway.
func wantOutcome(t *testing.T, err error, outcome sdk.Outcome, code string) {
	t.Helper()
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		t.Errorf("error %v has no outcome, want %s %s", err, outcome, code)
		return
	}
	if e.Outcome != outcome || e.Code != code {
		t.Errorf("outcome %s %s (%v), want %s %s", e.Outcome, e.Code, err, outcome, code)
	}
}
