package main

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// No text makes the path parser fall over, and a path that it takes can be followed.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"", "a.b[0].id", `a."x.y"[3]`, "[", "a..b", "a[99999999999]", `"\u00e9"`} {
		f.Add(seed, document)
	}
	f.Fuzz(func(_ *testing.T, text, payload string) {
		p, err := parsePath(text)
		if err != nil {
			return
		}
		v, err := decodeJSON([]byte(payload))
		if err != nil {
			v = payload
		}
		_ = p.text(v)
		_ = p.texts(v)
		_ = p.objects(v)
	})
}

// No template makes the checks fall over, and none whose samples are sound makes anything but JSON.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		`{"to": {{json .recipient}}}`, `{"a": "{{.text}}"}`, `{{with .attributes}}{{.x}}{{end}}`, `{{define "a"}}{{end}}`, `{{if}}`,
		`{{json .message}}`, `{{template "x"}}`, `{{$x := .text}}{{json $x}}`, `{{break}}`, `{{(.now).Unix}}`, `{{/* a */}}1`, ``,
	} {
		f.Add(seed, "text")
	}
	f.Fuzz(func(t *testing.T, source, text string) {
		if strings.Contains(source, "range") || strings.Contains(source, "print") {
			return // they may rightly take for ever
		}
		b, err := compileJSON(&config{}, "body.json", source, typeJSON)
		if err != nil {
			return
		}
		data := commonFields(at, unixSeconds, nil)
		messageFields(data, message(func(m *sdk.Message) { m.Plain, m.Recipient = text, text }), "")
		out, err := b.render(data)
		if err == nil && checkJSON(string(out)) != nil {
			t.Errorf("%q made %q", source, out)
		}
	})
}

// No value leads a request to another server or into another part of the URL.
func FuzzURL(f *testing.F) {
	for _, seed := range []string{"+86 138", "../x", "a/b?c#d", "@evil.example", "%2e%2e", "\r\nHost: x", ".."} {
		f.Add(seed)
	}
	a, err := compileAddress("url", "https://example.com/to/{{.recipient}}/send?text={{.text}}&end=1", false, messageSamples(&config{}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, value string) {
		data := commonFields(at, unixSeconds, nil)
		messageFields(data, message(func(m *sdk.Message) { m.Plain, m.Recipient = value, value }), "")
		u, err := a.resolve(data)
		if err != nil {
			if value != "." && value != ".." && !strings.Contains(value, "/.") && !strings.Contains(value, "./") {
				t.Errorf("%q: %v", value, err)
			}
			return
		}
		query, err := url.ParseQuery(u.RawQuery)
		if err != nil || u.Host != "example.com" || u.Path != "/to/"+value+"/send" || query.Get("text") != value || query.Get("end") != "1" {
			t.Errorf("%q made %s, %v", value, u, err)
		}
	})
}

// No list of statuses falls over, and what it takes are statuses.
func FuzzStatuses(f *testing.F) {
	for _, seed := range []string{"404", "5xx", "200-299", "xx", "-", "4xx-5"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		low, high, err := parseStatuses(text)
		if err == nil && (low < 200 || high > 599 || low > high) {
			t.Errorf("%q is %d to %d", text, low, high)
		}
	})
}

// No request of the provider makes the plugin fall over.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{`{"id":"a","status":"OK","at":1}`, `[{"id":1}]`, `{"id":{}}`, `"x"`, `[[[`, `{"status":[],"at":"x"}`, "id=a&status=OK"} {
		f.Add(seed)
	}
	var plans []*connector
	for _, format := range []string{formatJSON, formatForm, formatText} {
		c := &config{
			URL: "https://example.com", Method: "POST",
			Callback: &callbackConfig{
				Method: "POST", Format: format, Unverified: true, AnswerStatus: 200,
				Receipts: &receiptsConfig{
					eventConfig: eventConfig{Items: "", Time: "at", TimeFormat: timeAuto, TimeZone: "UTC"},
					ID:          "id", Status: "status", Statuses: map[string]string{"OK": "delivered"},
				},
			},
		}
		if format == formatText {
			c.Callback.Pattern = `(?P<id>\w+) (?P<status>\w*)`
		}
		p, err := compilePlan(c)
		if err != nil {
			f.Fatal(err)
		}
		plans = append(plans, &connector{plan: p, now: time.Now})
	}
	f.Fuzz(func(t *testing.T, body string) {
		for _, c := range plans {
			answer, events, err := c.HandleCallback(t.Context(), (&call{body: body}).request())
			if err != nil || answer.Status != 200 && !events.Empty() {
				t.Errorf("%q: got %+v, %v, %v", body, answer, events, err)
			}
		}
	})
}
