package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/function"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Whatever is wrong with a config is named at its place, with what to do about it.
func TestBadConfig(t *testing.T) {
	callback := func(edits settings) settings {
		return settings{"callback": with(settings{"unverified": true, "receipts": receiptsOf}, edits)}
	}
	receipts := func(edits settings) settings { return callback(settings{"receipts": with(receiptsOf, edits)}) }
	inbound := func(edits settings) settings {
		return callback(settings{"inbound": with(settings{"id": "i", "from": "f", "text": "t"}, edits)})
	}
	ok := settings{"codes": []string{"0"}, "outcome": "accepted"}
	answer := func(edits settings) settings {
		return settings{"answer": with(settings{"code": "c", "results": []settings{ok}}, edits)}
	}
	for name, c := range map[string]struct {
		config settings
		want   []string // beginnings of the diagnostics, in their order
	}{
		"no scheme":              {settings{"url": "example.com/x"}, []string{"url: does not begin with https:// and a host"}},
		"no host":                {settings{"url": "https:///x"}, []string{"url: does not begin with"}},
		"no URL":                 {settings{"url": "https://a b/"}, []string{"url: is no URL"}},
		"credentials":            {settings{"url": "https://u:p@example.com/"}, []string{"url: holds credentials; put them into auth"}},
		"a templated host":       {settings{"url": "https://{{.recipient}}/"}, []string{"url: does not begin with"}},
		"a templated domain":     {settings{"url": "https://a.{{.recipient}}/"}, []string{"url: has a template before its path"}},
		"a templated port":       {settings{"url": "https://a:8{{.recipient}}/"}, []string{"url: has a template before its path"}},
		"in clear":               {settings{"url": "http://sms.example.com/"}, []string{"url: sends credentials and messages in clear; use https://, or set without_tls"}},
		"a fragment":             {settings{"url": "https://example.com/{{.text}}#x"}, []string{"url: url makes a URL with a fragment"}},
		"up":                     {settings{"url": "https://example.com/../x"}, []string{"url: url makes a URL with . or .."}},
		"bad escapes":            {settings{"url": "https://example.com/{{.text}}%zz"}, []string{"url: url makes no URL"}},
		"a template unclosed":    {settings{"url": "https://example.com/{{.text"}, []string{"url: template: line 1: unclosed action; functions: base64, "}},
		"a field misspelt":       {settings{"url": "https://example.com/{{.recipent}}"}, []string{`url: template: line 1, column 23: <.recipent>: there is no "recipent"; fields here: account, attachments, attempt,`}},
		"a function misspelt":    {settings{"body": settings{"text": "a\nb {{jason .text}}"}}, []string{`body.text: template: line 2: function "jason" not defined; functions: `}},
		"a secret misspelt":      {settings{"secrets": settings{"key": "x3cret"}, "headers": settings{"A": "{{.secrets.kay}}"}}, []string{`headers.A: template: line 1, column 11: <.secrets.kay>: there is no "kay"`}},
		"a message in a check":   {settings{"check_url": "https://example.com/{{.recipient}}"}, []string{`check_url: template: line 1, column 23: <.recipient>: there is no "recipient"; fields here: now, secrets, timestamp`}},
		"a zone misspelt":        {settings{"body": settings{"text": `{{in "Asia/Shangai" .now}}`}}, []string{`body.text: template: line 1, column 3: <in "Asia/Shangai" .now>: error calling in: time zone "Asia/Shangai" is unknown`}},
		"quotes":                 {settings{"body": settings{"json": "{\n\"text\": \"{{.text}}\"}"}}, []string{`body.json: makes no JSON of a message whose texts hold quotes and line breaks: line 2 of the result: invalid character '5' after object key:value pair; insert texts with {{json .text}}`}},
		"an attribute in quotes": {settings{"body": settings{"json": `{"text": {{json .text}}, "sign": "{{index .attributes "sign"}}"}`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes and line breaks: line 1`}},
		"by a variable":          {settings{"body": settings{"json": `{{$name := "sign"}}{"sign": "{{index .attributes $name}}"}`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes`}},
		"a parameter in quotes":  {settings{"body": settings{"json": `{"code": "{{index .template.parameters "code"}}"}`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes`}},
		"names in quotes":        {settings{"body": settings{"json": `{ {{range $k, $v := .attributes}}"{{$k}}": {{json $v}},{{end}} "a": 1}`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes`}},
		"an attachment's URL":    {settings{"body": settings{"json": `[{{range .attachments}}"{{.url}}",{{end}}0]`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes`}},
		"an attachment's type":   {settings{"body": settings{"json": `[{{range .attachments}}"{{.content_type}}",{{end}}0]`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes`}},
		"an attachment's id":     {settings{"body": settings{"json": `[{{range .attachments}}"{{.content_id}}",{{end}}0]`}}, []string{`body.json: makes no JSON of a message whose texts hold quotes`}},
		"an empty value":         {settings{"body": settings{"json": `{"n": {{if .subject}}1{{end}}}`}}, []string{"body.json: makes no JSON of a message whose optional fields are empty: line 1"}},
		"JSON cut short":         {settings{"body": settings{"json": `{"n": 1`}}, []string{"body.json: makes no JSON of a message whose texts hold quotes and line breaks: it ends too early"}},
		"no JSON":                {settings{"body": settings{"json": `{{/* nothing */}}`}}, []string{"body.json: makes no JSON of a message whose texts hold quotes and line breaks: it is empty"}},
		"two values":             {settings{"body": settings{"json": "1\n2"}}, []string{"body.json: makes no JSON of a message whose texts hold quotes and line breaks: line 1 of the result: something follows the value"}},
		"two bodies":             {settings{"body": settings{"json": "1", "text": "x"}}, []string{"body: holds json and text at once; give one of"}},
		"no body":                {settings{"body": settings{}}, []string{"body: holds nothing"}},
		"a body with GET":        {settings{"method": "GET", "body": settings{"text": "x"}}, []string{"body: GET has no body"}},
		"raw without type":       {settings{"body": settings{"raw": "x"}}, []string{"body.content_type: is missing for raw"}},
		"no media type":          {settings{"body": settings{"raw": "x", "content_type": "a b"}}, []string{`body.content_type: "a b" is no media type`}},
		"a form field":           {settings{"body": settings{"form": settings{"a": "{{.x}}", "b": "{{"}}}, []string{"body.form.a: template: line 1", "body.form.b: template: line 1"}},
		"headers": {settings{"headers": settings{"a b": "", "Content-Type": "x", "host": "x", "ok": ""}}, []string{
			"headers.Content-Type: Content-Type has a field of its own", `headers.a b: "a b" is no name of a header`, "headers.host: host belongs to the connection",
		}},
		"secret headers": {settings{"secret_headers": settings{"A": "s3cret\n", "b c": "s3cret"}}, []string{
			"secret_headers.A: holds a line break", `secret_headers.b c: "b c" is no name`, // as the SDK orders them
		}},
		"an idempotency header": {settings{"idempotency_header": "a:b"}, []string{`idempotency_header: "a:b" is no name`}},
		"headers set twice": {settings{"headers": settings{"authorization": "x", "X-Signature": "x", "x-a": "1"}, "secret_headers": settings{"X-A": "s3cret"}, "auth": settings{"bearer": "s3cret"}, "signature": settings{"secret": "s3cret"}}, []string{
			"headers.X-Signature: X-Signature is set by signature.header as well", "headers.authorization: authorization is set by auth as well", "headers.x-a: x-a is set by secret_headers.X-A as well",
		}},
		"no login":           {settings{"auth": settings{}}, []string{"auth: has neither bearer nor username"}},
		"two logins":         {settings{"auth": settings{"bearer": "s3cret", "username": "u"}}, []string{"auth: has a bearer token and a user"}},
		"a colon":            {settings{"auth": settings{"username": "a:b"}}, []string{"auth.username: holds a colon"}},
		"a token with lines": {settings{"auth": settings{"bearer": "s3cret\n"}}, []string{"auth.bearer: holds a line break"}},
		"a key": {settings{"signature": settings{"secret": "s3cret!", "secret_encoding": "hex", "header": "a b", "timestamp_header": "c d", "content": "{{.x}}"}}, []string{
			"signature.secret: is not written in hex", `signature.header: "a b" is no name`, `signature.timestamp_header: "c d" is no name`, `signature.content: template: line 1`,
		}},
		"another key": {settings{"signature": settings{"secret": "s3cret!", "secret_encoding": "base64"}}, []string{"signature.secret: is not written in base64"}},
		"statuses": {settings{"status": settings{"accepted": []string{"2xx", "x"}, "rejected": []string{"99", "500-400", "200-299", "600"}, "uncertain": []string{"4xx-5"}}}, []string{
			`status.accepted[1]: "x" is no status; write "404", "500-599" or "5xx"`, `status.rejected[0]: "99" is not within`, "status.rejected[1]: the range ends before it begins",
			"status.rejected[2]: 200 is in status.accepted as well", `status.rejected[3]: "600" is not within`, `status.uncertain[0]: "4xx-5" is no status`,
		}},
		"nothing is accepted":  {answer(settings{"results": []settings{{"codes": []string{"1"}, "outcome": "rejected"}}}), []string{"answer.results: no code means accepted"}},
		"results without code": {answer(settings{"code": ""}), []string{"answer.code: is missing for results"}},
		"a code":               {answer(settings{"results": []settings{ok, {"codes": []string{"1"}, "outcome": "rejected", "code": "Bad Number"}}}), []string{`answer.results[1].code: "Bad Number" is no code`}},
		"paths":                {answer(settings{"id": ".", "code": "a[", "message": "a..b", "retry_after": "[x]"}), []string{"answer.id: expected a name at character 1; write it as data.items[0].id", "answer.code: a bracket", "answer.message: expected", "answer.retry_after: expected"}},
		"a cost without money": {answer(settings{"cost": "price"}), []string{"answer.currency: goes with cost"}},
		"paths of the bill":    {answer(settings{"segments": ".", "cost": "a[", "currency": "b["}), []string{"answer.segments: expected", "answer.cost: a bracket", "answer.currency: a bracket"}},
		"a pattern for JSON":   {answer(settings{"pattern": "x"}), []string{"answer.pattern: is for a text"}},
		"no pattern":           {answer(settings{"format": "text"}), []string{"answer.pattern: is missing for a text"}},
		"a bad pattern":        {answer(settings{"format": "text", "pattern": "("}), []string{"answer.pattern: error parsing regexp: missing closing )"}},
		"a pattern unnamed":    {answer(settings{"format": "text", "pattern": "(x)"}), []string{"answer.pattern: has no named group"}},
		"not verified":         {callback(settings{"unverified": false}), []string{"callback: is not verified: whoever knows its address could forge receipts; give token"}},
		"no token":             {callback(settings{"token_header": "X"}), []string{"callback.token: is missing"}},
		"a token nowhere":      {callback(settings{"token": "s3cret"}), []string{"callback.token: stands nowhere, or in two places"}},
		"a user alone":         {callback(settings{"username": "u"}), []string{"callback.password: needs username"}},
		"a signature":          {callback(settings{"signature": settings{"secret": "s3cret", "content": "{{.text}}"}}), []string{`callback.signature.content: template: line 1, column 3: <.text>: there is no "text"; fields here: body, headers,`}},
		"nothing to bring":     {settings{"callback": settings{"unverified": true}}, []string{"callback: brings neither receipts nor inbound"}},
		"a body in GET":        {callback(settings{"method": "GET"}), []string{`callback.format: a GET has no body; set format = "query"`}},
		"a callback's pattern": {callback(settings{"pattern": "x"}), []string{"callback.pattern: is for a text"}},
		"receipts": {receipts(settings{"id": "", "path": "status", "items": "a[", "match": settings{"..": "x"}, "time_zone": "Mars", "time_format": "then", "statuses": settings{"A": "deliverd"}}), []string{
			"callback.receipts.items: a bracket", "callback.receipts.path: does not begin with /", "callback.receipts.match", `callback.receipts.time_zone: "Mars" is no time zone`,
			`callback.receipts.time_format: "then" is no layout of Go`, "callback.receipts.id: is missing", `callback.receipts.statuses.A: "deliverd" is no status; one of: delivered,`,
		}},
		"inbound":             {inbound(settings{"from": "a[", "to": "."}), []string{"callback.inbound.from: a bracket", "callback.inbound.to: expected"}},
		"inbound without key": {inbound(settings{"id": ""}), []string{"callback.inbound.id: is missing; give the path of the provider's id, or time"}},
		"no authority":        {settings{"tls_ca": "x"}, []string{"tls_ca: holds no certificate"}},
		"a certificate only":  {settings{"tls_cert": "x"}, []string{"tls_cert: needs tls_key"}},
		"a pair that is none": {settings{"tls_cert": "x", "tls_key": "s3cret"}, []string{"tls_cert: does not go with tls_key: tls: failed to find any PEM data"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := diagnose(t, with(settings{"url": "https://example.com/"}, c.config))
			if len(got) != len(c.want) {
				t.Fatalf("got %q", got)
			}
			for i, want := range c.want {
				if !strings.HasPrefix(got[i], want) || strings.Contains(got[i], "s3cret") {
					t.Errorf("got  %s\nwant %s", got[i], want)
				}
			}
		})
	}
}

// A template may read attributes and parameters of any name, wherever it stands.
func TestGoodTemplates(t *testing.T) {
	for _, source := range []string{
		`{"a": {{json .attributes.any}}, "b": {{json (index .attributes "other")}}}`,
		`{{with .attributes}}{"a": {{json .any}}}{{end}}`,
		`{"a": [{{range $k, $v := .attributes}}{{json $k}},{{end}}0]}`,
		`{"a": {{json $.template.parameters.any}}, "b": {{json (.attributes).any}}}`,
		`{{define "part"}}{{json .attributes.deep}}{{end}}{"a": {{template "part" .}}}`,
		`{"a": {{if .html}}{{json .html}}{{else}}{{json .text}}{{end}}, "n": {{number .attributes.n}}}`,
		`{"a": [{{range .attachments}}{{json .url}}, {"data": "{{.data}}", "type": {{json .content_type}}},{{end}}0], "c": {{json .callback_url}}}`,
		`{"t": {{.now.UnixMilli}}, "d": {{json (.now.Format "20060102")}}, "u": {{json (slice .recipient 1)}}, "n": {{json .nonce}}}`,
		`{"h": {{json (hmac_sha1 "k" .text | base64url)}}, "s": {{json (sha1 .text | hex)}}, "x": {{json (sha256 .text | hex | lower)}}, "r": {{json (replace "a" "b" .text | trim_prefix "x")}}}`,
	} {
		if got := diagnose(t, settings{"url": "https://example.com/", "body": settings{"json": source}}); len(got) > 0 {
			t.Errorf("%s: %q", source, got)
		}
	}
	for _, source := range []string{
		"http://localhost:80/{{.text}}", "http://[::1]/{{if .html}}{{.html}}{{end}}", "https://example.com?x={{$x := .text}}{{$x}}&y={{.text | urlquery}}",
		"https://example.com/{{range .attachments}}{{.name}}{{end}}",
	} {
		if got := diagnose(t, settings{"url": source}); len(got) > 0 {
			t.Errorf("%s: %q", source, got)
		}
	}
	if got := diagnose(t, settings{"url": "http://sms.example.com/", "without_tls": true}); len(got) > 0 {
		t.Errorf("without TLS: %q", got)
	}
}

// The examples are sound, those of the README too.
func TestExamples(t *testing.T) {
	files, err := filepath.Glob("../../examples/http/*.hcl")
	if err != nil || len(files) == 0 {
		t.Fatalf("no examples: %v", err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		checkExample(t, file, source)
	}
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?s)```hcl\n(connector .*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) < 3 {
		t.Errorf("README.md has %d examples", len(blocks))
	}
	for i, b := range blocks {
		checkExample(t, fmt.Sprintf("README.md example %d", i+1), b[1])
	}
}

// checkExample validates each connector in a configuration file.
func checkExample(t *testing.T, name string, source []byte) {
	t.Helper()
	file, diagnostics := hclsyntax.ParseConfig(source, name, hcl.InitialPos)
	if diagnostics.HasErrors() {
		t.Fatal(diagnostics)
	}
	for _, b := range file.Body.(*hclsyntax.Body).Blocks {
		if b.Type != "connector" {
			continue
		}
		for _, inner := range b.Body.Blocks {
			if inner.Type != "config" {
				continue
			}
			if got := diagnose(t, tree(t, inner.Body)); len(got) > 0 {
				t.Errorf("%s: %s", name, strings.Join(got, "\n"))
			}
		}
	}
}

// tree reads a block as the gateway does; every variable is set to something.
func tree(t *testing.T, body *hclsyntax.Body) settings {
	t.Helper()
	env := function.New(&function.Spec{
		Params: []function.Parameter{{Name: "name", Type: cty.String}}, Type: function.StaticReturnType(cty.String),
		Impl: func([]cty.Value, cty.Type) (cty.Value, error) { return cty.StringVal("whsec_c2VjcmV0"), nil },
	})
	scope := &hcl.EvalContext{Functions: map[string]function.Function{"env": env}}
	out := settings{}
	for key, a := range body.Attributes {
		value, diagnostics := a.Expr.Value(scope)
		if diagnostics.HasErrors() {
			t.Fatal(diagnostics)
		}
		text, err := ctyjson.Marshal(value, value.Type())
		if err != nil {
			t.Fatal(err)
		}
		out[key] = json.RawMessage(text)
	}
	for _, b := range body.Blocks {
		out[b.Type] = tree(t, b.Body)
	}
	return out
}
