package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"html/template"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// unsubscribeConfig makes the headers by which a mail program unsubscribes its user with one click (RFC 8058).
type unsubscribeConfig struct {
	URL    string     `cfg:"url" doc:"Where the click goes, over https. {token} names mail and recipient, and is signed; {message_id} and {recipient} may stand there, too. Default: the connector's own callback URL below the gateway's public_url, e.g. https://messages.example.com/callbacks/email/main/unsubscribe?token={token}"`
	Secret sdk.Secret `cfg:"secret,required,min=16" doc:"Signs the tokens. Keep it for as long as mails may lie in mailboxes."`
	Mailto string     `cfg:"mailto" doc:"Address for programs that unsubscribe by mail instead."`
	Always bool       `cfg:"always,default=true" doc:"Every mail has the headers but those with the attribute unsubscribe = \"false\". false: only those with unsubscribe = \"true\"."`
}

// Parts of RFC 8058.
const (
	headerUnsubscribe     = "List-Unsubscribe"
	headerUnsubscribePost = "List-Unsubscribe-Post"
	oneClickName          = "List-Unsubscribe"
	oneClickValue         = "One-Click"
)

const (
	placeToken     = "{token}"
	placeMessageID = "{message_id}"
	placeRecipient = "{recipient}"
)

// unsubscriber makes the links of a connector and reads them again.
type unsubscriber struct {
	template string
	mailto   string // a mailto: URL; empty: none
	secret   []byte
	always   bool
}

// newUnsubscriber reads the config; nil where there is none. An error names its field.
func newUnsubscriber(c *unsubscribeConfig) (*unsubscriber, error) {
	if c == nil {
		return nil, nil
	}
	out := &unsubscriber{template: c.URL, secret: []byte(c.Secret.Reveal()), always: c.Always}
	var errs []error
	if c.URL != "" {
		if err := out.check(); err != nil {
			errs = append(errs, sdk.FieldError("unsubscribe.url", err.Error(), remedyUnsubscribe))
		}
	}
	if c.Mailto != "" {
		address, err := parseMailbox(strings.TrimPrefix(c.Mailto, "mailto:"))
		if err != nil {
			errs = append(errs, sdk.FieldError("unsubscribe.mailto", err.Error(), "write it as unsubscribe@example.com"))
		}
		out.mailto = (&url.URL{Scheme: "mailto", Opaque: url.PathEscape(address), RawQuery: "subject=unsubscribe"}).String()
	}
	return out, errors.Join(errs...)
}

const remedyUnsubscribe = "write it as https://messages.example.com/callbacks/email/main/unsubscribe?token={token}"

// at gives an unsubscriber without a URL the one below the connector's callback URL, as the gateway knows it.
func (u *unsubscriber) at(callbackURL string) error {
	if u == nil || u.template != "" {
		return nil
	}
	u.template = callbackURL + pathUnsubscribe + "?token=" + placeToken
	if err := u.check(); err != nil {
		return sdk.FieldError("unsubscribe.url", "is missing, and the gateway has no public_url that begins with https://", remedyUnsubscribe)
	}
	return nil
}

// check tries the template.
func (u *unsubscriber) check() error {
	if !strings.Contains(u.template, placeToken) {
		return errors.New("has no {token}")
	}
	link := u.link("1", "ann@example.com")
	parsed, err := url.Parse(link)
	switch {
	case err != nil || strings.ContainsAny(link, "<>, \t{}") || !printable(link):
		return errors.New("makes no URL")
	case parsed.Scheme != "https" || parsed.Host == "" || parsed.User != nil:
		return errors.New("does not begin with https:// and a host, as RFC 8058 asks")
	case !strings.Contains(u.template, parsed.Host) || strings.ContainsAny(u.template[:strings.Index(u.template, parsed.Host)+len(parsed.Host)], "{}"):
		return errors.New("has a {…} before its path")
	case parsed.Fragment != "":
		return errors.New("has a fragment, which no server sees")
	}
	return nil
}

// link is the URL of one mail to one recipient.
func (u *unsubscriber) link(messageID, recipient string) string {
	return strings.NewReplacer(
		placeToken, u.token(messageID, recipient),
		placeMessageID, url.QueryEscape(messageID),
		placeRecipient, url.QueryEscape(recipient),
	).Replace(u.template)
}

// tokenMAC is how many bytes of the HMAC a token carries: 128 bits, far beyond guessing.
const tokenMAC = 16

// token is <mac>.<message id>.<recipient>, each in base64url.
func (u *unsubscriber) token(messageID, recipient string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode(u.mac(messageID, recipient)) + "." + encode([]byte(messageID)) + "." + encode([]byte(recipient))
}

func (u *unsubscriber) mac(messageID, recipient string) []byte {
	h := hmac.New(sha256.New, u.secret)
	h.Write([]byte("unsubscribe\x00" + messageID + "\x00" + recipient))
	return h.Sum(nil)[:tokenMAC]
}

// claim is what a token says.
type claim struct{ mac, messageID, recipient string }

// read verifies a token.
func (u *unsubscriber) read(token string) (claim, bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 || len(token) > 2000 {
		return claim{}, false
	}
	var decoded [3]string
	for i, part := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(part)
		if err != nil {
			return claim{}, false
		}
		decoded[i] = string(b)
	}
	if !hmac.Equal([]byte(decoded[0]), u.mac(decoded[1], decoded[2])) {
		return claim{}, false
	}
	return claim{mac: parts[0], messageID: decoded[1], recipient: decoded[2]}, true
}

// find looks for a token of ours: it may be the last step of the path, or any parameter of the query.
func (u *unsubscriber) find(r *sdk.CallbackRequest) (claim, bool) {
	if c, ok := u.read(r.Path[strings.LastIndexByte(r.Path, '/')+1:]); ok {
		return c, true
	}
	query, err := url.ParseQuery(r.Query)
	if err != nil {
		return claim{}, false
	}
	for _, values := range query {
		for _, value := range values {
			if c, ok := u.read(value); ok {
				return c, true
			}
		}
	}
	return claim{}, false
}

// wanted says whether a message gets the headers.
func (u *unsubscriber) wanted(m *sdk.Message) (bool, error) {
	if u == nil {
		return false, nil
	}
	switch m.Attributes[attributeUnsubscribe] {
	case "":
		return u.always, nil
	case "true":
		return true, nil
	case "false":
		return false, nil
	default:
		return false, unfit("invalid_header", "attribute unsubscribe is neither true nor false")
	}
}

// header is the value of List-Unsubscribe for a message.
func (u *unsubscriber) header(m *sdk.Message) (string, error) {
	value := "<" + u.link(m.ID, m.Recipient) + ">"
	if u.mailto != "" {
		value += ", <" + u.mailto + ">"
	}
	if err := headerText(value); err != nil {
		return "", unfit("invalid_recipient", "the link to unsubscribe "+err.Error())
	}
	return value, nil
}

// unsubscribe answers a click. Only the POST of RFC 8058 section 3.2 unsubscribes: programs that look at the links of a
// mail make GETs, and get a page with a button.
func (c *connector) unsubscribe(r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events) {
	if c.identity.unsubscriber == nil {
		return plainAnswer(http.StatusNotFound, "this connector has no unsubscribe block"), sdk.Events{}
	}
	claim, ok := c.identity.unsubscriber.find(r)
	if !ok {
		return pageAnswer(http.StatusNotFound, pageInvalid, ""), sdk.Events{}
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return pageAnswer(http.StatusOK, pageAsk, claim.recipient), sdk.Events{}
	case http.MethodPost:
		if !oneClick(r.Header.Get("Content-Type"), r.Body) {
			return plainAnswer(http.StatusBadRequest, "the body is not List-Unsubscribe=One-Click"), sdk.Events{}
		}
		return pageAnswer(http.StatusOK, pageDone, claim.recipient), sdk.Events{Inbound: []sdk.Inbound{c.unsubscribed(claim)}}
	default:
		answer := plainAnswer(http.StatusMethodNotAllowed, "GET or POST")
		answer.Header.Set("Allow", "GET, HEAD, POST")
		return answer, sdk.Events{}
	}
}

// unsubscribed is the event of a click. A repeat on the same day is the same event; later it may follow on a new
// subscription.
func (c *connector) unsubscribed(of claim) sdk.Inbound {
	now := c.now().UTC()
	return sdk.Inbound{
		DedupeKey: "unsubscribe/" + of.mac + "/" + now.Format(time.DateOnly),
		From:      of.recipient, To: c.identity.from.Address, Text: eventUnsubscribe, At: now,
		Attributes: map[string]string{attributeEvent: eventUnsubscribe, "message_id": of.messageID, "method": "one-click"},
	}
}

// oneClick says whether a body is List-Unsubscribe=One-Click, as a form of either kind.
func oneClick(contentType string, body []byte) bool {
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err == nil && mediaType == "multipart/form-data" {
		return oneClickPart(multipart.NewReader(bytes.NewReader(body), params["boundary"]))
	}
	form, err := url.ParseQuery(string(bytes.TrimSpace(body)))
	return err == nil && strings.EqualFold(form.Get(oneClickName), oneClickValue)
}

func oneClickPart(parts *multipart.Reader) bool {
	for range 10 {
		part, err := parts.NextPart()
		if err != nil {
			return false
		}
		if part.FormName() != oneClickName {
			continue
		}
		value, err := io.ReadAll(io.LimitReader(part, 100))
		return err == nil && strings.EqualFold(strings.TrimSpace(string(value)), oneClickValue)
	}
	return false
}

// page is one of the pages that a person sees.
type page string

const (
	pageAsk     page = "ask"
	pageDone    page = "done"
	pageInvalid page = "invalid"
)

// pages have a form and no script, no style and nothing from elsewhere.
var pages = template.Must(template.New("").Parse(`
{{- define "head"}}<!DOCTYPE html><html><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex"><title>{{.}}</title></head><body>{{end}}
{{- define "ask"}}{{template "head" "Unsubscribe 退订"}}
<p>Do you want no more of these mails at {{.Recipient}}?</p>
<p lang="zh">{{.Recipient}} 不再接收此类邮件？</p>
<form method="post"><input type="hidden" name="{{.Name}}" value="{{.Value}}">
<button type="submit">Unsubscribe 退订</button></form></body></html>{{end}}
{{- define "done"}}{{template "head" "Unsubscribed 已退订"}}
<p>{{.Recipient}} is unsubscribed.</p><p lang="zh">{{.Recipient}} 已退订。</p></body></html>{{end}}
{{- define "invalid"}}{{template "head" "Unsubscribe 退订"}}
<p>This link is not valid.</p><p lang="zh">此链接无效。</p></body></html>{{end}}`))

func pageAnswer(status int, p page, recipient string) *sdk.CallbackResponse {
	var body bytes.Buffer
	data := struct{ Recipient, Name, Value string }{recipient, oneClickName, oneClickValue}
	if err := pages.ExecuteTemplate(&body, string(p), data); err != nil {
		return plainAnswer(http.StatusInternalServerError, "the page cannot be shown")
	}
	return &sdk.CallbackResponse{Status: status, Body: body.Bytes(), Header: http.Header{
		"Content-Type": {"text/html; charset=utf-8"}, "Cache-Control": {"no-store"}, "Referrer-Policy": {"no-referrer"},
		// The gateway shuts the pages of plugins off; this asks for forms that go back to where they came from.
		"Content-Security-Policy": {"form-action 'self'"},
	}}
}

func plainAnswer(status int, text string) *sdk.CallbackResponse {
	return &sdk.CallbackResponse{Status: status, Body: []byte(text + "\n"), Header: http.Header{
		"Content-Type": {"text/plain; charset=utf-8"},
	}}
}
