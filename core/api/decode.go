package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/pigeonry/pigeonry/core"
)

// bodyOf reads the body of a request into a type of the contract and returns the bytes too, for the
// idempotency key.
func bodyOf[T any](c *gin.Context, limit int) (T, []byte, error) {
	var v T
	raw, err := jsonBody(c, limit)
	if err != nil {
		return v, nil, err
	}
	if err := decode(raw, &v); err != nil {
		return v, nil, err
	}
	return v, raw, nil
}

// optionalBodyOf is bodyOf for a body that may be left out.
func optionalBodyOf[T any](c *gin.Context, limit int) (T, error) {
	if c.Request.ContentLength == 0 {
		var none T
		return none, nil
	}
	v, _, err := bodyOf[T](c, limit)
	return v, err
}

// decode reads one JSON object in a single pass. It refuses what a lenient decoder would guess at:
// unknown and repeated names, values of another type, anything behind the object, bad UTF-8, and NUL,
// which no store and no provider takes. Nesting is bounded by the types: a list or an object in the
// place of a text is refused where it begins.
func decode(raw []byte, v any) error {
	if len(bytes.TrimSpace(raw)) == 0 {
		return malformed("", "the body is empty; send a JSON object")
	}
	if bytes.Equal(bytes.TrimSpace(raw), []byte("null")) {
		return malformed("", "the body is null; send a JSON object")
	}
	if err := json.Unmarshal(raw, v, json.RejectUnknownMembers(true)); err != nil {
		return decodeError(err)
	}
	return refuseNUL(raw)
}

// decodeError says in plain words, and without the value, what is wrong and where.
func decodeError(err error) error {
	if e, ok := errors.AsType[reason](err); ok {
		return malformed(place(err), string(e))
	}
	if e, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		return malformed(shorten(string(e.JSONPointer)), syntaxReason(e))
	}
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		return malformed(shorten(string(e.JSONPointer)), typeReason(e))
	}
	return &core.Error{Kind: core.KindInvalid, Code: core.CodeMalformed, Message: "the body cannot be read as JSON", Cause: err}
}

// reason is an error of a decoder of ours that already says it in plain words.
type reason string

// Error returns the reason.
func (r reason) Error() string { return string(r) }

// place is where in the body an error is.
func place(err error) string {
	if e, ok := errors.AsType[*json.SemanticError](err); ok {
		return shorten(string(e.JSONPointer))
	}
	return ""
}

func syntaxReason(e *jsontext.SyntacticError) string {
	switch {
	case errors.Is(e, jsontext.ErrDuplicateName):
		return "the field is given twice; leave one out"
	case errors.Is(e, io.ErrUnexpectedEOF):
		return "the body ends in the middle of the JSON; send all of it"
	default:
		return fmt.Sprintf("is not JSON (at byte %d: %v)", e.ByteOffset, e.Err)
	}
}

func typeReason(e *json.SemanticError) string {
	if errors.Is(e, json.ErrUnknownName) {
		return "unknown field; check the spelling against /docs"
	}
	want := expected(e.GoType)
	if e.JSONKind == jsontext.KindNumber && isInteger(e.GoType) {
		return "is not a whole number that fits; give " + want
	}
	if e.JSONKind == jsontext.KindString && e.GoType != nil && e.GoType.Kind() != reflect.String {
		return "is a text that cannot be read as such; give " + want
	}
	return fmt.Sprintf("is %s; give %s", found(e.JSONKind), want)
}

func isInteger(t reflect.Type) bool {
	return t != nil && (t.Kind() == reflect.Int || t.Kind() == reflect.Int64)
}

// expected describes a type of the contract.
func expected(t reflect.Type) string {
	switch {
	case t == nil:
		return "what /docs says"
	case t == reflect.TypeFor[time.Time]():
		return "a time with offset, such as \"2026-03-01T09:00:00+08:00\""
	case t == reflect.TypeFor[[]byte]():
		return "base64 in a text"
	case isInteger(t):
		return "a whole number without quotes"
	case t.Kind() == reflect.Float64:
		return "a number without quotes"
	}
	switch t.Kind() {
	case reflect.String:
		return "a text in quotes"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	default:
		return "what /docs says"
	}
}

func found(k jsontext.Kind) string {
	switch k {
	case jsontext.KindString:
		return "a text"
	case jsontext.KindNumber:
		return "a number"
	case jsontext.KindTrue, jsontext.KindFalse:
		return strconv.FormatBool(k == jsontext.KindTrue)
	case jsontext.KindBeginObject:
		return "an object"
	case jsontext.KindBeginArray:
		return "a list"
	default:
		return "of another type"
	}
}

// refuseNUL finds the character U+0000, which JSON can only write as an escape.
func refuseNUL(raw []byte) error {
	if !bytes.Contains(raw, []byte(`\u0000`)) {
		return nil // nearly always
	}
	d := jsontext.NewDecoder(bytes.NewReader(raw))
	for {
		token, err := d.ReadToken()
		if err != nil {
			return nil //nolint:nilerr // io.EOF: decode has read it all before
		}
		if token.Kind() == jsontext.KindString && strings.IndexByte(token.String(), 0) >= 0 {
			return malformed(shorten(string(d.StackPointer())), "has a NUL character; remove it")
		}
	}
}

// UnmarshalJSONFrom reads the values of variables: texts, and numbers and booleans as they are written.
func (v *Variables) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	switch d.PeekKind() {
	case jsontext.KindNull:
		*v = nil
		return d.SkipValue()
	case jsontext.KindBeginObject:
	default:
		return wrongValue(d, "is not an object; give names and values")
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	values := Variables{}
	for d.PeekKind() != jsontext.KindEndObject {
		if err := values.readOne(d); err != nil {
			return err
		}
	}
	*v = values
	_, err := d.ReadToken()
	return err
}

func (v Variables) readOne(d *jsontext.Decoder) error {
	name, err := d.ReadToken()
	if err != nil {
		return err
	}
	key := name.String()
	switch d.PeekKind() {
	case jsontext.KindNull:
		return d.SkipValue()
	case jsontext.KindBeginObject, jsontext.KindBeginArray:
		return wrongValue(d, "is a list or an object; give a text, a number, true or false")
	}
	value, err := d.ReadToken()
	if err != nil {
		return err
	}
	v[key] = value.String()
	return nil
}

// wrongValue skips the value at which the decoder stands, so that its place is known, and refuses it.
func wrongValue(d *jsontext.Decoder, why string) error {
	if err := d.SkipValue(); err != nil {
		return err
	}
	return &json.SemanticError{JSONPointer: d.StackPointer(), Err: reason(why)}
}
