package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
	"github.com/pigeonry/pigeonry/plugins/sms/aliyun"
	"github.com/pigeonry/pigeonry/plugins/sms/tencent"
	"github.com/pigeonry/pigeonry/plugins/sms/twilio"
	"github.com/pigeonry/pigeonry/sdk"
)

// callbackServer takes callbacks as the gateway does, and hands the events of each on.
func callbackServer(t *testing.T) (address string, connect func(sdk.CallbackHandler), events <-chan sdk.Events) {
	t.Helper()
	connected, out := make(chan sdk.CallbackHandler, 1), make(chan sdk.Events, 16)
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handler := <-connected
		connected <- handler
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		answer, events, err := handler.HandleCallback(r.Context(), &sdk.CallbackRequest{
			Method: r.Method, Path: "/", Query: r.URL.RawQuery, Header: r.Header, Body: body, URL: "http://" + r.Host + r.URL.RequestURI(),
		})
		if err != nil || answer.Status >= 300 {
			t.Errorf("callback %s: %+v, %v", body, answer, err)
		}
		maps.Copy(rw.Header(), answer.Header)
		if answer.Status != 0 {
			rw.WriteHeader(answer.Status)
		}
		_, _ = rw.Write(answer.Body)
		out <- events
	}))
	t.Cleanup(server.Close)
	return server.URL, func(h sdk.CallbackHandler) { connected <- h }, out
}

// call makes a request to the sandbox's own API.
func call(t *testing.T, method, address string, body any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, address, bytes.NewReader(raw))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := io.ReadAll(resp.Body)
		t.Fatalf("%s %s: %s %s", method, address, resp.Status, answer)
	}
}

// The sandbox as it runs: a message, its receipt and a user's answer through each provider.
func TestSandboxPlaysProviders(t *testing.T) {
	for name, tc := range map[string]struct {
		open     func(base, callback string) any
		settings func(callback string) map[string]any
		event    map[string]string
		to       string
	}{
		"aliyun": {
			open: func(base, _ string) any { return aliyun.Open(aliyunConfig(base)) },
			settings: func(callback string) map[string]any {
				address := callback + "/?token=" + callbackToken
				return map[string]any{"report_url": address, "up_url": address}
			},
			event: map[string]string{"type": "up", "from": "+8613800138000", "text": "T"}, to: "+8613800138000",
		},
		"tencent": {
			open: func(base, _ string) any { return tencent.Open(tencentConfig(base)) },
			settings: func(callback string) map[string]any {
				address := callback + "/?token=" + callbackToken
				return map[string]any{"report_url": address, "reply_url": address}
			},
			event: map[string]string{"type": "reply", "from": "+8613800138000", "text": "T"}, to: "+8613800138000",
		},
		"twilio": {
			open: func(base, callback string) any {
				c := twilioConfig(base)
				c.CallbackURL = callback
				return twilio.Open(c)
			},
			settings: func(callback string) map[string]any { return map[string]any{"incoming_url": callback + "/"} },
			event:    map[string]string{"type": "message", "from": "+4917612345678", "to": "+15005550006", "text": "T"}, to: "+4917612345678",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSandbox(t)
			base := "http://" + s.Addresses().HTTP
			callback, connect, events := callbackServer(t)
			call(t, http.MethodPut, base+"/api/providers/"+name, tc.settings(callback))
			channel := tc.open(base, callback)
			connect(channel.(sdk.CallbackHandler))
			m := message("Hello 你好")
			m.AttemptID, m.Recipient = "77.1", tc.to
			r, err := channel.(sdk.Sender).Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			inbox := s.Messages(sandbox.Filter{Channel: sandbox.ChannelSMS, To: tc.to})
			if len(inbox) != 1 || inbox[0].Text != "Hello 你好" || inbox[0].ProviderID != r.ProviderID() || inbox[0].Reference != "77" {
				t.Errorf("inbox %+v", inbox)
			}
			got := nextEvents(t, events).Receipts
			if len(got) != 1 || got[0].ProviderID != r.ProviderID() || got[0].Status != sdk.Delivered || time.Since(got[0].At) > time.Hour && !got[0].At.IsZero() {
				t.Errorf("receipts %+v", got)
			}
			call(t, http.MethodPost, base+"/api/providers/"+name+"/events", tc.event)
			if in := nextEvents(t, events).Inbound; len(in) != 1 || in[0].Text != "T" || in[0].From != tc.event["from"] {
				t.Errorf("inbound %+v", in)
			}
			if err := channel.(sdk.Checker).Check(t.Context()); err != nil {
				t.Errorf("Check: %v", err)
			}
		})
	}
}
