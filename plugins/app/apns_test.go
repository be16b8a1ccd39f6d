package main

import (
	"context"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	apnsdouble "github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/apns"
	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestAPNsPush(t *testing.T) {
	for name, secure := range map[string]bool{"in clear": false, "over TLS": true} {
		t.Run(name, func(t *testing.T) {
			d := startDoubles(t, secure)
			c := connect(t, with(d.apnsConfig(), settings{"tls_ca": d.authority}))
			m := rich(device)
			m.NotAfter = time.Now().Add(time.Hour)
			r, err := c.Send(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			req, body := d.lastRequest(t, "/3/device/"+device)
			if req.ProtoMajor != 2 || r.ProviderID() != req.Header.Get("Apns-Id") {
				t.Errorf("%s, apns-id %s; the receipt has %+v", req.Proto, req.Header.Get("Apns-Id"), r)
			}
			for header, want := range map[string]string{
				"Apns-Push-Type": "alert", "Apns-Topic": apnsdouble.Topic, "Apns-Priority": "10", "Apns-Expiration": stamp(m.NotAfter), "Apns-Collapse-Id": "order",
			} {
				if got := req.Header.Get(header); got != want {
					t.Errorf("%s is %q, want %q", header, got, want)
				}
			}
			wantJSON(t, body, `{
				"aps": {"alert": {"title": "Order", "subtitle": "Shop", "body": "Your order 123 is on its way 🚚"},
					"sound": "bell", "badge": 3, "category": "ORDER", "thread-id": "t1", "mutable-content": 1},
				"image": "https://example.com/a.png", "order": "123", "link": "https://example.com/orders/123", "pigeonry_id": "msg_1"}`)
			if got := d.last(t); got.To != device || got.Subject != "Order" || got.Text != m.Plain || got.Reference != "msg_1" || got.ProviderID != r.ProviderID() {
				t.Errorf("the double has %+v", got)
			}
		})
	}
}

func TestAPNsKinds(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.apnsConfig())
	for name, tt := range map[string]struct {
		attributes            map[string]string
		kind, topic, priority string
		body                  string
	}{
		"background": {
			map[string]string{"payload": "data", "data.a": "1"},
			"background", apnsdouble.Topic, "5",
			`{"aps": {"content-available": 1}, "a": "1", "pigeonry_id": "msg_1"}`,
		},
		"a call": {
			map[string]string{"push_type": "voip"},
			"voip", apnsdouble.Topic + ".voip", "10",
			`{"aps": {"alert": {"title": "Order", "body": "Your order 123 is on its way 🚚"}}, "pigeonry_id": "msg_1"}`,
		},
		"a topic of its own": {
			map[string]string{"push_type": "liveactivity", "topic": apnsdouble.Topic + ".push-type.liveactivity", "extra": `{"aps": {"event": "update", "alert": null}}`},
			"liveactivity", apnsdouble.Topic + ".push-type.liveactivity", "10", `{"aps": {"event": "update"}, "pigeonry_id": "msg_1"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := c.Send(t.Context(), message(device, attributes(tt.attributes))); err != nil {
				t.Fatal(err)
			}
			req, body := d.lastRequest(t, "/3/device/")
			wantJSON(t, body, tt.body)
			if h := req.Header; h.Get("Apns-Push-Type") != tt.kind || h.Get("Apns-Topic") != tt.topic || h.Get("Apns-Priority") != tt.priority {
				t.Errorf("headers %v", h)
			}
		})
	}
}

func TestAPNsReasons(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.apnsConfig())
	for reason, want := range map[string]string{
		"BadCollapseId":               "rejected content_refused BadCollapseId plugin",
		"BadDeviceToken":              "rejected invalid_recipient BadDeviceToken message",
		"BadExpirationDate":           "rejected content_refused BadExpirationDate plugin",
		"BadMessageId":                "rejected content_refused BadMessageId plugin",
		"BadPriority":                 "rejected content_refused BadPriority plugin",
		"BadTopic":                    "retryable invalid_config BadTopic config",
		"DeviceTokenNotForTopic":      "rejected recipient_mismatch DeviceTokenNotForTopic message",
		"DuplicateHeaders":            "rejected content_refused DuplicateHeaders plugin",
		"IdleTimeout":                 "retryable provider_unavailable IdleTimeout provider",
		"InvalidPushType":             "rejected content_refused InvalidPushType message",
		"MissingDeviceToken":          "rejected invalid_recipient MissingDeviceToken message",
		"MissingTopic":                "retryable invalid_config MissingTopic config",
		"PayloadEmpty":                "rejected content_refused PayloadEmpty message",
		"TopicDisallowed":             "retryable invalid_config TopicDisallowed config",
		"BadCertificate":              "retryable auth_failed BadCertificate config",
		"BadCertificateEnvironment":   "retryable auth_failed BadCertificateEnvironment config",
		"ExpiredProviderToken":        "retryable auth_failed ExpiredProviderToken config",
		"Forbidden":                   "retryable permission_denied Forbidden config",
		"InvalidProviderToken":        "retryable auth_failed InvalidProviderToken config",
		"MissingProviderToken":        "retryable auth_failed MissingProviderToken config",
		"UnrelatedKeyIdInToken":       "retryable auth_failed UnrelatedKeyIdInToken config",
		"BadEnvironmentKeyIdInToken":  "retryable auth_failed BadEnvironmentKeyIdInToken config",
		"BadPath":                     "rejected invalid_recipient BadPath message",
		"MethodNotAllowed":            "rejected content_refused MethodNotAllowed plugin",
		"ExpiredToken":                "rejected unregistered ExpiredToken message",
		"Unregistered":                "rejected unregistered Unregistered message",
		"PayloadTooLarge":             "rejected payload_too_large PayloadTooLarge message",
		"TooManyProviderTokenUpdates": "throttled throttled TooManyProviderTokenUpdates provider",
		"TooManyRequests":             "throttled throttled TooManyRequests message",
		"InternalServerError":         "uncertain provider_error InternalServerError provider",
		"ServiceUnavailable":          "retryable provider_unavailable ServiceUnavailable provider",
		"Shutdown":                    "retryable provider_unavailable Shutdown provider",
	} {
		d.decide(desk.Decision{Answer: desk.Refuse, Code: reason})
		if _, err := c.Send(t.Context(), message(device)); said(err) != want {
			t.Errorf("%s: got %s, want %s", reason, said(err), want)
		}
	}
	for name, tt := range map[string]struct {
		status int
		body   string
		want   string
	}{
		"a reason nobody knows": {400, `{"reason":"NewReason"}`, "rejected http_status 400 message"},
		"no reason":             {503, "", "retryable unavailable 503 provider"},
		"a page":                {502, "<html>", "uncertain http_status 502 provider"},
		"no id":                 {200, "", "uncertain provider_error 200 provider"},
	} {
		resp := &http.Response{StatusCode: tt.status, Header: http.Header{}}
		if _, err := readAPNs(resp, []byte(tt.body)); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", name, said(err), tt.want)
		}
	}
}

// What APNs refuses by itself, the double refuses, too.
func TestAPNsRefusals(t *testing.T) {
	d := startDoubles(t, false)
	for name, tt := range map[string]struct {
		to   string
		edit func(*sdk.Message)
		want string
	}{
		"a device without the app": {"dead" + device[4:], attributes(nil), "rejected unregistered Unregistered message"},
		"no device":                {strings.Repeat("0", 64), attributes(nil), "rejected invalid_recipient BadDeviceToken message"},
		"a token of another kind":  {"not hexadecimal/../..", attributes(nil), "rejected invalid_recipient BadDeviceToken message"},
		"a type nobody knows":      {device, attributes(map[string]string{"push_type": "shout"}), "rejected content_refused InvalidPushType message"},
		"another's topic":          {device, attributes(map[string]string{"topic": "com.example.other"}), "retryable invalid_config TopicDisallowed config"},
		"too much":                 {device, func(m *sdk.Message) { m.Plain = strings.Repeat("x", 4096) }, "rejected payload_too_large message"},
		"Apple's own key":          {device, attributes(map[string]string{"data.aps": "x"}), "rejected invalid_content message"},
	} {
		if _, err := connect(t, d.apnsConfig()).Send(t.Context(), message(tt.to, tt.edit)); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", name, said(err), tt.want)
		}
	}
	call := message(device, attributes(map[string]string{"push_type": "voip"}), func(m *sdk.Message) { m.Plain = strings.Repeat("x", 4500) })
	if _, err := connect(t, d.apnsConfig()).Send(t.Context(), call); err != nil {
		t.Errorf("a call may be larger: %v", err)
	}
}

// One provider token serves many pushes, and is made anew when it is refused as expired: once.
func TestAPNsToken(t *testing.T) {
	d := startDoubles(t, false)
	c := connect(t, d.apnsConfig())
	tokens := func() map[string]bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		seen := map[string]bool{}
		for _, r := range d.requests {
			seen[r.Header.Get("Authorization")] = true
		}
		return seen
	}
	for range 3 {
		if _, err := c.Send(t.Context(), message(device)); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(tokens()); n != 1 {
		t.Errorf("%d provider tokens for three pushes", n)
	}
	play(t, d.apns, `{"event": "expire_tokens"}`)
	if _, err := c.Send(t.Context(), message(device)); err != nil || len(tokens()) != 2 || len(d.messages()) != 4 {
		t.Errorf("after the token has ended: %v, %d tokens, %d messages", err, len(tokens()), len(d.messages()))
	}
}

// APNs wants a new token not more often than each 20 minutes, and at least each hour.
func TestAPNsTokenAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		id, err := newAPNsIdentity(&apnsConfig{PrivateKey: sdk.Secret(apnsdouble.PrivateKey), KeyID: apnsdouble.KeyID, TeamID: apnsdouble.TeamID})
		if err != nil {
			t.Fatal(err)
		}
		source := sdk.SharedToken(t.Context(), "apns/test", "secret", func(context.Context) (sdk.Token, error) { return id.token(time.Now()) })
		made, last := time.Time{}, ""
		for began := time.Now(); time.Since(began) < 24*time.Hour; <-time.After(time.Minute) {
			value, err := source.Get(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if value != last {
				if age := time.Since(made); !made.IsZero() && (age < 20*time.Minute || age > time.Hour) {
					t.Fatalf("a new token after %s", age)
				}
				made, last = time.Now(), value
			}
		}
	})
}

func TestAPNsCheck(t *testing.T) {
	d := startDoubles(t, false)
	if err := connect(t, d.apnsConfig()).Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	given := d.apnsConfig()
	given["apns"].(settings)["key_id"] = "OTHERKEYID"
	if err := connect(t, given).Check(t.Context()); said(err) != "retryable auth_failed InvalidProviderToken config" {
		t.Errorf("Check with another key: %s", said(err))
	}
}

func TestAPNsID(t *testing.T) {
	id := apnsID("key-1")
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("%s is no UUID of version 8", id)
	}
	if apnsID("key-1") != id || apnsID("key-2") == id {
		t.Error("the id is not that of the message")
	}
}

func TestCollapse(t *testing.T) {
	long := strings.Repeat("x", 100)
	if appleCollapse("order") != "order" || len(appleCollapse(long)) != 64 || appleCollapse(long) == appleCollapse(long+"y") {
		t.Errorf("apns-collapse-id of a long key is %q", appleCollapse(long))
	}
	if webTopic("order_1-A") != "order_1-A" || webTopic("") != "" || len(webTopic("with space")) != 32 || webTopic(long) == webTopic(long+"y") {
		t.Errorf("Topic of a long key is %q", webTopic(long))
	}
	for key, want := range map[string]int{"0": 0, "-1": -1, "100": 100, "order": huaweiGroup("order")} {
		if got := huaweiGroup(key); got != want || got > 100 || got < -1 {
			t.Errorf("collapse_key of %q is %d", key, got)
		}
	}
	if g := huaweiGroup("101"); g < 1 || g > 100 {
		t.Errorf("collapse_key of 101 is %d", g)
	}
}
