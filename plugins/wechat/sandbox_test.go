package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
	"github.com/pigeonry/pigeonry/sdk"
)

// world is the whole sandbox, a connector of its account as in examples/wechat/sandbox.hcl, and a gateway for its callbacks.
type world struct {
	*sandbox.Sandbox
	connector *connector
	events    chan sdk.Events
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Options{
		SMTP: "127.0.0.1:0", SMPP: "127.0.0.1:0", HTTP: "127.0.0.1:0", ReceiptDelay: -1,
	})
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + s.Addresses().HTTP
	c := settings(base)
	c.AppID, c.AppSecret = "wx5a9db0c5a9db0c00", "sandbox-secret-of-wechat-00000000"
	c.Token, c.EncodingAESKey = "sandboxtoken", "sandboxsandboxsandboxsandboxsandboxsandbox0"
	w := &world{Sandbox: s, connector: openAt(t, c), events: make(chan sdk.Events, 100)}
	gateway := httptest.NewServer(http.HandlerFunc(w.callback))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop the sandbox: %v", err)
		}
		gateway.Close()
	})
	w.tell(t, http.MethodPut, "", map[string]string{"callback_url": gateway.URL + "/callbacks/wechat/main"})
	return w
}

// callback does what the gateway does: the events are there before the answer.
func (w *world) callback(rw http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	answer, events, err := w.connector.HandleCallback(r.Context(), &sdk.CallbackRequest{
		Method: r.Method, Path: "/", Query: r.URL.RawQuery, Header: r.Header, Body: body,
	})
	if err != nil {
		rw.WriteHeader(http.StatusInternalServerError)
		return
	}
	if !events.Empty() {
		w.events <- events
	}
	maps.Copy(rw.Header(), answer.Header)
	rw.WriteHeader(answer.Status)
	_, _ = rw.Write(answer.Body)
}

// tell speaks to the sandbox about its provider wechat.
func (w *world) tell(t *testing.T, method, path string, body any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+w.Addresses().HTTP+"/api/providers/wechat"+path, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s %s", method, path, resp.Status, text)
	}
}

func (w *world) next(t *testing.T) sdk.Events {
	t.Helper()
	select {
	case events := <-w.events:
		return events
	case <-time.After(20 * time.Second):
		t.Fatal("no callback within 20 s")
	}
	return sdk.Events{}
}

func TestWithTheSandbox(t *testing.T) {
	w := newWorld(t)
	w.tell(t, http.MethodPost, "/events", map[string]any{"verify": true})
	if err := w.connector.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	receipt, err := w.connector.Send(t.Context(), templated("T1", map[string]string{"thing1": "黄先生"}))
	if err != nil {
		t.Fatal(err)
	}
	got := w.next(t)
	if len(got.Receipts) != 1 || got.Receipts[0].ProviderID != receipt.ProviderID() || got.Receipts[0].Status != sdk.Delivered {
		t.Errorf("events %+v, want a receipt of %s", got, receipt.ProviderID())
	}
	inbox := w.Messages(sandbox.Filter{Channel: "wechat", To: testUser})
	if len(inbox) != 1 || inbox[0].Text != "thing1: 黄先生" || inbox[0].ProviderID != receipt.ProviderID() {
		t.Errorf("inbox %+v", inbox)
	}
	w.tell(t, http.MethodPost, "/events", map[string]any{"from": "ann", "text": "TD"})
	if got := w.next(t); len(got.Inbound) != 1 || got.Inbound[0].From != "ann" || got.Inbound[0].Text != "TD" {
		t.Errorf("events %+v", got)
	}
}

func TestSandboxFaultsBecomeOutcomes(t *testing.T) {
	w := newWorld(t)
	for name, tc := range map[string]struct {
		fault   sandbox.Fault
		outcome sdk.Outcome
		code    string
	}{
		"temporary":   {sandbox.Fault{ErrorRate: 1}, sdk.OutcomeRetryable, "provider_unavailable"},
		"permanent":   {sandbox.Fault{ErrorRate: 1, ErrorKind: sandbox.ErrorPermanent}, sdk.OutcomeRejected, "invalid_recipient"},
		"by its code": {sandbox.Fault{ErrorRate: 1, ErrorCode: "43116"}, sdk.OutcomeRejected, "template_invalid"},
		"too fast":    {sandbox.Fault{Throttle: -1}, sdk.OutcomeThrottled, "throttled"},
		"unanswered":  {sandbox.Fault{Unanswered: 1}, sdk.OutcomeUncertain, "uncertain"},
	} {
		t.Run(name, func(t *testing.T) {
			tc.fault.Channel = "wechat"
			if err := w.SetFault(tc.fault); err != nil {
				t.Fatal(err)
			}
			defer w.ClearFaults()
			m := templated("T1", nil)
			m.IdempotencyKey = name
			_, err := w.connector.Send(t.Context(), m)
			wantOutcome(t, err, tc.outcome, tc.code)
		})
	}
}

// Receipts that come twice, and before the answer; those of ids that were never given are told apart by their id.
func TestReceiptsOutOfOrder(t *testing.T) {
	w := newWorld(t)
	if err := w.SetFault(sandbox.Fault{Channel: "wechat", ReceiptDoubled: 1, ReceiptEarly: 1, ReceiptForged: 1}); err != nil {
		t.Fatal(err)
	}
	receipt, err := w.connector.Send(t.Context(), templated("T1", nil))
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]int{}
	for range 3 {
		got := w.next(t).Receipts[0]
		if got.ProviderID != receipt.ProviderID() {
			if got.Status != sdk.Undelivered {
				t.Errorf("forged receipt %+v", got)
			}
			continue
		}
		keys[got.DedupeKey]++
	}
	if len(keys) != 1 || keys["template:"+receipt.ProviderID()+":success"] != 2 {
		t.Errorf("receipts %v of %s", keys, receipt.ProviderID())
	}
}

func TestSandboxReceiptsThatFailed(t *testing.T) {
	w := newWorld(t)
	if err := w.SetFault(sandbox.Fault{Channel: "wechat", Undelivered: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := w.connector.Send(t.Context(), templated("T1", nil)); err != nil {
		t.Fatal(err)
	}
	got := w.next(t).Receipts[0]
	if got.Status != sdk.Undelivered {
		t.Errorf("receipt %+v", got)
	}
	wantOutcome(t, got.Err, sdk.OutcomeRejected, "provider_unavailable")
}
