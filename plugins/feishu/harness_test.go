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

// at is when everything in these tests happens, where that matters.
var at = time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)

// Credentials of the tests.
const (
	testAppID   = "cli_test"
	testSecret  = "s3cret-of-the-app"
	testToken   = "verification-token-1"
	testKey     = "encrypt-key-1"
	testHook    = "01234567-89ab-cdef-0123-456789abcdef"
	testSigning = "s3cret-of-the-hook"
)

// settings is a connector's config as the gateway hands it over.
type settings = map[string]any

func with(base, edits settings) settings {
	out := maps.Clone(base)
	maps.Copy(out, edits)
	return out
}

// hookSettings is a connector with the custom bots ops, which signs, and open, which does not.
func hookSettings(url string) settings {
	return settings{"base_url": url, "webhook": settings{"hooks": settings{
		"ops":  settings{"token": testHook, "secret": testSigning},
		"open": settings{"token": "open-hook-000000001"},
	}}}
}

// appSettings is a connector with an app.
func appSettings(url string) settings {
	return settings{"base_url": url, "app": settings{
		"app_id": testAppID, "app_secret": testSecret, "verification_token": testToken, "encrypt_key": testKey,
	}}
}

// connect opens a connector as the gateway does, so that the SDK fills in the defaults.
func connect(t *testing.T, given settings) *connector {
	t.Helper()
	var opened *connector
	p := plugin()
	p.Open = func(ctx context.Context, c config) (sdk.Sender, error) {
		opened = open(ctx, c)
		return opened, nil
	}
	for _, d := range configure(t, p, given) {
		t.Fatal(d)
	}
	return opened
}

// configure returns what the plugin says about a config, as "path: summary; detail".
func configure(t *testing.T, p sdk.Plugin[config], given settings) []string {
	t.Helper()
	server := sdk.NewServer(p)
	server.LogTo(io.Discard)
	t.Cleanup(server.Close)
	text, err := json.Marshal(given)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Configure(t.Context(), &channelv1.ConfigureRequest{Connector: "feishu/main", Revision: 1, Config: text})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, d := range resp.GetDiagnostics() {
		var path strings.Builder
		for _, s := range d.GetPath() {
			if path.Len() > 0 {
				path.WriteByte('.')
			}
			path.WriteString(s.GetName())
		}
		out = append(out, fmt.Sprintf("%s: %s; %s", path.String(), d.GetSummary(), d.GetDetail()))
	}
	return out
}

// message is one of a usual kind.
func message(to string, edits ...func(*sdk.Message)) *sdk.Message {
	m := &sdk.Message{
		ID: "msg_1", AttemptID: "7:1", IdempotencyKey: "msg_1", Connector: "feishu/main", Recipient: to, Attempt: 1,
		Content: sdk.Content{Plain: "say \"hi\"\n短信 & <more>"},
	}
	for _, edit := range edits {
		edit(m)
	}
	return m
}

// attributes sets attributes of a message: name, value, name, value.
func attributes(pairs ...string) func(*sdk.Message) {
	return func(m *sdk.Message) {
		m.Attributes = map[string]string{}
		for pair := range slices.Chunk(pairs, 2) {
			m.Attributes[pair[0]] = pair[1]
		}
	}
}

func saying(text string) func(*sdk.Message) { return func(m *sdk.Message) { m.Plain = text } }
func titled(text string) func(*sdk.Message) { return func(m *sdk.Message) { m.Subject = text } }

// request is one that the provider got.
type seen struct {
	method, uri, body string
	header            http.Header
}

// feishu is a server that keeps what it gets. A path that is not in answers is answered with code 0.
type feishu struct {
	*httptest.Server

	mu      sync.Mutex
	got     []seen
	answers map[string]http.HandlerFunc
	tokens  int
}

func serve(t *testing.T, answers map[string]http.HandlerFunc) *feishu {
	t.Helper()
	f := &feishu{answers: answers}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	return f
}

// says answers each request alike.
func says(status int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for pair := range slices.Chunk(headers, 2) {
			w.Header().Set(pair[0], pair[1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func (f *feishu) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.mu.Lock()
	f.got = append(f.got, seen{r.Method, r.RequestURI, string(body), r.Header})
	then := f.answers[r.URL.Path]
	if strings.HasSuffix(r.URL.Path, "/tenant_access_token/internal") {
		f.tokens++
	}
	given := f.tokens
	f.mu.Unlock()
	switch {
	case then != nil:
		then(w, r)
	case strings.HasSuffix(r.URL.Path, "/tenant_access_token/internal"):
		says(200, fmt.Sprintf(`{"code":0,"msg":"ok","tenant_access_token":"t-token-%d","expire":7200}`, given))(w, r)
	default:
		says(200, `{"code":0,"msg":"success","data":{"message_id":"om_1","image_key":"img_1"}}`)(w, r)
	}
}

// requests are those that the provider got at a path.
func (f *feishu) requests(path string) []seen {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []seen
	for _, r := range f.got {
		if before, _, _ := strings.Cut(r.uri, "?"); before == path {
			out = append(out, r)
		}
	}
	return out
}

const (
	messagesPath = "/open-apis/im/v1/messages"
	imagesPath   = "/open-apis/im/v1/images"
	tokenPath    = "/open-apis/auth/v3/tenant_access_token/internal"
	infoPath     = "/open-apis/bot/v3/info"
	opsPath      = "/open-apis/bot/v2/hook/" + testHook
)

// told is an error in short: outcome, code, provider code, fault, pause.
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
