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
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/sdk"
)

// counterDesk is a desk for one provider: it keeps what arrives, decides as it is told, and hands receipts over when it is
// asked to.
type counterDesk struct {
	mu        sync.Mutex
	ids       int
	decisions []desk.Decision // of the messages to come, in their order; then all are accepted
	taken     []desk.Message
	answers   []desk.Decision
	callbacks map[string]func(desk.Receipt) desk.Callback // by provider id
	sent      []desk.Callback
}

func newDesk() *counterDesk {
	return &counterDesk{callbacks: map[string]func(desk.Receipt) desk.Callback{}}
}

// Take implements desk.Desk.
func (d *counterDesk) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var decision desk.Decision
	switch {
	case m.Refused != "":
		decision = desk.Decision{Answer: desk.Refuse, Code: m.Refused}
	case len(d.decisions) > 0:
		decision, d.decisions = d.decisions[0], d.decisions[1:]
	}
	d.taken, d.answers = append(d.taken, m), append(d.answers, decision)
	if decision.Answer == desk.Accept || decision.Answer == desk.HangUp {
		d.callbacks[m.ProviderID] = callback
	}
	return decision, nil
}

// Send implements desk.Desk.
func (d *counterDesk) Send(c desk.Callback) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sent = append(d.sent, c)
}

// NewID implements desk.Desk.
func (d *counterDesk) NewID() string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ids++
	return fmt.Sprintf("%d", 1000+d.ids)
}

// decide sets the decisions to come.
func (d *counterDesk) decide(decisions ...desk.Decision) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.decisions = decisions
}

// entries are the messages that were taken.
func (d *counterDesk) entries() (taken []desk.Message) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, m := range d.taken {
		if a := d.answers[i].Answer; a == desk.Accept || a == desk.HangUp {
			taken = append(taken, m)
		}
	}
	return taken
}

// receipt makes the callback about a message.
func (d *counterDesk) receipt(t *testing.T, id string, status desk.ReceiptStatus) desk.Callback {
	t.Helper()
	d.mu.Lock()
	callback := d.callbacks[id]
	d.mu.Unlock()
	if callback == nil {
		t.Fatalf("the provider took no message %q", id)
	}
	return callback(desk.Receipt{Status: status, ProviderID: id, At: time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)})
}

// event plays an event and gives the callback that it makes.
func (d *counterDesk) event(t *testing.T, p desk.Provider, event string) desk.Callback {
	t.Helper()
	if err := p.Play(t.Context(), json.RawMessage(event)); err != nil {
		t.Fatalf("play %s: %v", event, err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.sent) == 0 {
		t.Fatalf("%s makes no callback", event)
	}
	last := d.sent[len(d.sent)-1]
	d.sent = d.sent[:len(d.sent)-1]
	return last
}

// serveProvider runs a double of a provider and gives its URL.
func serveProvider(t *testing.T, p desk.Provider) string {
	t.Helper()
	mux := http.NewServeMux()
	p.Register(mux)
	if rooted, ok := p.(desk.Rooted); ok {
		mux.HandleFunc("POST /{$}", func(rw http.ResponseWriter, r *http.Request) {
			if !rooted.Owns(r) {
				http.NotFound(rw, r)
				return
			}
			rooted.ServeHTTP(rw, r)
		})
	}
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

// setProvider changes settings of a double and keeps the others.
func setProvider(t *testing.T, p desk.Provider, edits map[string]any) {
	t.Helper()
	settings := map[string]any{}
	raw, err := json.Marshal(p.Settings())
	if err == nil {
		err = json.Unmarshal(raw, &settings)
	}
	maps.Copy(settings, edits)
	if err == nil {
		raw, err = json.Marshal(settings)
	}
	if err == nil {
		err = p.Set(raw)
	}
	if err != nil {
		t.Fatalf("set the double: %v", err)
	}
}

// callbackRequest is a callback as the gateway hands it over. base is the connector's callback URL.
func callbackRequest(t *testing.T, c desk.Callback, base string) *sdk.CallbackRequest {
	t.Helper()
	if c.Request == nil {
		t.Fatal("the provider makes no callback")
	}
	req, err := c.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	path := req.URL.Path[len(u.Path):]
	if path == "" {
		path = "/"
	}
	return &sdk.CallbackRequest{
		Method: req.Method, Path: path, Query: req.URL.RawQuery, Header: req.Header, Body: body, URL: req.URL.String(),
	}
}

// handle gives a callback to a connector, which must take it, and the answer to the provider, which must be content with it.
func handle(t *testing.T, h sdk.CallbackHandler, c desk.Callback, base string) sdk.Events {
	t.Helper()
	answer, events, err := h.HandleCallback(t.Context(), callbackRequest(t, c, base))
	if err != nil {
		t.Fatalf("HandleCallback: %v", err)
	}
	status := answer.Status
	if status == 0 {
		status = http.StatusOK
	}
	taken := status >= 200 && status < 300
	if c.Taken != nil {
		taken = c.Taken(status, answer.Body)
	}
	if !taken {
		t.Fatalf("the provider is not content with %d %s", answer.Status, answer.Body)
	}
	return events
}

// outcomeOf is an error in short: outcome, code and whose fault.
func outcomeOf(err error) string {
	if err == nil {
		return "accepted"
	}
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return "no outcome: " + err.Error()
	}
	fault := map[sdk.Fault]string{
		sdk.FaultMessage: "message", sdk.FaultProvider: "provider", sdk.FaultConfig: "config", sdk.FaultPlugin: "plugin",
	}[e.Fault]
	return fmt.Sprintf("%s %s %s", e.Outcome, e.Code, fault)
}

// result is what came of one message of a batch.
type result struct {
	receipt sdk.Receipt
	err     error
}

// sendAll sends messages in one batch and gives the result of each.
func sendAll(t *testing.T, c sdk.BatchSender, ms []*sdk.Message) []result {
	t.Helper()
	var mu sync.Mutex
	results := make([]result, len(ms))
	reported := make([]int, len(ms))
	c.SendBatch(t.Context(), ms, func(i int, r sdk.Receipt, err error) {
		mu.Lock()
		defer mu.Unlock()
		results[i] = result{r, err}
		reported[i]++
	})
	for i, n := range reported {
		if n != 1 {
			t.Errorf("message %d has %d results", i, n)
		}
	}
	return results
}

// templated is a message by a template of the provider's.
func templated(to, template string, parameters map[string]string) *sdk.Message {
	m := &sdk.Message{ID: "77", AttemptID: "77.1", Attempt: 1, Recipient: to}
	m.Template = &sdk.Template{ID: template, Parameters: parameters}
	return m
}

// silent is a server that reads requests and does not answer until the test ends.
func silent(t *testing.T) string {
	t.Helper()
	over := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-over
	}))
	t.Cleanup(func() {
		close(over)
		server.Close()
	})
	return server.URL
}

// scripted is a server that answers the same to everything.
func scripted(t *testing.T, status int, body string) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		rw.WriteHeader(status)
		_, _ = io.WriteString(rw, body)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// nobody is the URL of a server that is gone.
func nobody(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.NotFoundHandler())
	server.Close()
	return server.URL
}
