package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// at is when everything in these tests happens.
var at = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

// settings is a connector's config as the gateway hands it over.
type settings = map[string]any

// with is a config with some fields changed.
func with(base settings, edits settings) settings {
	out := maps.Clone(base)
	maps.Copy(out, edits)
	return out
}

// connect opens a connector as the gateway does, so that the SDK fills in the defaults.
func connect(t *testing.T, given settings) *connector {
	t.Helper()
	var opened *connector
	p := plugin()
	p.Open = func(_ context.Context, c config) (sdk.Sender, error) {
		var err error
		opened, err = open(c)
		return opened, err
	}
	server := sdk.NewServer(p)
	server.LogTo(io.Discard)
	t.Cleanup(server.Close)
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Configure(t.Context(), &channelv1.ConfigureRequest{Connector: "http/main", Revision: 1, Config: text})
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range resp.GetDiagnostics() {
		t.Fatalf("%s: %s: %s", pathOf(d), d.GetSummary(), d.GetDetail())
	}
	opened.now = func() time.Time { return at }
	return opened
}

// diagnose returns what the plugin says about a config, as "path: summary; detail".
func diagnose(t *testing.T, given settings) []string {
	t.Helper()
	server := sdk.NewServer(plugin())
	server.LogTo(io.Discard)
	defer server.Close()
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.ValidateConfig(t.Context(), &channelv1.ValidateConfigRequest{Config: text, Channel: "http"})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range resp.GetDiagnostics() {
		out = append(out, fmt.Sprintf("%s: %s; %s", pathOf(d), d.GetSummary(), d.GetDetail()))
	}
	return out
}

func pathOf(d *channelv1.Diagnostic) string {
	var b strings.Builder
	for _, s := range d.GetPath() {
		switch s := s.GetStep().(type) {
		case *channelv1.PathStep_Name:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Name)
		case *channelv1.PathStep_Index:
			fmt.Fprintf(&b, "[%d]", s.Index)
		}
	}
	return b.String()
}

// message is one of a usual kind.
func message(edits ...func(*sdk.Message)) *sdk.Message {
	m := &sdk.Message{
		ID: "msg_1", AttemptID: "7:2", IdempotencyKey: "key-1", Connector: "http/main", Recipient: "+8613800138000",
		Attempt: 2, Priority: 5, Content: sdk.Content{Plain: "say \"hi\"\n短信 & more", Subject: "Hello"},
	}
	for _, edit := range edits {
		edit(m)
	}
	return m
}

// request is one that the provider got.
type request struct {
	method, uri, body string
	header            http.Header
}

// provider is a server that keeps what it gets and answers as it is told.
type provider struct {
	*httptest.Server

	mu   sync.Mutex
	got  []request
	then http.HandlerFunc
}

// provide starts a provider. Nil answers 200 without a body.
func provide(t *testing.T, then http.HandlerFunc) *provider {
	t.Helper()
	p := &provider{then: then}
	p.Server = httptest.NewServer(http.HandlerFunc(p.serve))
	t.Cleanup(p.Close)
	return p
}

// says answers each request alike.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (p *provider) serve(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.got = append(p.got, request{r.Method, r.RequestURI, string(body), r.Header})
	p.mu.Unlock()
	if p.then != nil {
		p.then(w, r)
	}
}

func (p *provider) all() []request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// last is the latest request.
func (p *provider) last(t *testing.T) request {
	t.Helper()
	all := p.all()
	if len(all) == 0 {
		t.Fatal("the provider got no request")
	}
	return all[len(all)-1]
}

// told is an error in short: outcome, code, provider code, fault.
func told(err error) string {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return sdk.OutcomeOf(err).String()
	}
	fault := map[sdk.Fault]string{
		sdk.FaultMessage: "message", sdk.FaultProvider: "provider", sdk.FaultConfig: "config", sdk.FaultPlugin: "plugin",
	}[e.Fault]
	out := strings.Join([]string{e.Outcome.String(), e.Code, e.ProviderCode, fault}, " ")
	if e.RetryAfter > 0 {
		out += " " + e.RetryAfter.String()
	}
	return out
}
