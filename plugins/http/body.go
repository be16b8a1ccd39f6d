package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// Media types of the kinds of a body.
const (
	typeJSON = "application/json"
	typeForm = "application/x-www-form-urlencoded"
	typeText = "text/plain; charset=utf-8"
)

// defaultBody is sent where none is configured.
const defaultBody = "{{json .message}}"

// body makes the body of a request.
type body struct {
	contentType string
	content     *tmpl       // of a form: nil
	form        []formField // in the order of their names
	isJSON      bool
}

type formField struct {
	name  string
	value *tmpl
}

// compileBody reads the kind of body that is given. Nil: the request has none.
func compileBody(c *config) (*body, error) {
	if c.Body == nil {
		if c.Method == http.MethodGet || c.Method == http.MethodDelete {
			return nil, nil
		}
		return compileJSON(c, "body", defaultBody, typeJSON)
	}
	if c.Method == http.MethodGet {
		return nil, sdk.FieldError("body", "GET has no body", "put the fields into the query of url, or use POST")
	}
	b := c.Body
	switch given := b.given(); {
	case len(given) != 1:
		return nil, sdk.FieldError("body", "holds "+oneOf(given), "give one of json, form, text and raw")
	case b.ContentType != "" && !mediaType(b.ContentType):
		return nil, sdk.FieldError("body.content_type", fmt.Sprintf("%q is no media type", b.ContentType), "write it as application/xml")
	case b.JSON != "":
		return compileJSON(c, "body.json", b.JSON, orElse(b.ContentType, typeJSON))
	case b.Form != nil:
		return compileForm(c, orElse(b.ContentType, typeForm))
	case b.Text != "":
		return compileText(c, "body.text", b.Text, orElse(b.ContentType, typeText))
	case b.ContentType == "":
		return nil, sdk.FieldError("body.content_type", "is missing for raw", "say what the body is, e.g. application/xml")
	default:
		return compileText(c, "body.raw", b.Raw, b.ContentType)
	}
}

// given names the kinds that are there.
func (b *bodyConfig) given() []string {
	var out []string
	for _, kind := range []struct {
		name  string
		given bool
	}{{"json", b.JSON != ""}, {"form", b.Form != nil}, {"text", b.Text != ""}, {"raw", b.Raw != ""}} {
		if kind.given {
			out = append(out, kind.name)
		}
	}
	return out
}

func oneOf(given []string) string {
	if len(given) == 0 {
		return "nothing"
	}
	return strings.Join(given, " and ") + " at once"
}

func mediaType(text string) bool {
	_, _, err := mime.ParseMediaType(text)
	return err == nil
}

func orElse(text, otherwise string) string {
	if text == "" {
		return otherwise
	}
	return text
}

func compileText(c *config, field, source, contentType string) (*body, error) {
	t, err := compile(field, source, messageSamples(c))
	if err != nil {
		return nil, err
	}
	return &body{contentType: contentType, content: t}, nil
}

// compileJSON also wants JSON of every sample: what a quote in a text would break shows here.
func compileJSON(c *config, field, source, contentType string) (*body, error) {
	t, err := parseTemplate(field, source)
	if err != nil {
		return nil, err
	}
	texts, err := t.try(messageSamples(c))
	if err != nil {
		return nil, err
	}
	for i, text := range texts {
		if err := checkJSON(text); err != nil {
			of := "a message whose texts hold quotes and line breaks"
			if i > 0 {
				of = "a message whose optional fields are empty"
			}
			return nil, sdk.FieldError(field, fmt.Sprintf("makes no JSON of %s: %v", of, err),
				`insert texts with {{json .text}}, without quotes around it, and numbers with {{number .attributes.count}}`)
		}
	}
	return &body{contentType: contentType, content: t, isJSON: true}, nil
}

// checkJSON says where text stops being one JSON value.
func checkJSON(text string) error {
	dec := json.NewDecoder(strings.NewReader(text))
	var v any
	err := dec.Decode(&v)
	offset := dec.InputOffset()
	if e, ok := errors.AsType[*json.SyntaxError](err); ok {
		offset = e.Offset
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends too early")
	case err == nil && strings.TrimSpace(text[offset:]) == "":
		return nil
	case err == nil:
		err = errors.New("something follows the value")
	}
	before := text[:min(int(offset), len(text))]
	return fmt.Errorf("line %d of the result: %w", 1+strings.Count(before, "\n"), err)
}

func compileForm(c *config, contentType string) (*body, error) {
	b := &body{contentType: contentType}
	var faults problems
	for _, key := range slices.Sorted(maps.Keys(c.Body.Form)) {
		t, err := compile("body.form."+key, c.Body.Form[key], messageSamples(c))
		if err == nil {
			b.form = append(b.form, formField{key, t})
		}
		faults.note(err)
	}
	return b, faults.err()
}

// render makes the body for one message.
func (b *body) render(data fields) ([]byte, error) {
	if b == nil {
		return nil, nil
	}
	if b.content == nil {
		return b.renderForm(data)
	}
	text, err := b.content.render(data)
	if err != nil {
		return nil, err
	}
	if b.isJSON {
		if err := checkJSON(text); err != nil {
			return nil, fmt.Errorf("%s makes no JSON of this message: %w", b.content.field, err)
		}
	}
	return []byte(text), nil
}

func (b *body) renderForm(data fields) ([]byte, error) {
	var out bytes.Buffer
	for _, f := range b.form {
		value, err := f.value.render(data)
		if err != nil {
			return nil, err
		}
		if out.Len() > 0 {
			out.WriteByte('&')
		}
		out.WriteString(percentEncode(f.name) + "=" + percentEncode(value))
	}
	return out.Bytes(), nil
}

// templates lists the templates of the body.
func (b *body) templates() []*tmpl {
	if b == nil {
		return nil
	}
	if b.content != nil {
		return []*tmpl{b.content}
	}
	out := make([]*tmpl, len(b.form))
	for i, f := range b.form {
		out[i] = f.value
	}
	return out
}
