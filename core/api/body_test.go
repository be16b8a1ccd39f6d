package api_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
)

func zipped(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write([]byte(s))
	must(t, err)
	must(t, w.Close())
	return b.String()
}

func TestBodyOverTheLimit(t *testing.T) {
	h := newHarness(t)
	large := fmt.Sprintf(`{"channel":"sms","recipient":"+8613800138000","content":%q}`, strings.Repeat("x", 1<<20))
	tests := []struct {
		about, path, body string
		headers           []string
	}{
		{"announced", "/api/messages/send", large, nil},
		{"a bomb", "/api/messages/send", zipped(t, strings.Repeat(" ", 20<<20)), []string{"Content-Encoding", "gzip"}},
		{"a batch", "/api/messages/send-batch", strings.Repeat(" ", 16<<20+1), nil},
		{"a bomb of a batch", "/api/messages/send-batch", zipped(t, strings.Repeat(" ", 16<<20+1)), []string{"Content-Encoding", "gzip"}},
		{"a template", "/api/messages/templates", large, nil},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			a := h.want(h.do("POST", test.path, test.body, test.headers...), 413, core.CodeTooLarge)
			limit := "1048576"
			if test.path == "/api/messages/send-batch" {
				limit = "16777216"
			}
			if !strings.Contains(a.Message, limit) {
				t.Errorf("message %q does not name the limit %s", a.Message, limit)
			}
		})
	}
	t.Run("in chunks", func(t *testing.T) {
		r := httptest.NewRequest("POST", "/api/messages/send", strings.NewReader(large))
		r.ContentLength = -1
		r.Header.Set("Authorization", "Bearer "+h.key)
		r.Header.Set("Content-Type", "application/json")
		h.want(h.serve(r), 413, core.CodeTooLarge)
	})
}

func TestBodyCompressed(t *testing.T) {
	h := newHarness(t)
	body := zipped(t, anSMS)
	key := []string{"Idempotency-Key", "k", "Content-Encoding", "gzip"}
	first := h.want(h.do("POST", "/api/messages/send", body, key...), 200, 0)
	again := h.want(h.do("POST", "/api/messages/send", anSMS, key[:2]...), 200, 0)
	if string(again.Raw) != string(first.Raw) {
		t.Errorf("the same body, plain, is answered by %s; want %s", again.Raw, first.Raw)
	}
	for about, broken := range map[string]string{
		"plain": anSMS, "cut off": body[:len(body)-9], "damaged": body[:len(body)-6] + "xxxxxx", "empty": "\x1f",
	} {
		t.Run(about, func(t *testing.T) {
			h.want(h.do("POST", "/api/messages/send", broken, "Content-Encoding", "gzip"), 400, core.CodeMalformed)
		})
	}
}

func TestBodyOfAnotherType(t *testing.T) {
	h := newHarness(t)
	for _, headers := range [][]string{
		{"Content-Encoding", "br"},
		{"Content-Encoding", "gzip, gzip"},
		{"Content-Type", "application/x-www-form-urlencoded"},
		{"Content-Type", "text/json"},
		{"Content-Type", "application/json; charset=gbk"},
		{"Content-Type", "application/json;;"},
		{"Content-Type", ""},
	} {
		a := h.want(h.do("POST", "/api/messages/send", anSMS, headers...), 415, core.CodeUnsupportedType)
		if a.field(headers[0]) == "" {
			t.Errorf("%v: errors %v", headers, a.Errors)
		}
	}
	for _, kind := range []string{"application/json; charset=UTF-8", "Application/JSON"} {
		h.want(h.do("POST", "/api/messages/send", anSMS, "Content-Type", kind), 200, 0)
	}
}

// TestBodyFaultsOnEveryRoute sends each route with a body what no route takes.
func TestBodyFaultsOnEveryRoute(t *testing.T) {
	h := newHarness(t)
	id := h.createTemplate(`{"name":"t","channel":"sms","content":"x"}`).Id
	one := fmt.Sprintf("/api/messages/templates/%d", id)
	routes := map[string]string{
		"/api/messages/send": "POST", "/api/messages/send-batch": "POST", "/api/messages/templates": "POST",
		one: "PUT", one + "/preview": "POST",
	}
	bodies := map[string]string{
		"unknown field": `{"nonsense":1}`, "empty": " ", "null": `null`, "list": `[]`, "trailing": `{} {}`, "not JSON": `{`,
		"NUL": `{"variables":{"a":"\u0000"}}`, "repeated": `{"variables":{"a":"1","a":"2"}}`, "bad UTF-8": "{\"channel\":\"\xff\"}",
	}
	for path, method := range routes {
		for about, body := range bodies {
			a := h.want(h.do(method, path, body), 400, core.CodeMalformed)
			if len(a.Errors) != 1 || a.Errors[0]["reason"] == "" {
				t.Errorf("%s %s, %s: errors %v", method, path, about, a.Errors)
			}
		}
	}
	if after := data[api.Template](t, h.do("GET", one, "")); after.Revision != 1 {
		t.Errorf("the template has changed: %+v", after)
	}
}
