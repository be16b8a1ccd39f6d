package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	webpushdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/webpush"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/plugins/app/encrypt"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestWebPush(t *testing.T) {
	for name, secure := range map[string]bool{"in clear": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			d := startDoubles(t, secure)
			c := connect(t, with(d.webpushConfig(), settings{"tls_ca": d.authority}))
			m := rich(d.subscription("ann"))
			m.NotAfter = time.Now().Add(time.Hour + 500*time.Millisecond)
			r, err := c.Send(t.Context(), m)
			if err != nil || r.ProviderID() != d.server.URL+"/webpush/message/1" {
				t.Fatalf("got %+v, %v", r, err)
			}
			req, body := d.lastRequest(t, "/webpush/push/ann")
			for header, want := range map[string]string{
				"Ttl": "3600", "Urgency": "high", "Topic": "order", "Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream",
			} {
				if got := req.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			if strings.Contains(string(body), "order") {
				t.Error("the body is readable")
			}
			if got := d.last(t); got.To != "ann" || got.Subject != "Order" || got.Text != m.Plain || got.Reference != "msg_1" {
				t.Errorf("the browser sees %+v", got)
			}
		})
	}
}

// What a browser gets, with the structure of a declarative push message.
func TestWebMessage(t *testing.T) {
	p, err := newPush(&config{IDKey: "id"}, rich("x"), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, mustEncode(t, webMessage(p)), `{"web_push": 8030, "notification": {
		"title": "Order", "body": "Your order 123 is on its way 🚚", "image": "https://example.com/a.png", "tag": "order-123", "app_badge": "3",
		"navigate": "https://example.com/orders/123", "data": {"order": "123", "link": "https://example.com/orders/123", "id": "msg_1"}}}`)
	p, err = newPush(&config{}, message("x", attributes(map[string]string{"payload": "data", "data.a": "1"})), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	wantJSON(t, mustEncode(t, webMessage(p)), `{"data": {"a": "1"}}`)
}

func TestWebPushAnswers(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.webpushConfig())
	for errno, want := range map[string]string{
		"101": "rejected content_refused 400 101 message",
		"102": "rejected unregistered 404 102 message",
		"103": "rejected unregistered 410 103 message",
		"104": "rejected payload_too_large 413 104 message",
		"105": "rejected unregistered 410 105 message",
		"106": "rejected unregistered 410 106 message",
		"109": "retryable auth_failed 401 109 config",
		"110": "rejected content_refused 400 110 message",
		"111": "rejected content_refused 400 111 message",
		"112": "rejected content_refused 400 112 message",
		"113": "rejected content_refused 400 113 message",
		"201": "retryable provider_unavailable 503 201 provider",
		"202": "throttled throttled 429 202 provider",
		"403": "rejected recipient_mismatch 403 109 message",
		"999": "uncertain provider_error 500 999 provider",
	} {
		d.decide(desk.Decision{Answer: desk.Refuse, Code: errno})
		if _, err := c.Send(t.Context(), message(d.subscription("ann"))); said(err) != want {
			t.Errorf("%s: got %s, want %s", errno, said(err), want)
		}
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"Apple's login":   {403, `{"reason":"BadJwtToken"}`, "retryable auth_failed 403 BadJwtToken config"},
		"Apple's key":     {400, `{"reason":"VapidPkHashMismatch"}`, "rejected recipient_mismatch 400 VapidPkHashMismatch message"},
		"Apple's other":   {400, `{"reason":"BadWebPushRequest"}`, "rejected content_refused 400 BadWebPushRequest message"},
		"Mozilla's login": {401, `{"code":401,"errno":109,"error":"Unauthorized","message":"Invalid VAPID token"}`, "retryable auth_failed 401 109 config"},
		"Mozilla's key":   {401, `{"code":401,"errno":109,"error":"Unauthorized","message":"VAPID public key mismatch"}`, "rejected recipient_mismatch 401 109 message"},
		"Google's login":  {403, "invalid JWT provided\n", "retryable auth_failed 403 config"},
		"Google's key":    {403, "the VAPID credentials in the authorization header do not correspond to the credentials used to create the subscriptions.\n", "rejected recipient_mismatch 403 message"},
		"no words":        {410, "", "rejected unregistered 410 message"},
		"a gateway":       {502, "<html>", "uncertain http_status 502 provider"},
		"another refusal": {418, "", "rejected http_status 418 message"},
		"moved":           {301, "", "rejected http_status 301 config"},
		"accepted":        {202, "", "accepted"},
	} {
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{}}
		if _, err := readWebPush(resp, []byte(tt.body)); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", name, said(err), tt.want)
		}
	}
}

func TestWebPushRefusals(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.webpushConfig())
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	good := d.subscription("ann")
	for name, tt := range map[string]struct {
		to   string
		edit func(*sdk.Message)
		want string
	}{
		"an end":                 {d.subscription("gone-bob"), attributes(nil), "rejected unregistered 410 106 message"},
		"no JSON":                {"ann", attributes(nil), "rejected invalid_recipient message"},
		"no endpoint":            {`{"keys":{"p256dh":"","auth":""}}`, attributes(nil), "rejected invalid_recipient message"},
		"a password":             {strings.Replace(good, "http://", "http://user:pw@", 1), attributes(nil), "rejected invalid_recipient message"},
		"keys of another format": {strings.Replace(good, `"p256dh":"`, `"p256dh":"%`, 1), attributes(nil), "rejected invalid_recipient message"},
		"a point that is none":   {strings.Replace(good, `"p256dh":"B`, `"p256dh":"C`, 1), attributes(nil), "rejected invalid_recipient message"},
		"auth that is short":     {`{"endpoint":"https://example.com/","keys":{"p256dh":"` + webpushdouble.PublicKey + `","auth":"AAAA"}}`, attributes(nil), "rejected invalid_recipient message"},
		"a file":                 {strings.Replace(good, "http://", "file://", 1), attributes(nil), "rejected invalid_recipient message"},
		"too much":               {good, func(m *sdk.Message) { m.Plain = strings.Repeat("x", encrypt.MaxText) }, "rejected payload_too_large message"},
	} {
		if _, err := c.Send(t.Context(), message(tt.to, tt.edit)); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", name, said(err), tt.want)
		}
	}
	// A subscription that was made with another key.
	configure(t, d.webpush, `{"public_key": "BP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A8"}`)
	if _, err := c.Send(t.Context(), message(good)); said(err) != "rejected recipient_mismatch 403 109 message" {
		t.Errorf("another's subscription: %s", said(err))
	}
}

// Largest text that goes through.
func TestWebPushLimit(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.webpushConfig())
	m := message(d.subscription("ann"))
	m.Subject, m.Plain = "t", ""
	p, err := newPush(c.config, m, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	m.Plain = strings.Repeat("x", encrypt.MaxText-len(mustEncode(t, webMessage(p)))-len(`"body":"",`))
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Errorf("a push that fits: %v", err)
	}
	if _, body := d.lastRequest(t, "/webpush/push/"); len(body) != 4096 {
		t.Errorf("the body has %d bytes", len(body))
	}
	m.Plain += "x"
	if _, err := c.Send(t.Context(), m); said(err) != "rejected payload_too_large message" {
		t.Errorf("one byte more: %s", said(err))
	}
}

// No subscription makes the gateway call its own network.
func TestWebPushGuard(t *testing.T) {
	d := startDoubles(t, true)
	given := d.webpushConfig()
	given["webpush"].(settings)["private"] = false
	delete(given["webpush"].(settings), "hosts")
	c := connect(t, with(given, settings{"tls_ca": d.authority}))
	for name, to := range map[string]string{
		"an address":       d.subscription("ann"),
		"a name":           strings.Replace(d.subscription("ann"), "127.0.0.1", "localhost", 1),
		"mapped into IPv6": strings.Replace(d.subscription("ann"), "127.0.0.1", "[::ffff:127.0.0.1]", 1),
		"metadata":         strings.Replace(d.subscription("ann"), strings.TrimPrefix(d.server.URL, "https://"), "169.254.169.254", 1),
		"in clear":         strings.Replace(d.subscription("ann"), "https://", "http://", 1),
	} {
		_, err := c.Send(t.Context(), message(to))
		if said(err) != "rejected invalid_recipient message" {
			t.Errorf("%s: %s (%v)", name, said(err), err)
		}
		if name != "in clear" && !errors.Is(err, errPrivate) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if d.seen("/") != 0 {
		t.Error("the double was called")
	}
	_, err := c.Send(t.Context(), message(strings.Replace(d.subscription("ann"), "127.0.0.1", "push.invalid", 1)))
	if got := said(err); got != "rejected invalid_recipient message" && got != "retryable connect_failed provider" { // no name server says nothing
		t.Errorf("a name that is none: %s (%v)", got, err)
	}
}

func TestWebPushHosts(t *testing.T) {
	w := &webPush{hosts: []string{"fcm.googleapis.com", "*.push.Services.mozilla.com"}}
	for endpoint, want := range map[string]bool{
		"https://fcm.googleapis.com/x": true, "https://FCM.googleapis.com:443/x": true, "https://updates.push.services.mozilla.com/x": true,
		"https://push.services.mozilla.com/x": false, "https://evil-fcm.googleapis.com/x": false, "https://xpush.services.mozilla.com/": false,
		"https://fcm.googleapis.com.evil.example/x": false, "http://fcm.googleapis.com/x": false,
	} {
		text, err := json.Marshal(map[string]any{"endpoint": endpoint, "keys": map[string]string{"p256dh": webpushdouble.PublicKey, "auth": "AAAAAAAAAAAAAAAAAAAAAA=="}})
		if err != nil {
			t.Fatal(err)
		}
		s, err := parseSubscription(string(text))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.allowed(s.endpoint); (err == nil) != want {
			t.Errorf("%s: %v", endpoint, err)
		}
	}
}

// Whoever runs the host of a subscription cannot close the connector for the others.
func TestWebPushOfStrangers(t *testing.T) {
	d := startDoubles(t, false)
	given := d.webpushConfig()
	delete(given["webpush"].(settings), "hosts")
	c := connect(t, given)
	for errno, want := range map[string]string{
		"109": "retryable auth_failed 401 109 message",
		"201": "retryable provider_unavailable 503 201 message",
		"202": "throttled throttled 429 202 message",
		"999": "uncertain provider_error 500 999 message",
	} {
		d.decide(desk.Decision{Answer: desk.Refuse, Code: errno})
		if _, err := c.Send(t.Context(), message(d.subscription("ann"))); said(err) != want {
			t.Errorf("%s: got %s, want %s", errno, said(err), want)
		}
	}
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	if _, err := c.Send(t.Context(), message(strings.Replace(d.subscription("ann"), d.server.URL, gone.URL, 1))); said(err) != "retryable connect_failed message" {
		t.Errorf("a host that is down: %s", said(err))
	}
	for host, want := range map[string]bool{
		"fcm.googleapis.com": true, "updates.push.services.mozilla.com": true, "web.push.apple.com": true, "wns2-by3p.notify.windows.com": true,
		"fcm.googleapis.com.example.com": false, "xweb.push.apple.com": false,
	} {
		if got := names(services[:], &url.URL{Scheme: "https", Host: host}); got != want {
			t.Errorf("%s is a push service: %t", host, got)
		}
	}
}

func FuzzSubscription(f *testing.F) {
	f.Add(webpushdouble.Subscription("https://example.com", "ann"))
	f.Add(`{"endpoint":"https://u@example.com/#","keys":{"p256dh":"","auth":"="}}`)
	f.Add("{}")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSubscription(text)
		if err != nil {
			return
		}
		if s.endpoint.Hostname() == "" || s.endpoint.User != nil {
			t.Errorf("%q has the endpoint %s", text, s.endpoint)
		}
		if _, err := s.receiver.Encrypt([]byte("x")); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	})
}
