package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	double "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/feishu"
	"github.com/pigeonry/pigeonry/sdk"
)

// sandbox is the sandbox's Feishu at a desk of ours, which keeps the messages and the callbacks.
type sandbox struct {
	*httptest.Server

	provider desk.Provider

	mu        sync.Mutex
	decision  desk.Decision // about all messages
	ids       int
	taken     []desk.Message
	callbacks []desk.Callback
}

func startSandbox(t *testing.T) *sandbox {
	t.Helper()
	s := &sandbox{}
	s.provider = double.New(s)
	mux := http.NewServeMux()
	s.provider.Register(mux)
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// set changes settings of the double.
func (s *sandbox) set(t *testing.T, given settings) {
	t.Helper()
	text, err := json.Marshal(given)
	if err == nil {
		err = s.provider.Set(text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// play makes something happen at the double.
func (s *sandbox) play(t *testing.T, event settings) {
	t.Helper()
	text, err := json.Marshal(event)
	if err == nil {
		err = s.provider.Play(t.Context(), text)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// NewID implements desk.Desk.
func (s *sandbox) NewID() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	return "id" + strconv.Itoa(s.ids)
}

// Send implements desk.Desk.
func (s *sandbox) Send(c desk.Callback) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.Request != nil {
		s.callbacks = append(s.callbacks, c)
	}
}

// Take implements desk.Desk.
func (s *sandbox) Take(_ context.Context, _ desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	s.mu.Lock()
	d := s.decision
	if m.Refused != "" {
		d = desk.Decision{Answer: desk.Refuse, Code: m.Refused}
	}
	if d.Answer == desk.Accept || d.Answer == desk.HangUp {
		s.taken = append(s.taken, m)
	}
	s.mu.Unlock()
	if callback != nil && (d.Answer == desk.Accept || d.Answer == desk.HangUp) {
		s.Send(callback(desk.Receipt{Status: desk.Delivered, ProviderID: m.ProviderID}))
	}
	return d, nil
}

func (s *sandbox) decide(d desk.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.decision = d
}

func (s *sandbox) messages() []desk.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.taken
}

// bring hands every callback to a connector, as the gateway does, and returns the events. Each must be taken.
func (s *sandbox) bring(t *testing.T, c *connector) sdk.Events {
	t.Helper()
	s.mu.Lock()
	pending := s.callbacks
	s.callbacks = nil
	s.mu.Unlock()
	var all sdk.Events
	for _, callback := range pending {
		r, err := callback.Request(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		answer, events, err := c.HandleCallback(t.Context(), &sdk.CallbackRequest{Method: r.Method, Header: r.Header, Body: body, URL: r.URL.String()})
		if err != nil {
			t.Fatal(err)
		}
		status := answer.Status
		if status == 0 {
			status = http.StatusOK
		}
		if !callback.Taken(status, answer.Body) {
			t.Errorf("the callback was not taken: %d %s", status, answer.Body)
		}
		all.Receipts = append(all.Receipts, events.Receipts...)
		all.Inbound = append(all.Inbound, events.Inbound...)
	}
	return all
}

// doubleApp is a connector with the double's app, without rates.
func doubleApp(t *testing.T, s *sandbox) *connector {
	t.Helper()
	return connect(t, settings{"base_url": s.URL, "app": settings{
		"app_id": "cli_sandbox", "app_secret": "sandbox-secret", "verification_token": "sandbox-token", "encrypt_key": "sandbox-encrypt-key",
	}})
}

// The way of a message through the sandbox: sent, read, and answered.
func TestSandboxApp(t *testing.T) {
	s := startSandbox(t)
	s.set(t, settings{"callback_url": "http://127.0.0.1:1/callbacks/feishu/app"})
	c := doubleApp(t, s)
	if err := c.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	receipt, err := c.Send(t.Context(), message("ou_ann", titled("T"), saying("one\ntwo")))
	if err != nil {
		t.Fatal(err)
	}
	got := s.messages()
	if len(got) != 1 || got[0].To != "ou_ann" || got[0].Subject != "T" || got[0].Text != "one\ntwo" || got[0].ProviderID != receipt.ProviderID() || got[0].Reference != "msg_1" {
		t.Errorf("%+v", got)
	}
	// A repeat with the same key is answered alike and not taken twice.
	if again, err := c.Send(t.Context(), message("ou_ann", titled("T"), saying("one\ntwo"))); err != nil || again.ProviderID() != receipt.ProviderID() {
		t.Errorf("%v, %v", again, err)
	}
	if n := len(s.messages()); n != 1 {
		t.Errorf("taken %d times", n)
	}
	s.play(t, settings{"type": "message", "from": "ou_ann", "text": "thanks"})
	s.play(t, settings{"type": "bot_added", "chat_id": "oc_1"})
	s.play(t, settings{"type": "challenge"})
	events := s.bring(t, c)
	if len(events.Receipts) != 1 || events.Receipts[0].ProviderID != receipt.ProviderID() || events.Receipts[0].Status != sdk.Read || events.Receipts[0].Recipient != "ou_ann" {
		t.Errorf("%+v", events.Receipts)
	}
	if len(events.Inbound) != 1 || events.Inbound[0].From != "ou_ann" || events.Inbound[0].Text != "thanks" || events.Inbound[0].To != "cli_sandbox" {
		t.Errorf("%+v", events.Inbound)
	}
	results, err := c.Query(t.Context(), []sdk.Attempt{{AttemptID: "7:1", ProviderIDs: receipt.ProviderIDs}, {AttemptID: "8:1", ProviderIDs: []string{"om_none"}}})
	if err != nil || len(results) != 1 || results[0].Err != nil {
		t.Errorf("%+v, %v", results, err)
	}
	if _, err := c.Send(t.Context(), message("oc_group", saying(""), pictures("a.png"), func(m *sdk.Message) { m.IdempotencyKey = "msg_2" })); err != nil {
		t.Error(err)
	}
}

// What the sandbox's faults ask for, and what it refuses by itself.
func TestSandboxRefuses(t *testing.T) {
	s := startSandbox(t)
	s.set(t, settings{"refuse": settings{"ou_gone": 230029}, "token_seconds": 7200})
	c := doubleApp(t, s)
	send := func(to string) string {
		_, err := c.Send(t.Context(), message(to, func(m *sdk.Message) { m.IdempotencyKey = "" }))
		return told(err)
	}
	if got := send("ou_gone"); got != "rejected unregistered 230029 message" {
		t.Errorf("a recipient who is refused: %s", got)
	}
	if got := send("open_id:oc_1"); got != "rejected invalid_recipient 230001 message" {
		t.Errorf("an id of another type: %s", got)
	}
	for want, d := range map[string]desk.Decision{
		"rejected permission_denied 230013 message":     {Answer: desk.Refuse},
		"rejected unsubscribed 230053 message":          {Answer: desk.Refuse, Code: "230053"},
		"retryable unavailable 503 provider":            {Answer: desk.Fail},
		"uncertain provider_unavailable 10500 provider": {Answer: desk.Fail, Code: "10500"},
		"uncertain uncertain  provider":                 {Answer: desk.HangUp},
		"throttled throttled 230020 provider 1s":        {Answer: desk.Throttle, Code: "230020"},
	} {
		s.decide(d)
		if got := send("on_" + d.Code + strconv.Itoa(int(d.Answer))); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	s.decide(desk.Decision{})
	s.set(t, settings{"revoke_tokens": true})
	if got := send("ou_1"); got != "accepted" {
		t.Errorf("after the tokens were revoked: %s", got)
	}
	s.set(t, settings{"app_secret": "another", "revoke_tokens": true})
	if got := send("ou_2"); got != "rejected auth_failed 10014 config" {
		t.Errorf("with a wrong secret: %s", got)
	}
	s.set(t, settings{})
	s.decide(desk.Decision{Answer: desk.Throttle})
	if got := send("ou_3"); got != "throttled throttled 99991400 provider 1s" {
		t.Errorf("throttled: %s", got)
	}
}

func TestSandboxHooks(t *testing.T) {
	s := startSandbox(t)
	c := connect(t, settings{"base_url": s.URL, "webhook": settings{"hooks": settings{
		"signed": settings{"token": "sandbox-hook-signed", "secret": "sandbox-secret"},
		"wrong":  settings{"token": "sandbox-hook-signed", "secret": "another-secret"},
		"gone":   settings{"token": "sandbox-hook-gone"},
	}}})
	for recipient, want := range map[string]string{
		"signed": "accepted", "sandbox-hook-open": "accepted", "gone": "rejected auth_failed 19001 config",
		"wrong": "rejected sign_invalid 19021 config", "sandbox-hook-signed": "rejected sign_invalid 19021 config",
	} {
		if _, err := c.Send(t.Context(), message(recipient)); told(err) != want {
			t.Errorf("%s: got %s, want %s", recipient, told(err), want)
		}
	}
	for _, edits := range [][]func(*sdk.Message){
		{titled("T"), saying("one")},
		{saying("**one**"), attributes("msg_type", "interactive")},
		{attributes("image_key", "img_1")},
	} {
		if _, err := c.Send(t.Context(), message("sandbox-hook-open", edits...)); err != nil {
			t.Error(err)
		}
	}
	if n := len(s.messages()); n != 5 {
		t.Errorf("%d messages were taken", n)
	}
	if err := connect(t, settings{"base_url": s.URL, "webhook": settings{"hooks": settings{
		"signed": settings{"token": "sandbox-hook-signed", "secret": "sandbox-secret"}, "open": settings{"token": "sandbox-hook-open"},
	}}}).Check(t.Context()); err != nil {
		t.Error(err)
	}
	if err := c.Check(t.Context()); told(err) != "rejected auth_failed 19001 config" {
		t.Errorf("check: %v", err)
	}
	if n := len(s.messages()); n != 5 {
		t.Errorf("a check sends: %d messages", n)
	}
}
