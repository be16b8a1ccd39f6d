package sdk

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// jsonNumber is a number as the decoder keeps it, without a loss of digits.
type jsonNumber = json.Number

// decoder fills a config struct and gathers everything that is wrong, not just the first fault.
type decoder struct {
	diagnostics []*channelv1.Diagnostic
	secrets     []string
}

// decodeConfig decodes config strictly into dst, which has the shape s. It returns every secret in
// it, and a diagnostic for each fault.
func decodeConfig(s *shape, config []byte, dst reflect.Value) (secrets []string, _ []*channelv1.Diagnostic) {
	d := decoder{}
	if tree, err := parseObject(config); err != nil {
		d.report(nil, "the config is not a JSON object", err.Error())
	} else {
		d.object(s, tree, dst, nil)
	}
	return d.secrets, d.diagnostics
}

// parseObject parses one JSON object. No config at all is an empty one.
func parseObject(config []byte) (map[string]any, error) {
	if len(bytes.TrimSpace(config)) == 0 {
		return nil, nil
	}
	dec := json.NewDecoder(bytes.NewReader(config))
	dec.UseNumber()
	var tree map[string]any
	if err := dec.Decode(&tree); err != nil {
		// encoding/json may quote what it read, and that may be a secret: tell the place alone.
		if e, ok := errors.AsType[*json.SyntaxError](err); ok {
			return nil, fmt.Errorf("syntax error at byte %d", e.Offset)
		}
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, errors.New("it ends too early")
		}
		return nil, errors.New("expected {…}")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows it at byte %d", dec.InputOffset())
	}
	return tree, nil
}

// report adds an error diagnostic for the value at path.
func (d *decoder) report(path []*channelv1.PathStep, summary, detail string) {
	d.diagnostics = append(d.diagnostics, &channelv1.Diagnostic{
		Severity: channelv1.Severity_SEVERITY_ERROR,
		Summary:  strings.ToValidUTF8(summary, "\uFFFD"),
		Detail:   strings.ToValidUTF8(detail, "\uFFFD"),
		Path:     path,
	})
}

func (d *decoder) object(s *shape, tree map[string]any, dst reflect.Value, path []*channelv1.PathStep) {
	for _, name := range sortedKeys(tree) {
		if s.field(name) == nil {
			d.unknown(s, name, under(path, name))
		}
	}
	for i := range s.fields {
		f := &s.fields[i]
		d.member(f, tree[f.name], dst.FieldByIndex(f.index), under(path, f.name))
	}
}

func (d *decoder) unknown(s *shape, name string, path []*channelv1.PathStep) {
	known := make([]string, len(s.fields))
	for i := range s.fields {
		known[i] = s.fields[i].name
	}
	detail := "known fields: " + strings.Join(known, ", ")
	if len(known) == 0 {
		detail = "there are no fields here"
	}
	if guess := nearest(name, known); guess != "" {
		detail = fmt.Sprintf("did you mean %q? %s", guess, detail)
	}
	d.report(path, fmt.Sprintf("unknown field %q", name), detail)
}

// member decodes one field of an object; v is nil when it is absent or null.
func (d *decoder) member(f *field, v any, dst reflect.Value, path []*channelv1.PathStep) {
	if v == nil {
		v = f.def
	}
	switch {
	case v == nil && f.required:
		d.report(path, fmt.Sprintf("%q is missing", f.name), joinDetail("set it to "+string(f.shape.kind), f.doc))
		return
	case v == nil && f.pointer:
		return
	case v == nil && f.shape.kind == kindObject:
		v = map[string]any{} // its own defaults and required fields still count
	case v == nil:
		return
	}
	if f.pointer {
		dst.Set(reflect.New(f.shape.typ))
		dst = dst.Elem()
	}
	d.field(f, v, dst, path)
}

// field decodes a present value and holds it against the tag's constraints.
func (d *decoder) field(f *field, v any, dst reflect.Value, path []*channelv1.PathStep) {
	before := len(d.diagnostics)
	d.value(f.shape, v, dst, path)
	if len(d.diagnostics) > before {
		return
	}
	if f.required && empty(dst) {
		d.report(path, fmt.Sprintf("%q must not be empty", f.name), f.doc)
		return
	}
	f.eachString(dst, path, func(text string, at []*channelv1.PathStep) { d.text(f, text, at) })
	if summary := f.outOfBounds(dst); summary != "" {
		d.report(path, summary, f.doc)
	}
}

// empty says whether a text, a list or a map holds nothing. A number or a boolean always holds something.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.String, reflect.Slice, reflect.Map:
		return v.Len() == 0
	default:
		return false
	}
}

// eachString visits the string, or the strings of the list, that format and enum apply to.
func (f *field) eachString(v reflect.Value, path []*channelv1.PathStep, visit func(string, []*channelv1.PathStep)) {
	switch {
	case f.format == "" && f.enum == nil:
	case f.shape.kind == kindList:
		for i := range v.Len() {
			visit(v.Index(i).String(), at(path, i))
		}
	case v.Len() > 0:
		visit(v.String(), path)
	}
}

// text checks one string against format and enum.
func (d *decoder) text(f *field, text string, path []*channelv1.PathStep) {
	if f.format != "" {
		if err := formats[f.format](text); err != nil {
			d.report(path, fmt.Sprintf("not a valid %s: %v", f.format, err), f.doc)
		}
	}
	if f.enum != nil && !slices.Contains(f.enum, text) {
		detail := "one of: " + strings.Join(f.enum, ", ")
		if guess := nearest(text, f.enum); guess != "" {
			detail = fmt.Sprintf("did you mean %q? %s", guess, detail)
		}
		d.report(path, fmt.Sprintf("%q is not allowed", text), detail)
	}
}

// outOfBounds says what is wrong with v's size, or nothing.
func (f *field) outOfBounds(v reflect.Value) string {
	if f.min == nil && f.max == nil {
		return ""
	}
	size, what := magnitude(v)
	switch {
	case f.min != nil && size < f.min.value:
		return fmt.Sprintf("%s must be at least %s", what, f.min.text)
	case f.max != nil && size > f.max.value:
		return fmt.Sprintf("%s must be at most %s", what, f.max.text)
	default:
		return ""
	}
}

func magnitude(v reflect.Value) (size float64, what string) {
	switch {
	case v.CanInt():
		return float64(v.Int()), "the value"
	case v.CanUint():
		return float64(v.Uint()), "the value"
	case v.CanFloat():
		return v.Float(), "the value"
	case v.Kind() == reflect.String:
		return float64(utf8.RuneCountInString(v.String())), "the number of characters"
	default:
		return float64(v.Len()), "the number of entries"
	}
}

// value decodes v into dst by its shape.
func (d *decoder) value(s *shape, v any, dst reflect.Value, path []*channelv1.PathStep) {
	ok := true
	switch s.kind {
	case kindString, kindSecret:
		ok = d.setString(s, v, dst)
	case kindBool:
		var b bool
		if b, ok = v.(bool); ok {
			dst.SetBool(b)
		}
	case kindInt:
		ok = setInt(v, dst)
	case kindUint:
		ok = setUint(v, dst)
	case kindFloat:
		ok = setFloat(v, dst)
	case kindDuration:
		ok = setDuration(v, dst)
	case kindList:
		ok = d.list(s, v, dst, path)
	case kindMap:
		ok = d.dict(s, v, dst, path)
	case kindObject:
		var tree map[string]any
		if tree, ok = v.(map[string]any); ok {
			d.object(s, tree, dst, path)
		}
	}
	if !ok {
		d.report(path, fmt.Sprintf("expected %s, found %s", s.kind, s.found(v)), "")
	}
}

func (d *decoder) setString(s *shape, v any, dst reflect.Value) bool {
	text, ok := v.(string)
	if !ok {
		return false
	}
	dst.SetString(text)
	if s.kind == kindSecret && text != "" {
		d.secrets = append(d.secrets, text)
	}
	return true
}

func (d *decoder) list(s *shape, v any, dst reflect.Value, path []*channelv1.PathStep) bool {
	items, ok := v.([]any)
	if !ok {
		return false
	}
	dst.Set(reflect.MakeSlice(s.typ, len(items), len(items)))
	for i, item := range items {
		d.value(s.elem, item, dst.Index(i), at(path, i))
	}
	return true
}

func (d *decoder) dict(s *shape, v any, dst reflect.Value, path []*channelv1.PathStep) bool {
	tree, ok := v.(map[string]any)
	if !ok {
		return false
	}
	dst.Set(reflect.MakeMapWithSize(s.typ, len(tree)))
	for _, name := range sortedKeys(tree) {
		elem := reflect.New(s.elem.typ).Elem()
		d.value(s.elem, tree[name], elem, under(path, name))
		dst.SetMapIndex(reflect.ValueOf(name).Convert(s.typ.Key()), elem)
	}
	return true
}

func setInt(v any, dst reflect.Value) bool {
	n, ok := v.(jsonNumber)
	if !ok {
		return false
	}
	i, err := n.Int64()
	if err != nil { // 1e3 and 10.0 are integers too
		f, err := n.Float64()
		if err != nil || f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return false
		}
		i = int64(f)
	}
	if dst.OverflowInt(i) {
		return false
	}
	dst.SetInt(i)
	return true
}

func setUint(v any, dst reflect.Value) bool {
	n, ok := v.(jsonNumber)
	if !ok {
		return false
	}
	u, err := strconv.ParseUint(n.String(), 10, 64)
	if err != nil || dst.OverflowUint(u) {
		return false
	}
	dst.SetUint(u)
	return true
}

func setFloat(v any, dst reflect.Value) bool {
	n, ok := v.(jsonNumber)
	if !ok {
		return false
	}
	f, err := n.Float64()
	if err != nil || dst.OverflowFloat(f) {
		return false
	}
	dst.SetFloat(f)
	return true
}

func setDuration(v any, dst reflect.Value) bool {
	text, ok := v.(string)
	if !ok {
		return false
	}
	dur, err := time.ParseDuration(text)
	if err != nil {
		return false
	}
	dst.SetInt(int64(dur))
	return true
}

// found names what stands in the config. The value of a secret is never shown.
func (s *shape) found(v any) string {
	switch v := v.(type) {
	case string:
		if s.kind == kindSecret {
			return "a string"
		}
		return fmt.Sprintf("the string %q", abbreviate(v, 40))
	case jsonNumber:
		if s.kind == kindSecret {
			return "a number"
		}
		return "the number " + abbreviate(v.String(), 40)
	case bool:
		return strconv.FormatBool(v)
	case []any:
		return "a list"
	case map[string]any:
		return "an object"
	default:
		return "null"
	}
}
