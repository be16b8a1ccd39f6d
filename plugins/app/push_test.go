package main

import (
	"errors"
	"net/http"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
	"github.com/pigeonry/pigeonry/sdk"
)

func stamp(t time.Time) string { return strconv.FormatInt(t.Unix(), 10) }

func pauseOf(err error) time.Duration {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok {
		return 0
	}
	return e.RetryAfter
}

func TestPushOfMessage(t *testing.T) {
	now := time.Now()
	c := &config{IDKey: "id", HighPriority: 3, TTL: time.Hour, Title: "Shop"}
	for name, tt := range map[string]struct {
		edit func(*sdk.Message)
		want string // of the outcome
	}{
		"text":                {func(m *sdk.Message) { m.Subject = "" }, "accepted"},
		"no words at all":     {func(m *sdk.Message) { m.Subject, m.Plain = "", "" }, "accepted"}, // there is a title in the config
		"data alone":          {attributes(map[string]string{"payload": "data"}), "accepted"},
		"a kind nobody knows": {attributes(map[string]string{"payload": "toast"}), "rejected invalid_content message"},
		"a badge":             {attributes(map[string]string{"badge": "0"}), "accepted"},
		"a negative badge":    {attributes(map[string]string{"badge": "-1"}), "rejected invalid_content message"},
		"a badge in words":    {attributes(map[string]string{"badge": "three"}), "rejected invalid_content message"},
		"extra":               {attributes(map[string]string{"extra": `{"a": 1}`}), "accepted"},
		"extra that is none":  {attributes(map[string]string{"extra": `[1]`}), "rejected invalid_content message"},
		"extra null":          {attributes(map[string]string{"extra": `null`}), "rejected invalid_content message"},
		"an image":            {attributes(map[string]string{"image": "https://example.com/a.png"}), "accepted"},
		"an image at no host": {attributes(map[string]string{"image": "a.png"}), "rejected invalid_content message"},
		"an image of files":   {attributes(map[string]string{"image": "file:///etc/passwd"}), "rejected invalid_content message"},
	} {
		if _, err := newPush(c, message("x", tt.edit), now); said(err) != tt.want {
			t.Errorf("%s: got %s, want %s", name, said(err), tt.want)
		}
	}
	if _, err := newPush(&config{}, message("x", func(m *sdk.Message) { m.Subject, m.Plain = "", "" }), now); said(err) != "rejected invalid_content message" {
		t.Errorf("nothing to show: %s", said(err))
	}
}

func TestImageOfAttachment(t *testing.T) {
	p, err := newPush(&config{}, message("x", func(m *sdk.Message) {
		m.Attachments = []sdk.Attachment{
			{Name: "a.pdf", ContentType: "application/pdf", URL: "https://example.com/a.pdf"},
			{Name: "b.png", ContentType: "image/png", Data: []byte("x")},
			{Name: "c.png", ContentType: "image/png", URL: "https://example.com/c.png"},
		}
	}), time.Now())
	if err != nil || p.image != "https://example.com/c.png" {
		t.Errorf("got %q, %v", p.image, err)
	}
}

func TestPriorityAndExpiry(t *testing.T) {
	now := time.Now()
	c := &config{HighPriority: 6, TTL: time.Hour}
	for priority, high := range map[int]bool{0: false, 5: false, 6: true, 10: true} {
		p, err := newPush(c, message("x", func(m *sdk.Message) { m.Priority = priority }), now)
		if err != nil || p.high != high {
			t.Errorf("priority %d: high is %t, %v", priority, p.high, err)
		}
	}
	for name, tt := range map[string]struct {
		notAfter time.Time
		seconds  int64
	}{
		"no end":        {time.Time{}, 3600},
		"a minute":      {now.Add(time.Minute), 60},
		"a part":        {now.Add(1900 * time.Millisecond), 1}, // never later than the message's end
		"now":           {now, 0},
		"it has passed": {now.Add(-time.Second), 0},
	} {
		p, err := newPush(c, message("x", func(m *sdk.Message) { m.NotAfter = tt.notAfter }), now)
		if err != nil || p.seconds() != tt.seconds {
			t.Errorf("%s: %d seconds, %v; want %d", name, p.seconds(), err, tt.seconds)
		}
	}
}

func TestMerge(t *testing.T) {
	o := object{"a": 1, "b": object{"c": 2, "d": map[string]any{"e": 3}}, "f": 4}
	o.merge(object{"a": nil, "b": map[string]any{"d": map[string]any{"e": 5, "g": 6}}, "f": map[string]any{"h": 7}, "i": []any{8}})
	wantJSON(t, mustEncode(t, o), `{"b": {"c": 2, "d": {"e": 5, "g": 6}}, "f": {"h": 7}, "i": [8]}`)
}

func mustEncode(t *testing.T, o object) []byte {
	t.Helper()
	body, err := (&push{}).encode(object{}, o, 0)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// A push waits for its turn for a second, and no longer.
func TestRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &connector{config: &config{Rate: 2}, pace: rate.NewLimiter(2, 2)}
		began := time.Now()
		for range 4 {
			if err := c.wait(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != time.Second {
			t.Errorf("four pushes at 2/s took %s", took)
		}
		c.pace.ReserveN(time.Now(), 2)
		c.pace.ReserveN(time.Now(), 2)
		err := c.wait(t.Context())
		if said(err) != "throttled throttled config" || pauseOf(err) <= time.Second {
			t.Errorf("a long queue: %s, again after %s", said(err), pauseOf(err))
		}
	})
}

// Whatever the provider: what was never sent is retryable, and what may have been read is not.
func TestFailuresOfTheNetwork(t *testing.T) {
	for name, to := range map[string]string{"fcm": "token-1", "apns": device, "huawei": "token-1", "webpush": ""} {
		t.Run(name, func(t *testing.T) {
			d := startDoubles(t, false)
			given := map[string]settings{
				"fcm": d.fcmConfig(), "apns": d.apnsConfig(), "huawei": d.huaweiConfig(), "webpush": d.webpushConfig(),
			}[name]
			if name == "webpush" {
				to = d.subscription("ann")
			}
			c := connect(t, with(given, settings{"timeout": "2s"}))
			d.decide(desk.Decision{Answer: desk.HangUp})
			if _, err := c.Send(t.Context(), message(to)); sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
				t.Errorf("hung up: %s (%v)", said(err), err)
			}
			if n := len(d.messages()); n != 1 {
				t.Errorf("the double has %d messages, want one", n)
			}
			d.decide(desk.Decision{})
			release := make(chan struct{})
			d.instead(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.URL.Path == "/token" || r.URL.Path == "/oauth2/v3/token" {
					return false
				}
				<-release
				return true
			})
			c.config.Timeout = 100 * time.Millisecond
			_, err := c.Send(t.Context(), message(to))
			close(release)
			if said(err) != "uncertain timeout provider" {
				t.Errorf("no answer in time: %s (%v)", said(err), err)
			}
			d.server.CloseClientConnections()
			d.server.Close()
			c.transport.CloseIdleConnections()
			c.config.Timeout = 2 * time.Second
			if _, err := c.Send(t.Context(), message(to)); said(err) != "retryable connect_failed provider" {
				t.Errorf("nobody there: %s (%v)", said(err), err)
			}
		})
	}
}
