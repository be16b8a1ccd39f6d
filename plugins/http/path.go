package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// path leads to a value in a payload: names and indexes, such as data.items[0].id. A name with other
// characters stands in quotes: data."odd.name".
type path []step

// step goes into an object by name, or into a list by index.
type step struct {
	name    string
	index   int
	indexed bool
}

// parsePath reads a path. The empty one leads to the payload itself.
func parsePath(text string) (path, error) {
	var p path
	for at := 0; at < len(text); {
		s, next, err := parseStep(text, at)
		if err != nil {
			return nil, fmt.Errorf("%w at character %d", err, next+1)
		}
		p, at = append(p, s), next
	}
	return p, nil
}

// parseStep reads the step that begins at a place, and returns the place after it or that of the fault.
func parseStep(text string, at int) (s step, next int, err error) {
	if text[at] == '[' {
		return parseIndex(text, at)
	}
	if at > 0 {
		if text[at] != '.' {
			return step{}, at, errors.New("expected . or [")
		}
		at++
	}
	if strings.HasPrefix(text[at:], `"`) {
		quoted, err := strconv.QuotedPrefix(text[at:])
		if err != nil {
			return step{}, at, errors.New("a quote is not closed")
		}
		name, err := strconv.Unquote(quoted)
		if err != nil {
			return step{}, at, errors.New("a quoted name cannot be read")
		}
		return step{name: name}, at + len(quoted), nil
	}
	end := len(text)
	if n := strings.IndexAny(text[at:], `.[]"`); n >= 0 {
		end = at + n
	}
	if end == at {
		return step{}, at, errors.New("expected a name")
	}
	return step{name: text[at:end]}, end, nil
}

func parseIndex(text string, at int) (step, int, error) {
	digits, _, closed := strings.Cut(text[at+1:], "]")
	if !closed {
		return step{}, at, errors.New("a bracket is not closed")
	}
	n, err := strconv.ParseUint(digits, 10, 31)
	if err != nil {
		return step{}, at + 1, errors.New("expected an index, counted from 0,")
	}
	return step{index: int(n), indexed: true}, at + len(digits) + 2, nil
}

// find returns the value that the path leads to; nil where it leads nowhere. A text on the way is
// read as JSON, for providers that put JSON into a field of a form.
func (p path) find(v any) any {
	for _, s := range p {
		v = s.into(unfold(v))
	}
	return v
}

func (s step) into(v any) any {
	switch v := v.(type) {
	case map[string]any:
		if !s.indexed {
			return v[s.name]
		}
	case []any:
		if s.indexed && s.index < len(v) {
			return v[s.index]
		}
	}
	return nil
}

// unfold reads a text as the object or list that stands in it.
func unfold(v any) any {
	text, ok := v.(string)
	if !ok {
		return v
	}
	inner, err := decodeJSON([]byte(text))
	if err != nil {
		return v
	}
	return inner
}

// text returns the scalar that the path leads to, as it was written; nothing for any other value.
func (p path) text(v any) string { return scalar(p.find(v)) }

func scalar(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return strconv.FormatBool(v)
	default:
		return ""
	}
}

// texts returns the scalar, or those in a list, that the path leads to.
func (p path) texts(v any) []string {
	v = p.find(v)
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	var out []string
	for _, one := range list {
		if text := scalar(one); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// objects returns the elements of the list, or the one object, that the path leads to.
func (p path) objects(v any) []any {
	switch v := unfold(p.find(v)).(type) {
	case []any:
		return v
	case map[string]any:
		return []any{v}
	default:
		return nil
	}
}
