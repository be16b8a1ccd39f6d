package main

import (
	"bytes"
	"crypto/hmac"
	"crypto/md5"  //nolint:gosec // providers sign with it
	"crypto/sha1" //nolint:gosec // providers sign with it
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"maps"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"
)

// functions are what templates may call beside Go's own. Digests are raw bytes, to be written with hex
// or base64.
var functions = map[string]any{
	"json":        toJSON,
	"number":      toNumber,
	"urlquery":    percentEncode, // Go's own makes a space a plus, which is wrong in a path
	"hex":         func(s string) string { return hex.EncodeToString([]byte(s)) },
	"base64":      func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64url":   func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"md5":         func(s string) string { return digest(md5.New(), s) },  //nolint:gosec // providers sign with it
	"sha1":        func(s string) string { return digest(sha1.New(), s) }, //nolint:gosec // providers sign with it
	"sha256":      func(s string) string { return digest(sha256.New(), s) },
	"hmac_sha1":   func(key, s string) string { return digest(hmac.New(sha1.New, []byte(key)), s) },
	"hmac_sha256": func(key, s string) string { return digest(hmac.New(sha256.New, []byte(key)), s) },
	"lower":       strings.ToLower,
	"upper":       strings.ToUpper,
	"trim":        strings.TrimSpace,
	"trim_prefix": func(prefix, s string) string { return strings.TrimPrefix(s, prefix) },
	"replace":     func(old, with, s string) string { return strings.ReplaceAll(s, old, with) },
	"default":     orDefault,
	"in":          inZone,
}

// sampleFunctions stand for those that rightly refuse a made-up value.
var sampleFunctions = map[string]any{
	"number": func(any) string { return "0" },
}

// functionNames lists the functions for error messages.
func functionNames() string {
	return strings.Join(slices.Sorted(maps.Keys(functions)), ", ")
}

// toJSON writes v as JSON, a text with its quotes.
func toJSON(v any) (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "", fmt.Errorf("write as JSON: %w", err)
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// toNumber lets through what is a number in JSON, and nothing that could pass for more.
func toNumber(v any) (string, error) {
	text := strings.TrimSpace(fmt.Sprint(v))
	if strings.Trim(text, "-+.0123456789eE") != "" || !json.Valid([]byte(text)) {
		return "", fmt.Errorf("%q is no number", text)
	}
	return text, nil
}

// percentEncode escapes everything but the unreserved characters of RFC 3986: the result means the same
// in a path, in a query and in a form.
func percentEncode(v any) string {
	return strings.ReplaceAll(url.QueryEscape(fmt.Sprint(v)), "+", "%20")
}

func digest(h hash.Hash, text string) string {
	_, _ = h.Write([]byte(text)) // a hash never fails
	return string(h.Sum(nil))
}

// orDefault is v, or def when v is empty.
func orDefault(def, v any) any {
	if rv := reflect.ValueOf(v); !rv.IsValid() || rv.IsZero() {
		return def
	}
	return v
}

// inZone is t in a time zone, e.g. "Asia/Shanghai".
func inZone(zone string, t time.Time) (time.Time, error) {
	loc, err := time.LoadLocation(zone)
	if err != nil {
		return t, fmt.Errorf("time zone %q is unknown", zone)
	}
	return t.In(loc), nil
}
