package main

import (
	"crypto/rand"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Layouts of a timestamp.
const (
	unixSeconds = "unix"
	unixMillis  = "unix_ms"
)

// timestamp writes a time as the layout says.
func timestamp(t time.Time, layout string) string {
	if layout == unixMillis {
		return strconv.FormatInt(t.UnixMilli(), 10)
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// commonFields are the fields of every template.
func commonFields(now time.Time, layout string, secrets map[string]string) fields {
	return fields{"now": now.UTC(), "timestamp": timestamp(now, layout), "secrets": secrets}
}

// messageFields adds the fields of a message, and where the provider may call back about it. What a message lacks is there
// all the same, and empty.
func messageFields(data fields, m *sdk.Message, callbackURL string) {
	parameters, templateID := map[string]string{}, ""
	if m.Template != nil {
		templateID, parameters = m.Template.ID, notNil(m.Template.Parameters)
	}
	maps.Copy(data, fields{
		"message_id": m.ID, "attempt_id": m.AttemptID, "attempt": m.Attempt,
		"idempotency_key": m.IdempotencyKey, "nonce": rand.Text(),
		"account": m.Account, "connector": m.Connector, "priority": m.Priority, "traceparent": m.Traceparent,
		"recipient": m.Recipient, "subject": m.Subject, "text": m.Text(), "html": m.HTML,
		"attributes":  notNil(m.Attributes),
		"template":    fields{"id": templateID, "parameters": parameters},
		"attachments": attachmentFields(m.Attachments), "callback_url": callbackURL,
	})
	data["message"] = wholeMessage(data)
}

// wholeMessage is the field that stands for all of a message: what is sent where no body is configured.
func wholeMessage(data fields) fields {
	whole := fields{}
	for _, key := range []string{
		"message_id", "idempotency_key", "attempt", "recipient", "subject", "text", "html", "attributes", "template", "attachments",
	} {
		whole[key] = data[key]
	}
	return whole
}

func attachmentFields(given []sdk.Attachment) []fields {
	out := make([]fields, len(given))
	for i := range given {
		a := &given[i]
		out[i] = fields{
			"name": a.Name, "content_type": a.ContentType, "content_id": a.ContentID, "url": a.URL,
			"data": base64.StdEncoding.EncodeToString(a.Data),
		}
	}
	return out
}

// requestFields adds the fields of a request, for its headers and its signature.
func requestFields(data fields, to *url.URL, method, body string) {
	maps.Copy(data, fields{"method": method, "url": to.String(), "path": to.EscapedPath(), "query": to.RawQuery, "body": body})
}

// callbackFields are the fields of a request that the provider made.
func callbackFields(r *sdk.CallbackRequest, stamp string, secrets map[string]string) fields {
	headers := make(map[string]string, len(r.Header))
	for key := range r.Header {
		headers[http.CanonicalHeaderKey(key)] = r.Header.Get(key)
	}
	return fields{
		"method": r.Method, "url": r.URL, "path": r.Path, "query": r.Query, "body": string(r.Body),
		"headers": headers, "timestamp": stamp, "secrets": secrets,
	}
}

func notNil(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// reveal makes secrets what templates can insert.
func reveal(secrets map[string]sdk.Secret) map[string]string {
	out := make(map[string]string, len(secrets))
	for key, s := range secrets {
		out[key] = s.Reveal()
	}
	return out
}
