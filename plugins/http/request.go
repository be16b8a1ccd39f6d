package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"

	"github.com/pigeonry/pigeonry/sdk"
)

// writer makes the request for a message.
type writer struct {
	method      string
	to          *address
	check       *address // nil: none
	headers     []headerTemplate
	constant    http.Header // credentials
	body        *body
	signer      *signer // nil: none
	idempotency string  // header; empty: none
	secrets     map[string]string
	attachments bool // some template has a place for them
}

type headerTemplate struct {
	name  string
	value *tmpl
}

// compileWriter reads all that makes a request.
func compileWriter(c *config) (*writer, error) {
	w := &writer{method: c.Method, idempotency: c.IdempotencyHeader, secrets: reveal(c.Secrets)}
	var faults problems
	var err error
	w.to, err = compileAddress("url", c.URL, c.WithoutTLS, messageSamples(c))
	faults.note(err)
	if c.CheckURL != "" {
		w.check, err = compileAddress("check_url", c.CheckURL, c.WithoutTLS, checkSamples(c))
		faults.note(err)
	}
	w.body, err = compileBody(c)
	faults.note(err)
	w.headers, err = compileHeaders(c)
	faults.note(err)
	w.constant, err = compileConstant(c)
	faults.note(err)
	if c.Signature != nil {
		w.signer, err = compileSigner("signature", c.Signature, requestSamples(c))
		faults.note(err)
	}
	faults.note(checkTwice(c))
	if err := faults.err(); err != nil {
		return nil, err
	}
	for _, t := range w.templates() {
		w.attachments = w.attachments || t.reads("attachments") || t.reads("message")
	}
	return w, nil
}

// templates lists those that are rendered for a message.
func (w *writer) templates() []*tmpl {
	out := append(w.body.templates(), w.to.tmpl)
	for _, h := range w.headers {
		out = append(out, h.value)
	}
	return out
}

func compileHeaders(c *config) ([]headerTemplate, error) {
	var out []headerTemplate
	var faults problems
	for _, key := range slices.Sorted(maps.Keys(c.Headers)) {
		field := "headers." + key
		if err := checkHeaderName(field, key); err != nil {
			faults.note(err)
			continue
		}
		t, err := compile(field, c.Headers[key], requestSamples(c))
		faults.note(err)
		out = append(out, headerTemplate{key, t})
	}
	return out, faults.err()
}

// compileConstant makes the headers that are the same for every request.
func compileConstant(c *config) (http.Header, error) {
	out := make(http.Header)
	var faults problems
	for _, key := range slices.Sorted(maps.Keys(c.SecretHeaders)) {
		field, value := "secret_headers."+key, c.SecretHeaders[key].Reveal()
		faults.note(checkHeaderName(field, key))
		if !httpguts.ValidHeaderFieldValue(value) {
			faults.add(field, "holds a line break or another control character", "check the file or variable that it comes from")
		}
		out.Set(key, value)
	}
	if c.IdempotencyHeader != "" {
		faults.note(checkHeaderName("idempotency_header", c.IdempotencyHeader))
	}
	if c.Auth == nil {
		return out, faults.err()
	}
	authorization, err := c.Auth.header()
	faults.note(err)
	out.Set("Authorization", authorization)
	return out, faults.err()
}

// header makes the value of the Authorization header.
func (a *authConfig) header() (string, error) {
	switch {
	case a.Bearer != "" && (a.Username != "" || a.Password != ""):
		return "", sdk.FieldError("auth", "has a bearer token and a user", "give one of them")
	case a.Bearer != "":
		if !httpguts.ValidHeaderFieldValue(a.Bearer.Reveal()) {
			return "", sdk.FieldError("auth.bearer", "holds a line break or another control character", "check the file or variable that it comes from")
		}
		return "Bearer " + a.Bearer.Reveal(), nil
	case a.Username == "":
		return "", sdk.FieldError("auth", "has neither bearer nor username", "give one of them, or leave auth out")
	case strings.Contains(a.Username, ":"):
		return "", sdk.FieldError("auth.username", "holds a colon, which basic authentication cannot carry", "ask the provider for another name")
	default:
		return "Basic " + basic(a.Username, a.Password), nil
	}
}

func basic(username string, password sdk.Secret) string {
	return base64.StdEncoding.EncodeToString([]byte(username + ":" + password.Reveal()))
}

// checkTwice finds headers that two fields would set.
func checkTwice(c *config) error {
	var faults problems
	owner := make(map[string]string)
	claim := func(field, header string) {
		if header == "" {
			return
		}
		key := http.CanonicalHeaderKey(header)
		if other, taken := owner[key]; taken {
			faults.add(field, header+" is set by "+other+" as well", "set it once")
		}
		owner[key] = field
	}
	if c.Auth != nil {
		claim("auth", "Authorization")
	}
	if c.Signature != nil {
		claim("signature.header", c.Signature.Header)
		claim("signature.timestamp_header", c.Signature.TimestampHeader)
	}
	claim("idempotency_header", c.IdempotencyHeader)
	for _, key := range slices.Sorted(maps.Keys(c.SecretHeaders)) {
		claim("secret_headers."+key, key)
	}
	for _, key := range slices.Sorted(maps.Keys(c.Headers)) {
		claim("headers."+key, key)
	}
	return faults.err()
}

// timestampFormat is how the field timestamp is written.
func (w *writer) timestampFormat() string {
	if w.signer == nil {
		return unixSeconds
	}
	return w.signer.timestampFormat
}

// write makes the request for a message. An error means that nothing was sent.
func (w *writer) write(ctx context.Context, m *sdk.Message, now time.Time) (*http.Request, []byte, error) {
	if len(m.Attachments) > 0 && !w.attachments {
		return nil, nil, sdk.Permanent(errors.New("the message has attachments, and no template of the connector inserts .attachments"),
			sdk.Code(codeNoAttachments))
	}
	data := commonFields(now, w.timestampFormat(), w.secrets)
	messageFields(data, m, sdk.CallbackURL(ctx))
	to, err := w.to.resolve(data)
	if err != nil {
		return nil, nil, invalid(err)
	}
	content, err := w.body.render(data)
	if err != nil {
		return nil, nil, invalid(err)
	}
	req, err := http.NewRequestWithContext(ctx, w.method, to.String(), http.NoBody)
	if err != nil { // the address has been parsed already
		return nil, nil, invalid(errors.New(w.to.field + " makes no URL"))
	}
	if w.body != nil {
		req.Header.Set("Content-Type", w.body.contentType)
	}
	requestFields(data, to, w.method, string(content))
	if err := w.head(req, data, m); err != nil {
		return nil, nil, invalid(err)
	}
	return req, content, nil
}

func invalid(err error) error { return sdk.Permanent(err, sdk.Code(codeInvalidMessage)) }

// head sets the headers.
func (w *writer) head(req *http.Request, data fields, m *sdk.Message) error {
	maps.Copy(req.Header, w.constant)
	for _, h := range w.headers {
		value, err := h.value.render(data)
		if err != nil {
			return err
		}
		if !httpguts.ValidHeaderFieldValue(value) {
			return fmt.Errorf("%s would hold a line break or another control character", h.value.field)
		}
		req.Header.Set(h.name, value)
	}
	if w.idempotency != "" {
		if !httpguts.ValidHeaderFieldValue(m.IdempotencyKey) {
			return errors.New("the idempotency key holds a line break or another control character")
		}
		req.Header.Set(w.idempotency, m.IdempotencyKey)
	}
	return w.sign(req, data)
}

func (w *writer) sign(req *http.Request, data fields) error {
	if w.signer == nil {
		return nil
	}
	signature, err := w.signer.sign(data)
	if err != nil {
		return err
	}
	req.Header.Set(w.signer.header, signature)
	if w.signer.timestampHeader != "" {
		stamp, _ := data["timestamp"].(string)
		req.Header.Set(w.signer.timestampHeader, stamp)
	}
	return nil
}

// writeCheck makes the request of a check. It has the credentials and no message.
func (w *writer) writeCheck(ctx context.Context, now time.Time) (*http.Request, error) {
	to, err := w.check.resolve(commonFields(now, unixSeconds, w.secrets))
	if err != nil {
		return nil, invalid(err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, to.String(), http.NoBody)
	if err != nil {
		return nil, invalid(errors.New("check_url makes no URL"))
	}
	maps.Copy(req.Header, w.constant)
	return req, nil
}

// server is where messages go, for a check that asks nothing.
func (w *writer) server() *url.URL { return &url.URL{Scheme: w.to.scheme, Host: w.to.host} }
