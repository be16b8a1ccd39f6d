package main

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// call is a request of the provider and what shall come of it.
type call struct {
	method, path, query, body string
	header                    http.Header
	status                    int    // of our answer
	events                    string // in short, see short
}

func (c *call) request() *sdk.CallbackRequest {
	r := &sdk.CallbackRequest{
		Method: orElse(c.method, "POST"), Path: orElse(c.path, "/"), Query: c.query, Body: []byte(c.body), Header: c.header,
		URL: "https://gateway.example.com/callbacks/http/main", RemoteAddr: "192.0.2.1:4711",
	}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	return r
}

// short writes events in one line each.
func short(e sdk.Events) string {
	var out []string
	for _, r := range e.Receipts {
		status := map[sdk.ReceiptStatus]string{
			sdk.Delivered: "delivered", sdk.Undelivered: "undelivered", sdk.Read: "read", sdk.Progress: "progress",
		}[r.Status]
		line := []string{status, r.ProviderID + r.AttemptID}
		if r.Recipient != "" {
			line = append(line, "to "+r.Recipient)
		}
		if !r.At.IsZero() {
			line = append(line, r.At.UTC().Format(time.RFC3339))
		}
		if d, ok := errors.AsType[*sdk.DeliveryError](r.Err); ok {
			line = append(line, d.Code, d.ProviderCode, d.Error())
		}
		out = append(out, strings.Join(line, " "))
	}
	for _, in := range e.Inbound {
		out = append(out, strings.Join([]string{"inbound", in.ProviderID, in.From, in.To, in.Text}, " "))
	}
	return strings.Join(out, "\n")
}

// receiptsOf is how most of these providers write receipts.
var receiptsOf = settings{
	"id": "id", "status": "status", "code": "code", "message": "why", "time": "at", "recipient": "to",
	"statuses": settings{"OK": "delivered", "READ": "read", "SENT": "progress", "FAIL": "undelivered"},
}

// What the provider calls back becomes receipts and messages.
func TestCallback(t *testing.T) {
	inbound := settings{"id": "id", "from": "from", "to": "to", "text": "text"}
	open := func(edits settings) settings { return with(settings{"unverified": true}, edits) }
	for name, c := range map[string]struct {
		callback settings
		calls    []call
	}{
		"json": {open(settings{"receipts": receiptsOf}), []call{
			{body: `{"id":"a","status":"OK","at":1795773600,"to":"+86"}`, status: 200, events: "delivered a to +86 2026-11-27T10:00:00Z"},
			{
				body: `[{"id":1,"status":"READ"},{"id":"b","status":"FAIL","code":21,"why":"no\nsuch number"},{"id":"c","status":"FAIL"}]`, status: 200,
				events: "read 1\nundelivered b undelivered 21 no such number\nundelivered c undelivered FAIL the provider reported FAIL",
			},
			{body: `{"id":"a","status":"ODD","at":"then"}`, status: 200, events: "progress a"},
			{body: `{"status":"OK"}`, status: 200},
			{body: `"text"`, status: 200},
			{body: `{`, status: 400},
			{body: `{} {}`, status: 400},
			{method: "GET", status: 405},
		}},
		"any other status": {open(settings{"receipts": with(receiptsOf, settings{"statuses": settings{"0": "delivered", "*": "undelivered"}})}), []call{
			{body: `{"id":"a","status":0}`, status: 200, events: "delivered a"},
			{body: `{"id":"a","status":7}`, status: 200, events: "undelivered a undelivered 7 the provider reported 7"},
			{body: `{"id":"a"}`, status: 200, events: "undelivered a undelivered  the provider reported no status"},
		}},
		"form": {open(settings{"format": "form", "receipts": with(receiptsOf, settings{"id": "", "attempt_id": "ref"})}), []call{
			{body: "ref=7%3A2&status=OK", status: 200, events: "delivered 7:2"},
			{body: "%", status: 400},
		}},
		"JSON within a form": {open(settings{"format": "form", "receipts": with(receiptsOf, settings{"items": "report"})}), []call{
			{body: "report=%5B%7B%22id%22%3A%22a%22%2C%22status%22%3A%22OK%22%7D%5D", status: 200, events: "delivered a"},
		}},
		"query": {open(settings{"method": "GET", "format": "query", "receipts": receiptsOf}), []call{
			{method: "GET", query: "id=a&status=OK", status: 200, events: "delivered a"},
			{status: 405},
		}},
		"text": {open(settings{"format": "text", "pattern": `<id>(?P<id>\w+)</id>.*<s>(?P<status>\w+)</s>`, "receipts": receiptsOf}), []call{
			{body: "<r><id>a</id> <s>OK</s></r>", status: 200, events: "delivered a"},
			{body: "<r/>", status: 400},
		}},
		"two paths": {open(settings{"receipts": with(receiptsOf, settings{"path": "/status", "items": "list"}), "inbound": with(inbound, settings{"path": "/in/"})}), []call{
			{path: "/status/", body: `{"list":[{"id":"a","status":"OK"}]}`, status: 200, events: "delivered a"},
			{path: "/in", body: `{"id":"i","from":"+86","to":"1069","text":"STOP"}`, status: 200, events: "inbound i +86 1069 STOP"},
			{path: "/in", body: `{"text":"who?"}`, status: 200},
			{path: "/", body: `{}`, status: 404},
		}},
		"one path": {open(settings{
			"receipts": with(receiptsOf, settings{"match": settings{"type": "status"}, "items": "events"}),
			"inbound":  with(inbound, settings{"match": settings{"type": "message", "v": "1"}, "items": "events"}),
		}), []call{
			{
				body:   `{"events":[{"type":"message","v":1,"from":"a","text":"hi"},{"type":"status","id":"x","status":"OK"},{"type":"message","v":2,"from":"b"}]}`,
				status: 200, events: "delivered x\ninbound  a  hi",
			},
		}},
		"token in a header": {settings{"token": "s3cret-token", "token_header": "X-Token", "receipts": receiptsOf}, []call{
			{header: http.Header{"X-Token": {"s3cret-token"}}, body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: http.Header{"X-Token": {"s3cret-toke"}}, body: `{"id":"a","status":"OK"}`, status: 401},
			{body: `{"id":"a","status":"OK"}`, status: 401},
		}},
		"token after Bearer": {settings{"token": "s3cret-token", "token_header": "authorization", "receipts": receiptsOf}, []call{
			{header: http.Header{"Authorization": {"Bearer s3cret-token"}}, body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
		}},
		"token in the query": {settings{"token": "s3cret-token", "token_query": "t", "receipts": receiptsOf}, []call{
			{query: "t=s3cret-token", body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{query: "t=", body: `{"id":"a","status":"OK"}`, status: 401},
			{query: "t=%zz", body: `{"id":"a","status":"OK"}`, status: 401},
		}},
		"basic authentication": {settings{"username": "Aladdin", "password": "open sesame", "receipts": receiptsOf}, []call{
			{header: http.Header{"Authorization": {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}}, body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: http.Header{"Authorization": {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ"}}, body: `{}`, status: 401},
		}},
		"a signed body": {settings{"signature": settings{"secret": "Jefe", "prefix": "sha256="}, "receipts": receiptsOf}, []call{
			{header: signed("sha256=" + hexOf(digestOf("Jefe", `{"id":"a","status":"OK"}`))), body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: signed("sha256=" + strings.ToUpper(hexOf(digestOf("Jefe", `{"id":"a","status":"OK"}`)))), body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: signed("sha256=00 sha256=" + hexOf(digestOf("Jefe", `{"id":"a","status":"OK"}`))), body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: signed(hexOf(digestOf("Jefe", `{"id":"a","status":"OK"}`))), body: `{"id":"a","status":"OK"}`, status: 401},
			{header: signed("sha256=" + hexOf(digestOf("Jefe", `{"id":"a","status":"OK"}`))), body: `{"id":"b","status":"OK"}`, status: 401},
			{header: signed("sha256=" + hexOf(digestOf("jefe", `{}`))), body: `{}`, status: 401},
			{body: `{}`, status: 401},
		}},
		"a prefix with a space": {settings{"signature": settings{"secret": "Jefe", "prefix": "HMAC-SHA256 ", "header": "Authorization"}, "receipts": receiptsOf}, []call{
			{header: http.Header{"Authorization": {"HMAC-SHA256 " + hexOf(digestOf("Jefe", `{"id":"a","status":"OK"}`))}}, body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: http.Header{"Authorization": {"HMAC-SHA256 00"}}, body: `{"id":"a","status":"OK"}`, status: 401},
		}},
		"a signature with time": {settings{"signature": settings{
			"secret": "Jefe", "timestamp_header": "X-Time", "tolerance": "1m", "content": "{{.timestamp}}{{.method}}{{.path}}{{index .headers \"X-Id\"}}{{.body}}",
		}, "receipts": receiptsOf}, []call{
			{header: timed("1795773600", `1795773600POST/7{"id":"a","status":"OK"}`), body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: timed("1795773541", `1795773541POST/7{"id":"a","status":"OK"}`), body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
			{header: timed("1795773661", `1795773661POST/7{}`), body: `{}`, status: 401},
			{header: timed("1795773539", `1795773539POST/7{}`), body: `{}`, status: 401},
			{header: timed("now", `nowPOST/7{}`), body: `{}`, status: 401},
			{header: timed("1795773600", `1795773601POST/7{}`), body: `{}`, status: 401},
		}},
		"a signature with milliseconds": {settings{"signature": settings{"secret": "Jefe", "timestamp_header": "X-Time", "timestamp_format": "unix_ms", "content": "{{.timestamp}}"}, "receipts": receiptsOf}, []call{
			{header: timed("1795773600000", `1795773600000`), body: `{"id":"a","status":"OK"}`, status: 200, events: "delivered a"},
		}},
		"what is signed cannot be made": {settings{"signature": settings{"secret": "Jefe", "content": `{{.headers.Gone}}`}, "receipts": receiptsOf}, []call{
			{header: signed("x"), body: `{}`, status: 401},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			conn := connect(t, settings{"url": "https://example.com", "callback": c.callback})
			for _, one := range c.calls {
				answer, events, err := conn.HandleCallback(t.Context(), one.request())
				if err != nil || answer.Status != one.status || short(events) != one.events {
					t.Errorf("%s %s: got %d, %v:\n%s\nwant %d:\n%s", one.path, one.body, answer.Status, err, short(events), one.status, one.events)
				}
			}
		})
	}
}

func signed(signature string) http.Header { return http.Header{"X-Signature": {signature}} }

func timed(stamp, content string) http.Header {
	h := signed(hexOf(digestOf("Jefe", content)))
	h.Set("X-Time", stamp)
	h.Set("X-Id", "7")
	return h
}

// The answer is as the provider wants it.
func TestCallbackAnswer(t *testing.T) {
	conn := connect(t, settings{"url": "https://example.com", "callback": settings{
		"unverified": true, "receipts": receiptsOf, "answer_status": 202, "answer_body": `{"code":0}`, "answer_type": "application/json",
	}})
	got, _, err := conn.HandleCallback(t.Context(), (&call{body: "{}"}).request())
	if err != nil || got.Status != 202 || string(got.Body) != `{"code":0}` || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %+v, %v", got, err)
	}
	conn = connect(t, settings{"url": "https://example.com"})
	if got, _, err = conn.HandleCallback(t.Context(), (&call{body: "{}"}).request()); err != nil || got.Status != 404 {
		t.Errorf("without a callback block: got %+v, %v", got, err)
	}
}

// What we sign is what a callback of the same rule verifies.
func TestSignatureRoundTrip(t *testing.T) {
	rule := settings{"secret": "c2VjcmV0LWtleQ==", "secret_encoding": "base64", "encoding": "base64", "prefix": "v1,", "timestamp_header": "X-Time"}
	p := provide(t, nil)
	conn := connect(t, settings{"url": p.URL, "signature": rule, "callback": settings{"signature": rule, "receipts": receiptsOf}})
	if _, err := conn.Send(t.Context(), message()); err != nil {
		t.Fatal(err)
	}
	got := p.last(t)
	if !json.Valid([]byte(got.body)) {
		t.Errorf("got %s", got.body)
	}
	answer, _, err := conn.HandleCallback(t.Context(), (&call{body: got.body, header: got.header}).request())
	if err != nil || answer.Status != 200 {
		t.Errorf("got %+v, %v", answer, err)
	}
}
