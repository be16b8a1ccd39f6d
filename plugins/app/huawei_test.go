package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	huaweidouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/huawei"
	"github.com/pigeonry/pigeonry/sdk"
)

const huaweiPath = "/v1/" + huaweidouble.ClientID + "/messages:send"

func TestHuaweiMessage(t *testing.T) {
	d := startDoubles(t, false)
	given := d.huaweiConfig()
	given["huawei"].(settings)["receipt_id"] = "R1"
	given["huawei"].(settings)["test_messages"] = true
	c := connect(t, given)
	now := time.Now()
	c.now = func() time.Time { return now }
	m := rich("token-1")
	m.NotAfter = now.Add(time.Minute)
	r, err := c.Send(t.Context(), m)
	if err != nil || r.ProviderID() == "" {
		t.Fatalf("got %+v, %v", r, err)
	}
	_, body := d.lastRequest(t, huaweiPath)
	wantJSON(t, body, `{"validate_only": false, "message": {"token": ["token-1"],
		"data": "{\"link\":\"https://example.com/orders/123\",\"order\":\"123\",\"pigeonry_id\":\"msg_1\"}",
		"android": {"ttl": "60s", "bi_tag": "pigeonry:7:2", "category": "ORDER", "receipt_id": "R1", "collapse_key": `+strconv.Itoa(huaweiGroup("order"))+`, "target_user_type": 1,
			"notification": {"title": "Order", "body": "Your order 123 is on its way 🚚", "image": "https://example.com/a.png", "channel_id": "orders",
				"tag": "order-123", "group": "t1", "sound": "bell", "default_sound": false, "badge": {"set_num": 3}, "importance": "NORMAL",
				"click_action": {"type": 2, "url": "https://example.com/orders/123"}}}}}`)
	if got := d.last(t); got.To != "token-1" || got.Subject != "Order" || got.Text != m.Plain || got.Reference != "msg_1" || got.ProviderID != r.ProviderID() {
		t.Errorf("the double has %+v", got)
	}
}

func TestHuaweiData(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.huaweiConfig())
	m := message("token-1", attributes(map[string]string{"payload": "data", "data.a": "1", "link": "app://orders"}))
	m.Priority = 9
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, body := d.lastRequest(t, huaweiPath)
	wantJSON(t, body, `{"validate_only": false, "message": {"token": ["token-1"], "data": "{\"a\":\"1\",\"link\":\"app://orders\",\"pigeonry_id\":\"msg_1\"}",
		"android": {"ttl": "86400s", "bi_tag": "pigeonry:7:2", "urgency": "HIGH"}}}`)
	for link, want := range map[string]string{
		"": `{"type": 3}`, "app://orders": `{"type": 1, "intent": "app://orders"}`, "https://example.com/": `{"type": 2, "url": "https://example.com/"}`,
	} {
		got, err := json.Marshal(huaweiClick(link))
		if err != nil {
			t.Fatal(err)
		}
		wantJSON(t, got, want)
	}
}

func TestHuaweiCodes(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.huaweiConfig())
	for code, want := range map[string]string{
		"80100001": "rejected content_refused 80100001 message",
		"80100003": "rejected content_refused 80100003 message",
		"80100004": "rejected expired 80100004 message",
		"80100013": "rejected content_refused 80100013 message",
		"80100016": "rejected content_refused 80100016 message",
		"80100017": "throttled throttled 80100017 provider",
		"80100018": "rejected content_refused 80100018 message",
		"80200001": "retryable auth_failed 80200001 config",
		"80200003": "retryable auth_failed 80200003 config",
		"80200005": "retryable auth_failed 80200005 config",
		"80300002": "retryable permission_denied 80300002 config",
		"80300007": "rejected unregistered 80300007 message",
		"80300008": "rejected payload_too_large 80300008 message",
		"80300010": "rejected content_refused 80300010 plugin",
		"80300011": "retryable permission_denied 80300011 config",
		"80300013": "retryable invalid_config 80300013 config",
		"80600003": "retryable auth_failed 80600003 config",
		"81000001": "uncertain provider_error 81000001 provider",
		"503":      "throttled throttled 503 provider",
	} {
		d.decide(desk.Decision{Answer: desk.Refuse, Code: code})
		if _, err := c.Send(t.Context(), message("token-1")); said(err) != want {
			t.Errorf("%s: got %s, want %s", code, said(err), want)
		}
	}
	d.decide(desk.Decision{})
	if _, err := c.Send(t.Context(), message("unregistered-1")); said(err) != "rejected unregistered 80300007 message" {
		t.Errorf("a token that is gone: %s", said(err))
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"one of one is bad":  {200, `{"code":"80100000","msg":"{\"success\":0,\"failure\":1,\"illegal_tokens\":[\"x\"]}"}`, "rejected unregistered 80100000 message"},
		"one of one is good": {200, `{"code":"80100000","msg":"{\"success\":1,\"failure\":0,\"illegal_tokens\":[]}","requestId":"1"}`, "accepted"},
		"a code nobody knows": {
			400, `{"code":"89999999","msg":"new"}`, "rejected http_status 400 message",
		},
		"such a code with 200": {200, `{"code":"89999999","msg":"new"}`, "uncertain provider_error 200 provider"},
		"a page with 200":      {200, "<html>", "uncertain provider_error 200 provider"},
		"a page":               {502, "<html>", "uncertain http_status 502 provider"},
		"nothing with 401":     {401, "", "retryable auth_failed 401 config"},
		"no such path":         {404, "<html>", "rejected http_status 404 message"},
	} {
		resp := &http.Response{StatusCode: tt.status, Status: strconv.Itoa(tt.status), Header: http.Header{}}
		if _, err := readHuawei(resp, []byte(tt.body)); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", name, said(err), tt.want)
		}
	}
}

func TestHuaweiRefusedHere(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, with(d.huaweiConfig(), settings{"title": ""}))
	for want, m := range map[string]*sdk.Message{
		"rejected payload_too_large message": message(strings.Repeat("t", 130), func(m *sdk.Message) { m.Plain = strings.Repeat("x", 4096) }),
		"rejected invalid_content message":   message("token-1", func(m *sdk.Message) { m.Subject = "" }),
	} {
		if _, err := c.Send(t.Context(), m); said(err) != want {
			t.Errorf("got %s, want %s", said(err), want)
		}
	}
	if _, err := c.Send(t.Context(), message(strings.Repeat("t", 130), func(m *sdk.Message) { m.Plain = strings.Repeat("x", 3700) })); err != nil {
		t.Errorf("the token does not count: %v", err)
	}
}

func TestHuaweiToken(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.huaweiConfig())
	if err := c.Check(t.Context()); err != nil {
		t.Fatalf("Check: %v", err)
	}
	for range 3 {
		if _, err := c.Send(t.Context(), message("token-1")); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.seen("/oauth2/v3/token"); n != 1 {
		t.Errorf("%d access tokens for three pushes", n)
	}
	play(t, d.huawei, `{"event": "expire_tokens"}`)
	if _, err := c.Send(t.Context(), message("token-1")); err != nil || d.seen("/oauth2/v3/token") != 2 || len(d.messages()) != 4 {
		t.Errorf("after the token has ended: %v, %d tokens", err, d.seen("/oauth2/v3/token"))
	}
	given := d.huaweiConfig()
	given["huawei"].(settings)["client_secret"] = "wrong-secret"
	if err := connect(t, given).Check(t.Context()); said(err) != "retryable auth_failed 1101 12304 config" || strings.Contains(err.Error(), "wrong-secret") {
		t.Errorf("a wrong secret: %s (%v)", said(err), err)
	}
}

// callbackOf turns a request that the double would make into the one the gateway hands over.
func callbackOf(t *testing.T, c desk.Callback) *sdk.CallbackRequest {
	t.Helper()
	req, err := c.Request(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	body := make([]byte, req.ContentLength)
	if _, err := req.Body.Read(body); err != nil {
		t.Fatal(err)
	}
	return &sdk.CallbackRequest{Method: req.Method, Path: "/", Header: req.Header, Body: body}
}

func TestHuaweiReceipts(t *testing.T) {
	for _, version := range []string{"1", "2"} {
		t.Run("version "+version, func(t *testing.T) {
			d := startDoubles(t, false)
			configure(t, d.huawei, `{"callback_url": "https://gateway.example.com/callbacks/app/main", "receipt_version": `+version+`}`)
			at := time.UnixMilli(1_790_000_000_123)
			d.receipts = []desk.Receipt{{Status: desk.Progress, At: at}, {Status: desk.Delivered, At: at}, {Status: desk.Undelivered, At: at}}
			c := connect(t, d.huaweiConfig())
			r, err := c.Send(t.Context(), message("token-1"))
			if err != nil {
				t.Fatal(err)
			}
			var got []sdk.DeliveryReceipt
			var keys []string
			for _, cb := range d.callbacks {
				answer, events, err := c.HandleCallback(t.Context(), callbackOf(t, cb))
				if err != nil || answer.Status != 200 || !cb.Taken(answer.Status, answer.Body) || len(events.Receipts) != 1 {
					t.Fatalf("answer %d %s, events %+v, %v", answer.Status, answer.Body, events, err)
				}
				again, _, _ := c.HandleCallback(t.Context(), callbackOf(t, cb))
				if again.Status != 200 {
					t.Errorf("repeated: %d", again.Status)
				}
				got, keys = append(got, events.Receipts[0]), append(keys, events.Receipts[0].DedupeKey)
			}
			if len(slices.Compact(keys)) != 3 {
				t.Errorf("the receipts have the keys %q", keys)
			}
			for i, want := range []sdk.ReceiptStatus{sdk.Progress, sdk.Delivered, sdk.Undelivered} {
				g := got[i]
				if g.Status != want || g.ProviderID != r.ProviderID() || g.AttemptID != "7:2" || g.Recipient != "token-1" || !g.At.Equal(at) {
					t.Errorf("receipt %d is %+v", i, g)
				}
			}
			if said(got[2].Err) != "rejected inactive_device 10 message" || got[1].Err != nil {
				t.Errorf("the last one says %v", got[2].Err)
			}
		})
	}
}

func TestHuaweiForgeries(t *testing.T) {
	c := connect(t, (&doubles{server: startDoubles(t, false).server}).huaweiConfig())
	now := time.UnixMilli(1_563_105_451_261)
	c.now = func() time.Time { return now }
	// printf %s 1563105451261a07bfa17-6d82-4b53-a9a2-07cfef5ceef1sandbox | openssl dgst -sha256 -hmac sandbox-callback-key-of-huawei -binary | base64
	const value = "YcdJ6nT1jkZNZP9GL1obGCKVlQNS+Gn/3YWQYd2ZAc0="
	good := "timestamp=1563105451261; nonce=a07bfa17-6d82-4b53-a9a2-07cfef5ceef1; value=" + value
	body := []byte(`{"statuses":[{"biTag":"x","token":"t","requestId":"1","status":0,"timestamp":1489993883189}]}`)
	for name, tt := range map[string]struct {
		header string
		body   string
		after  time.Duration
		status int
	}{
		"genuine":             {good, string(body), 0, 200},
		"without spaces":      {strings.ReplaceAll(good, "; ", ";"), string(body), 0, 200},
		"in time":             {good, string(body), 9 * time.Minute, 200},
		"overheard":           {good, string(body), 11 * time.Minute, 401},
		"of the future":       {good, string(body), -11 * time.Minute, 401},
		"another time":        {strings.Replace(good, "261;", "262;", 1), string(body), 0, 401},
		"another nonce":       {strings.Replace(good, "a07", "b07", 1), string(body), 0, 401},
		"another value":       {strings.Replace(good, "value=", "value=AA", 1), string(body), 0, 401},
		"none":                {"", string(body), 0, 401},
		"no base64":           {"timestamp=1563105451261; nonce=x; value=%", string(body), 0, 401},
		"a body that is none": {good, "[]", 0, 400},
		"no receipts":         {good, "{}", 0, 400},
	} {
		c.now = func() time.Time { return now.Add(tt.after) }
		answer, events, err := c.HandleCallback(t.Context(), &sdk.CallbackRequest{Method: "POST", Header: http.Header{http.CanonicalHeaderKey(callbackHeader): {tt.header}}, Body: []byte(tt.body)})
		if err != nil || answer.Status != tt.status || (len(events.Receipts) == 1) != (tt.status == 200) {
			t.Errorf("%s: %d, %+v, %v", name, answer.Status, events, err)
		}
	}
	c.config.Huawei.CallbackKey = ""
	if answer, _, _ := c.HandleCallback(t.Context(), &sdk.CallbackRequest{Header: http.Header{http.CanonicalHeaderKey(callbackHeader): {good}}, Body: body}); answer.Status != 401 {
		t.Errorf("without a key: %d", answer.Status)
	}
}

// A key that the console made is base64 of the key itself.
func TestHuaweiKeyInBase64(t *testing.T) {
	h := &huawei{config: &huaweiConfig{CallbackUser: "u", CallbackKey: "c2VjcmV0LWtleQ=="}}
	now := time.Now()
	stamp := strconv.FormatInt(now.Unix(), 10)
	for name, key := range map[string]string{"decoded": "secret-key", "as it is": "c2VjcmV0LWtleQ=="} {
		header := "timestamp=" + stamp + ";nonce=n;value=" + base64Standard(huaweiMAC([]byte(key), stamp+"nu"))
		if !h.genuine(header, now) {
			t.Errorf("%s: refused", name)
		}
	}
}

func TestHuaweiResults(t *testing.T) {
	for result, want := range map[int]string{
		0: "1 accepted", 2: "2 rejected unregistered 2 message", 5: "2 rejected unregistered 5 message", 6: "2 rejected recipient_blocked 6 message",
		10: "2 rejected inactive_device 10 message", 14: "2 rejected provider_error 14 message", 15: "2 rejected superseded 15 message",
		22: "2 rejected recipient_mismatch 22 message", 27: "4 accepted", 31: "2 rejected content_refused 31 message", 51: "4 accepted",
		102: "2 rejected throttled 102 message", 144: "2 rejected recipient_mismatch 144 message", 201: "4 accepted",
		256: "2 rejected throttled 256 message", 259: "2 rejected content_refused 259 message", 999: "2 rejected undelivered 999 message",
	} {
		status, err := huaweiResult(result)
		if got := strconv.Itoa(int(status)) + " " + said(err); got != want {
			t.Errorf("%d: got %s, want %s", result, got, want)
		}
	}
}

func TestOthersHaveNoReceipts(t *testing.T) {
	d := startDoubles(t, false)
	answer, events, err := connect(t, d.apnsConfig()).HandleCallback(t.Context(), &sdk.CallbackRequest{})
	if err != nil || answer.Status != 404 || !events.Empty() {
		t.Errorf("got %+v, %+v, %v", answer, events, err)
	}
}

func FuzzHuaweiReceipts(f *testing.F) {
	f.Add([]byte(`{"statuses":[{"biTag":"pigeonry:7:2","token":"t","requestId":"1","status":0,"timestamp":1489993883189}]}`))
	f.Add([]byte(`{"statuses":[{"deliveryStatus":{"result":2,"timestamp":1}},{"formStatus":{}}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		receipts, err := huaweiReceipts(body)
		if err != nil && receipts != nil {
			t.Error("receipts with an error")
		}
		for _, r := range receipts {
			if r.Status == 0 || r.DedupeKey == "" {
				t.Errorf("receipt %+v", r)
			}
		}
	})
}

func base64Standard(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
