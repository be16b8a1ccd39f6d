package main

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/sdk"
)

const fcmPath = "/v1/projects/sandbox/messages:send"

// wantJSON compares what was sent with what should have been.
func wantJSON(t *testing.T, got []byte, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal(got, &g); err != nil {
		t.Fatalf("%s: %v", got, err)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatalf("%s: %v", want, err)
	}
	if !reflect.DeepEqual(g, w) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// rich has all that a push may have.
func rich(to string) *sdk.Message {
	return message(to, attributes(map[string]string{
		"data.order": "123", "collapse_key": "order", "image": "https://example.com/a.png", "link": "https://example.com/orders/123",
		"sound": "bell", "badge": "3", "subtitle": "Shop", "category": "ORDER", "channel_id": "orders", "thread_id": "t1", "tag": "order-123",
	}))
}

func TestFCMMessage(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.fcmConfig())
	now := time.Now().Truncate(time.Second)
	c.now = func() time.Time { return now }
	m := rich("token-1")
	m.NotAfter = now.Add(90*time.Second + 500*time.Millisecond)
	r, err := c.Send(t.Context(), m)
	if err != nil || r.ProviderID() != "projects/sandbox/messages/0:1" {
		t.Fatalf("got %+v, %v", r, err)
	}
	_, body := d.lastRequest(t, fcmPath)
	wantJSON(t, body, strings.ReplaceAll(`{"validate_only": false, "message": {
		"token": "token-1",
		"notification": {"title": "Order", "body": "Your order 123 is on its way 🚚", "image": "https://example.com/a.png"},
		"data": {"order": "123", "link": "https://example.com/orders/123", "pigeonry_id": "msg_1"},
		"android": {"priority": "HIGH", "ttl": "90s", "collapse_key": "order",
			"notification": {"channel_id": "orders", "sound": "bell", "tag": "order-123", "notification_count": 3}},
		"apns": {"headers": {"apns-priority": "10", "apns-expiration": "EXPIRES", "apns-collapse-id": "order"},
			"payload": {"aps": {"sound": "bell", "badge": 3, "category": "ORDER", "thread-id": "t1", "mutable-content": 1}}},
		"webpush": {"headers": {"TTL": "90", "Urgency": "high"}, "fcm_options": {"link": "https://example.com/orders/123"}}}}`,
		"EXPIRES", stamp(m.NotAfter)))
	if got := d.last(t); got.To != "token-1" || got.Subject != "Order" || got.Text != m.Plain || got.Reference != "msg_1" {
		t.Errorf("the double has %+v", got)
	}
}

func TestFCMData(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, with(d.fcmConfig(), settings{"id_key": "", "ttl": "0s"}))
	m := message("token-1", attributes(map[string]string{
		"payload": "data", "data.a": "1", "extra": `{"android": {"ttl": null, "direct_boot_ok": true}, "fcm_options": {"analytics_label": "x"}}`,
	}))
	m.Priority = 1
	now := time.Now()
	c.now = func() time.Time { return now }
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	_, body := d.lastRequest(t, fcmPath)
	wantJSON(t, body, strings.ReplaceAll(`{"validate_only": false, "message": {
		"token": "token-1", "data": {"a": "1"}, "android": {"priority": "NORMAL", "direct_boot_ok": true}, "fcm_options": {"analytics_label": "x"},
		"apns": {"headers": {"apns-priority": "5", "apns-expiration": "EXPIRES", "apns-push-type": "background"}, "payload": {"aps": {"content-available": 1}}},
		"webpush": {"headers": {"TTL": "0", "Urgency": "normal"}}}}`, "EXPIRES", stamp(now)))
}

func TestFCMCodes(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.fcmConfig())
	for _, tt := range []struct{ code, want string }{
		{"INVALID_ARGUMENT", "rejected content_refused INVALID_ARGUMENT message"},
		{"UNREGISTERED", "rejected unregistered UNREGISTERED message"},
		{"SENDER_ID_MISMATCH", "rejected recipient_mismatch SENDER_ID_MISMATCH message"},
		{"QUOTA_EXCEEDED", "throttled quota_exceeded QUOTA_EXCEEDED provider"},
		{"UNAVAILABLE", "retryable provider_unavailable UNAVAILABLE provider"},
		{"INTERNAL", "uncertain provider_error INTERNAL provider"},
		{"THIRD_PARTY_AUTH_ERROR", "retryable auth_failed THIRD_PARTY_AUTH_ERROR config"},
		{"PERMISSION_DENIED", "retryable permission_denied PERMISSION_DENIED config"},
		{"UNAUTHENTICATED", "retryable auth_failed UNAUTHENTICATED config"},
	} {
		d.decide(desk.Decision{Answer: desk.Refuse, Code: tt.code})
		if _, err := c.Send(t.Context(), message("token-1")); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", tt.code, said(err), tt.want)
		}
	}
	d.decide(desk.Decision{})
	for token, want := range map[string]string{
		"unregistered-1": "rejected unregistered UNREGISTERED message",
		"foreign-1":      "rejected recipient_mismatch SENDER_ID_MISMATCH message",
		"invalid-1":      "rejected invalid_recipient INVALID_ARGUMENT message",
	} {
		if _, err := c.Send(t.Context(), message(token)); said(err) != want {
			t.Errorf("%s: got %s, want %s", token, said(err), want)
		}
	}
}

// What the API documents, and the double does not say by itself.
func TestFCMAnswers(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		header http.Header
		body   string
		want   string
		pause  time.Duration
	}{
		"no such project": {404, nil, `{"error":{"code":404,"status":"NOT_FOUND","message":"no"}}`, "retryable invalid_config NOT_FOUND config", 0},
		"disabled":        {400, nil, `{"error":{"code":400,"status":"FAILED_PRECONDITION","message":"no"}}`, "retryable invalid_config FAILED_PRECONDITION config", 0},
		"quota of the project": {
			429, nil, `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"slow"}}`, "throttled quota_exceeded RESOURCE_EXHAUSTED provider", time.Minute,
		},
		"quota with a pause": {
			429, http.Header{"Retry-After": {"7"}}, `{"error":{"status":"RESOURCE_EXHAUSTED"}}`, "throttled quota_exceeded RESOURCE_EXHAUSTED provider", 7 * time.Second,
		},
		"too big":                {400, nil, `{"error":{"status":"INVALID_ARGUMENT","message":"Android message is too big"}}`, "rejected payload_too_large INVALID_ARGUMENT message", 0},
		"a token by its words":   {400, nil, `{"error":{"status":"INVALID_ARGUMENT","message":"The registration token is not a valid FCM registration token"}}`, "rejected invalid_recipient INVALID_ARGUMENT message", 0},
		"a code nobody knows":    {400, nil, `{"error":{"status":"NEW_CODE"}}`, "rejected http_status 400 message", 0},
		"a page":                 {502, nil, "<html>", "uncertain http_status 502 provider", 0},
		"accepted without words": {200, nil, "", "uncertain provider_error 200 provider", 0},
		"accepted without name":  {200, nil, "{}", "uncertain provider_error 200 provider", 0},
	} {
		t.Run(name, func(t *testing.T) {
			header := tt.header
			if header == nil {
				header = http.Header{}
			}
			_, err := readFCM(&http.Response{StatusCode: tt.status, Status: http.StatusText(tt.status), Header: header}, []byte(tt.body))
			if said(err) != tt.want || pauseOf(err) != tt.pause {
				t.Errorf("got %s after %s, want %s after %s", said(err), pauseOf(err), tt.want, tt.pause)
			}
		})
	}
}

// The assertion is made anew only when the access token ends: the second refusal is believed.
func TestFCMToken(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.fcmConfig())
	send := func() string {
		_, err := c.Send(t.Context(), message("token-1"))
		return said(err)
	}
	for range 3 {
		if got := send(); got != "accepted" {
			t.Fatal(got)
		}
	}
	if n := d.seen("/token"); n != 1 {
		t.Errorf("%d access tokens for three pushes", n)
	}
	play(t, d.fcm, `{"event": "expire_tokens"}`)
	if got := send(); got != "accepted" || d.seen("/token") != 2 || len(d.messages()) != 4 {
		t.Errorf("after the token has ended: %s, %d tokens, %d messages", got, d.seen("/token"), len(d.messages()))
	}
	d.instead(func(rw http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path != fcmPath {
			return false
		}
		rw.WriteHeader(401)
		_, _ = rw.Write([]byte(`{"error":{"status":"UNAUTHENTICATED","message":"no"}}`))
		return true
	})
	before := d.seen(fcmPath)
	if got := send(); got != "retryable auth_failed UNAUTHENTICATED config" || d.seen(fcmPath)-before != 2 {
		t.Errorf("a token that is never taken: %s after %d requests", got, d.seen(fcmPath)-before)
	}
	// It is not the token that is wrong: the next push fetches none.
	before, fetched := d.seen(fcmPath), d.seen("/token")
	if got := send(); got != "retryable auth_failed UNAUTHENTICATED config" || d.seen(fcmPath)-before != 1 || d.seen("/token") != fetched {
		t.Errorf("the next push: %s after %d requests, %d tokens", got, d.seen(fcmPath)-before, d.seen("/token")-fetched)
	}
	c.provider.(*fcm).login.until = time.Now() // a minute later
	d.instead(nil)
	play(t, d.fcm, `{"event": "expire_tokens"}`)
	if got := send(); got != "accepted" {
		t.Errorf("after the pause: %s", got)
	}
}

func TestFCMTokenServer(t *testing.T) {
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"refused":   {400, `{"error":"invalid_grant","error_description":"Invalid JWT Signature."}`, "retryable auth_failed invalid_grant config"},
		"busy":      {503, "", "retryable unavailable 503 provider"},
		"too many":  {429, "", "throttled throttled 429 provider"},
		"broken":    {500, "", "retryable provider_unavailable 500 provider"},
		"forbidden": {403, "<html>", "retryable auth_failed 403 config"},
		"nonsense":  {200, "<html>", "retryable provider_unavailable 200 provider"},
		"empty":     {200, "{}", "retryable provider_unavailable 200 OK provider"},
		"ended":     {200, `{"access_token":"x","expires_in":0}`, "retryable unavailable provider"},
	} {
		t.Run(name, func(t *testing.T) {
			d := startDoubles(t, false)
			d.instead(func(rw http.ResponseWriter, _ *http.Request) bool {
				rw.WriteHeader(tt.status)
				_, _ = rw.Write([]byte(tt.body))
				return true
			})
			c := connect(t, d.fcmConfig())
			if _, err := c.Send(t.Context(), message("token-1")); said(err) != tt.want {
				t.Errorf("got %s, want %s (%v)", said(err), tt.want, err)
			}
			if d.seen(fcmPath) != 0 {
				t.Error("a push was sent without a token")
			}
		})
	}
	// The double knows the account by its key alone.
	d := startDoubles(t, false)
	configure(t, d.fcm, `{"client_email": "other@sandbox.iam.gserviceaccount.com"}`)
	c := connect(t, d.fcmConfig())
	if err := c.Check(t.Context()); said(err) != "retryable auth_failed invalid_grant config" {
		t.Errorf("an account that is not known: %s", said(err))
	}
}

func TestFCMCheck(t *testing.T) {
	d := startDoubles(t, false)
	if err := connect(t, d.fcmConfig()).Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	if n := len(d.messages()); n != 0 {
		t.Errorf("Check sent %d messages", n)
	}
	given := d.fcmConfig()
	given["fcm"].(settings)["project_id"] = "other"
	if err := connect(t, given).Check(t.Context()); said(err) != "retryable permission_denied PERMISSION_DENIED config" {
		t.Errorf("Check of another's project: %s", said(err))
	}
	d.instead(func(rw http.ResponseWriter, r *http.Request) bool { // as FCM itself answers
		if r.URL.Path != fcmPath {
			return false
		}
		rw.WriteHeader(400)
		_, _ = rw.Write([]byte(`{"error":{"status":"INVALID_ARGUMENT","message":"The registration token is not a valid FCM registration token"}}`))
		return true
	})
	if err := connect(t, d.fcmConfig()).Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestFCMRefusedHere(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.fcmConfig())
	for name, m := range map[string]*sdk.Message{
		"rejected payload_too_large message": message("token-1", func(m *sdk.Message) { m.Plain = strings.Repeat("x", 4090) }),
		"rejected invalid_content message":   message("token-1", attributes(map[string]string{"data.from": "x"})),
	} {
		if _, err := c.Send(t.Context(), m); said(err) != name {
			t.Errorf("got %s, want %s", said(err), name)
		}
	}
	if n := len(d.messages()); n != 0 {
		t.Errorf("%d messages were sent", n)
	}
	given := d.fcmConfig()
	given["fcm"].(settings)["validate_only"] = true
	if _, err := connect(t, given).Send(t.Context(), message("token-1")); err != nil || len(d.messages()) != 0 {
		t.Errorf("validate_only: %v, %d messages", err, len(d.messages()))
	}
}
