package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"regexp"

	"github.com/pigeonry/pigeonry/sdk"
)

// Formats of a payload.
const (
	formatJSON  = "json"
	formatForm  = "form"
	formatQuery = "query"
	formatText  = "text"
)

// decoder makes of what the provider wrote a value that paths lead into.
type decoder struct {
	format  string
	pattern *regexp.Regexp // of a text
}

// compileDecoder reads format and pattern at the path field of the config.
func compileDecoder(field, format, pattern string) (decoder, error) {
	d := decoder{format: format}
	switch {
	case format != formatText && pattern != "":
		return d, sdk.FieldError(field+".pattern", "is for a text", `set format = "text", or leave pattern out`)
	case format != formatText:
		return d, nil
	case pattern == "":
		return d, sdk.FieldError(field+".pattern", "is missing for a text", `name the fields in it: ^(?P<code>\d+),(?P<id>\w*)`)
	}
	var err error
	if d.pattern, err = regexp.Compile(pattern); err != nil {
		return d, sdk.FieldError(field+".pattern", err.Error(), "write a regular expression of Go (RE2)")
	}
	for _, group := range d.pattern.SubexpNames() {
		if group != "" {
			return d, nil
		}
	}
	return d, sdk.FieldError(field+".pattern", "has no named group", `name the fields in it: ^(?P<code>\d+),(?P<id>\w*)`)
}

// decode reads a payload. Its errors do not quote it.
func (d decoder) decode(payload []byte) (any, error) {
	switch d.format {
	case formatText:
		return d.match(payload)
	case formatForm, formatQuery:
		return decodeForm(payload)
	default:
		return decodeJSON(payload)
	}
}

func (d decoder) match(payload []byte) (any, error) {
	groups := d.pattern.FindSubmatch(payload)
	if groups == nil {
		return nil, errors.New("the pattern does not fit it")
	}
	out := make(map[string]any)
	for i, group := range d.pattern.SubexpNames() {
		if group != "" {
			out[group] = string(groups[i])
		}
	}
	return out, nil
}

func decodeForm(payload []byte) (any, error) {
	values, err := url.ParseQuery(string(payload))
	if err != nil {
		return nil, errors.New("it is no form")
	}
	out := make(map[string]any, len(values))
	for key, all := range values {
		if len(all) == 1 {
			out[key] = all[0]
			continue
		}
		list := make([]any, len(all))
		for i, one := range all {
			list[i] = one
		}
		out[key] = list
	}
	return out, nil
}

// decodeJSON keeps numbers as they are written: an id may have more digits than a float holds.
func decodeJSON(payload []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(payload))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("it is no JSON at byte %d", dec.InputOffset())
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("something follows the JSON at byte %d", dec.InputOffset())
	}
	return v, nil
}
