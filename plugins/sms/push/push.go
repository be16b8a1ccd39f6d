// Package push takes the HTTP requests of providers that sign nothing. A secret in the callback URL stands in for the
// signature: whoever knows the URL may call it, so it is as secret as a password.
package push

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/pigeonry/pigeonry/sdk"
)

// parameter is the query parameter that may carry the token.
const parameter = "token"

// Authorized tells whether a request carries the token: as the query parameter token, or as the path below the callback
// URL. Without a token nobody is let in.
func Authorized(r *sdk.CallbackRequest, token sdk.Secret) bool {
	query, _ := url.ParseQuery(r.Query) // what cannot be read is not there
	given := query.Get(parameter)
	if given == "" {
		given = strings.Trim(r.Path, "/")
	}
	return token != "" && subtle.ConstantTimeCompare([]byte(given), []byte(token.Reveal())) == 1
}

// Elements gives the objects of a body: those of an array, or the one that it is.
func Elements(body []byte) ([]json.RawMessage, error) {
	if !utf8.Valid(body) {
		return nil, fmt.Errorf("the body is not UTF-8")
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '{' {
		body = bytes.Join([][]byte{{'['}, body, {']'}}, nil)
	}
	var elements []json.RawMessage
	if err := json.Unmarshal(body, &elements); err != nil {
		return nil, fmt.Errorf("read the body: %w", err)
	}
	return elements, nil
}

// Answer is a JSON answer.
func Answer(status int, body string) *sdk.CallbackResponse {
	return &sdk.CallbackResponse{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body:   []byte(body),
	}
}
