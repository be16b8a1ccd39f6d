package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// What the config says is what goes over the wire.
func TestRequest(t *testing.T) {
	for name, c := range map[string]struct {
		config settings
		edit   func(*sdk.Message)
		want   request // empty fields and headers that are not named: anything
	}{
		"nothing but a URL": {
			config: settings{},
			want: request{
				method: "POST", uri: "/", header: http.Header{"Content-Type": {"application/json"}},
				body: `{"attachments":[],"attempt":2,"attributes":{},"html":"","idempotency_key":"key-1","message_id":"msg_1",` +
					`"recipient":"+8613800138000","subject":"Hello","template":{"id":"","parameters":{}},"text":"say \"hi\"\n短信 & more"}`,
			},
		},
		"a URL with values in path and query": {
			config: settings{"method": "GET", "url": "/to/{{.recipient}}/v1?text={{.text}}&at={{.timestamp}}&p={{.attributes.a | urlquery}}"},
			edit:   func(m *sdk.Message) { m.Recipient = "a/b?c"; m.Attributes = map[string]string{"a": "x y"} },
			want:   request{method: "GET", uri: "/to/a%2Fb%3Fc/v1?text=say%20%22hi%22%0A%E7%9F%AD%E4%BF%A1%20%26%20more&at=1795773600&p=x%20y"},
		},
		"no body": {
			config: settings{"method": "DELETE", "url": "/{{.message_id}}"},
			want:   request{method: "DELETE", uri: "/msg_1", header: http.Header{"Content-Type": {""}, "Content-Length": {""}}},
		},
		"json": {
			config: settings{"body": settings{"json": `{"to": {{json .recipient}}, "text": {{json .text}}, "n": {{number .attributes.n}}, "all": {{json .attributes}}}`}},
			edit:   func(m *sdk.Message) { m.Attributes = map[string]string{"n": "12.5"} },
			want: request{
				method: "POST", header: http.Header{"Content-Type": {"application/json"}},
				body: `{"to": "+8613800138000", "text": "say \"hi\"\n短信 & more", "n": 12.5, "all": {"n":"12.5"}}`,
			},
		},
		"form": {
			config: settings{"method": "PUT", "body": settings{"form": settings{"To": "{{.recipient}}", "Body": "{{.text}}", "a b": "1"}}},
			want: request{
				method: "PUT", header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
				body: `Body=say%20%22hi%22%0A%E7%9F%AD%E4%BF%A1%20%26%20more&To=%2B8613800138000&a%20b=1`,
			},
		},
		"text": {
			config: settings{"body": settings{"text": "{{.subject}}: {{.text | trim | upper}}"}},
			want:   request{header: http.Header{"Content-Type": {"text/plain; charset=utf-8"}}, body: "Hello: SAY \"HI\"\n短信 & MORE"},
		},
		"raw": {
			config: settings{"body": settings{"raw": "<to>{{html .recipient}}</to>", "content_type": "application/xml"}},
			edit:   func(m *sdk.Message) { m.Recipient = "<a>" },
			want:   request{header: http.Header{"Content-Type": {"application/xml"}}, body: "<to>&lt;a&gt;</to>"},
		},
		"another type of JSON": {
			config: settings{"body": settings{"json": "{}", "content_type": "application/vnd.api+json"}},
			want:   request{header: http.Header{"Content-Type": {"application/vnd.api+json"}}, body: "{}"},
		},
		"a template of the provider": {
			config: settings{"body": settings{"json": `{"id": {{json .template.id}}, "code": {{json .template.parameters.code}}}`}},
			edit: func(m *sdk.Message) {
				m.Template = &sdk.Template{ID: "SMS_1", Parameters: map[string]string{"code": "4711"}}
			},
			want: request{body: `{"id": "SMS_1", "code": "4711"}`},
		},
		"attachments": {
			config: settings{"body": settings{"json": `[{{range $i, $a := .attachments}}{{if $i}},{{end}}{{json $a.name}},{{json $a.data}},{{json $a.url}}{{end}}]`}},
			edit: func(m *sdk.Message) {
				m.Attachments = []sdk.Attachment{{Name: "a.txt", Data: []byte("hi")}, {Name: "b.png", URL: "https://example.com/b.png"}}
			},
			want: request{body: `["a.txt","aGk=","","b.png","","https://example.com/b.png"]`},
		},
		"headers": {
			config: settings{
				"headers":        settings{"X-Id": "{{.message_id}}", "x-lower": "{{index .attributes \"none\" | default \"d\"}}", "X-Time": `{{(in "Asia/Shanghai" .now).Format "2006-01-02 15:04"}}`},
				"secret_headers": settings{"X-Key": "s3cret-key"}, "idempotency_header": "Idempotency-Key",
				"auth": settings{"bearer": "s3cret-token"},
			},
			want: request{header: http.Header{
				"X-Id": {"msg_1"}, "X-Lower": {"d"}, "X-Key": {"s3cret-key"}, "Idempotency-Key": {"key-1"},
				"Authorization": {"Bearer s3cret-token"}, "X-Time": {"2026-11-27 18:00"},
			}},
		},
		"basic authentication": {
			config: settings{"auth": settings{"username": "Aladdin", "password": "open sesame"}},
			want:   request{header: http.Header{"Authorization": {"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="}}}, // the example of RFC 2617
		},
		"a signed body": {
			config: settings{"body": settings{"text": "what do ya want for nothing?"}, "signature": settings{"secret": "Jefe"}},
			want: request{header: http.Header{ // test case 2 of RFC 4231
				"X-Signature": {"5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
			}},
		},
		"a signature with time": {
			config: settings{"body": settings{"text": "x"}, "signature": settings{
				"secret": "4a656665", "secret_encoding": "hex", "timestamp_header": "X-Time", "timestamp_format": "unix_ms", "prefix": "sha256=",
			}},
			want: request{header: http.Header{
				"X-Time":      {"1795773600000"},
				"X-Signature": {"sha256=" + hexOf(digestOf("Jefe", "1795773600000.x"))},
			}},
		},
		"a digest of one's own": {
			config: settings{
				"secrets": settings{"k": "Jefe"}, "body": settings{"text": "what do ya want for nothing?"},
				"headers": settings{"X-Sign": "{{hmac_sha256 .secrets.k .body | base64}}", "X-Path": "{{.method}} {{.path}}?{{.query}}"}, "url": "/a b?c=d",
			},
			want: request{header: http.Header{"X-Sign": {"W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM="}, "X-Path": {"POST /a%20b?c=d"}}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := provide(t, nil)
			path, _ := c.config["url"].(string)
			conn := connect(t, with(c.config, settings{"url": p.URL + orElse(path, "/")}))
			m := message()
			if c.edit != nil {
				c.edit(m)
			}
			if _, err := conn.Send(t.Context(), m); err != nil {
				t.Fatal(err)
			}
			got := p.last(t)
			if c.want.method != "" && got.method != c.want.method {
				t.Errorf("method %s, want %s", got.method, c.want.method)
			}
			if c.want.uri != "" && got.uri != c.want.uri {
				t.Errorf("URI  %s\nwant %s", got.uri, c.want.uri)
			}
			if c.want.body != "" && got.body != c.want.body {
				t.Errorf("body %s\nwant %s", got.body, c.want.body)
			}
			for key, want := range c.want.header {
				if got.header.Get(key) != want[0] {
					t.Errorf("%s: %q, want %q", key, got.header.Get(key), want[0])
				}
			}
		})
	}
}

func digestOf(key, text string) string {
	return functions["hmac_sha256"].(func(string, string) string)(key, text)
}

func hexOf(text string) string { return functions["hex"].(func(string) string)(text) }

// The signature that the library of Standard Webhooks makes of its own example.
func TestStandardWebhooks(t *testing.T) {
	s, err := compileSigner("signature", &signatureConfig{
		Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", SecretEncoding: "base64", Header: "webhook-signature",
		TimestampHeader: "webhook-timestamp", Prefix: "v1,", Encoding: "base64",
		Content: "{{.message_id}}.{{.timestamp}}.{{.body}}",
	}, requestSamples(&config{}))
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.sign(fields{"message_id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "timestamp": "1614265330", "body": `{"test": 2432232314}`})
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

// A message of which no request can be made is rejected, and nothing is sent.
func TestUnfitMessage(t *testing.T) {
	for name, c := range map[string]struct {
		config settings
		edit   func(*sdk.Message)
		code   string
		says   string
	}{
		"an attribute is missing": {
			config: settings{"body": settings{"json": "{\n\"sign\": {{json .attributes.sign}}}"}},
			code:   codeInvalidMessage, says: `template body.json: line 2, column 27: <.attributes.sign>: there is no "sign"`,
		},
		"not a number": {
			config: settings{"body": settings{"json": `{"n": {{number .attributes.n}}}`}},
			edit:   func(m *sdk.Message) { m.Attributes = map[string]string{"n": `1, "to": 2`} },
			code:   codeInvalidMessage, says: `"1, \"to\": 2" is no number`,
		},
		"a line break in a header": {
			config: settings{"headers": settings{"X-Subject": "{{.subject}}"}},
			edit:   func(m *sdk.Message) { m.Subject = "a\r\nX-Evil: b" },
			code:   codeInvalidMessage, says: "headers.X-Subject would hold a line break",
		},
		"up in the path": {
			config: settings{"url": "/users/{{.recipient}}/send"},
			edit:   func(m *sdk.Message) { m.Recipient = ".." },
			code:   codeInvalidMessage, says: "url makes a URL with . or .. in its path",
		},
		"attachments": {
			config: settings{"body": settings{"text": "{{.text}}"}},
			edit:   func(m *sdk.Message) { m.Attachments = []sdk.Attachment{{Name: "a"}} },
			code:   codeNoAttachments, says: "no template of the connector inserts .attachments",
		},
		"no JSON after all": {
			config: settings{"body": settings{"json": `{{if eq .subject "Hello"}}{"a":{{else}}{}{{end}}`}},
			code:   codeInvalidMessage, says: "body.json makes no JSON of this message: it ends too early",
		},
		"an attribute is missing in a form": {
			config: settings{"body": settings{"form": settings{"a": "{{.attributes.a}}"}}},
			code:   codeInvalidMessage, says: "template body.form.a: line 1",
		},
		"an attribute is missing in a header": {
			config: settings{"headers": settings{"A": "{{.attributes.a}}"}},
			code:   codeInvalidMessage, says: "template headers.A: line 1",
		},
		"an attribute is missing in the URL": {
			config: settings{"url": "/{{.attributes.a}}"},
			code:   codeInvalidMessage, says: "template url: line 1",
		},
		"an attribute is missing in what is signed": {
			config: settings{"signature": settings{"secret": "secret", "content": "{{.attributes.a}}"}},
			code:   codeInvalidMessage, says: "template signature.content: line 1",
		},
		"too long": {
			config: settings{"body": settings{"text": strings.Repeat("{{.text}}", 17)}},
			edit:   func(m *sdk.Message) { m.Plain = strings.Repeat("x", 1<<20) },
			code:   codeInvalidMessage, says: "more than 16 MiB",
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := provide(t, nil)
			path, _ := c.config["url"].(string)
			conn := connect(t, with(c.config, settings{"url": p.URL + path}))
			m := message()
			if c.edit != nil {
				c.edit(m)
			}
			_, err := conn.Send(t.Context(), m)
			if want := "rejected " + c.code + "  message"; told(err) != want || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %s: %v\nwant %s: %s", told(err), err, want, c.says)
			}
			if n := len(p.all()); n > 0 {
				t.Errorf("%d requests were sent", n)
			}
		})
	}
}

// A template may tell the provider where to call back, as the gateway says.
func TestCallbackURL(t *testing.T) {
	p := provide(t, nil)
	contexts := make(chan context.Context, 1)
	var opened *connector
	plugin := plugin()
	plugin.Open = func(ctx context.Context, c config) (_ sdk.Sender, err error) {
		contexts <- ctx
		opened, err = open(c)
		return opened, err
	}
	server := sdk.NewServer(plugin)
	server.LogTo(io.Discard)
	defer server.Close()
	resp, err := server.Configure(t.Context(), &channelv1.ConfigureRequest{
		Connector: "sms/main", Revision: 1, CallbackUrl: "https://gateway.example.com/callbacks/sms/main",
		Config: []byte(`{"url": "` + p.URL + `", "body": {"form": {"StatusCallback": "{{.callback_url}}/status"}}}`),
	})
	if err != nil || len(resp.GetDiagnostics()) > 0 {
		t.Fatalf("%v, %v", resp, err)
	}
	if _, err := opened.Send(context.WithoutCancel(<-contexts), message()); err != nil {
		t.Fatal(err)
	}
	if got, want := p.last(t).body, "StatusCallback=https%3A%2F%2Fgateway.example.com%2Fcallbacks%2Fsms%2Fmain%2Fstatus"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A key that cannot stand in a header is the message's fault, and nothing is sent.
func TestIdempotencyKeyWithLineBreak(t *testing.T) {
	p := provide(t, nil)
	conn := connect(t, settings{"url": p.URL, "idempotency_header": "Idempotency-Key"})
	_, err := conn.Send(t.Context(), message(func(m *sdk.Message) { m.IdempotencyKey = "a\nb" }))
	if want := "rejected invalid_message  message"; told(err) != want || len(p.all()) > 0 {
		t.Errorf("got %q with %d requests, want %q with none", told(err), len(p.all()), want)
	}
}
