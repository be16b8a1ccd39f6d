// Package push takes the HTTP requests of providers that sign nothing. A secret in the callback URL stands in for the
// signature: whoever knows the URL may call it, so it is as secret as a password.
package push

import (
	"bytes"
	"crypto/subtle"
	"encoding/json"
	"errors"
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

// CheckToken refuses a token that would not come back from a URL as it is.
func CheckToken(path string, token sdk.Secret) error {
	if strings.ContainsAny(token.Reveal(), "/?#&+% ") {
		return sdk.FieldError(path, "has a character that a URL would change", "use letters, digits, - and _")
	}
	return nil
}

// Answers are the bodies that a provider is answered with, as JSON.
type Answers struct {
	Taken        string // with status 200
	Unauthorized string // with status 401
	Unreadable   string // with status 400
}

// Handle takes a request: it checks the token and reads each object of the body into events.
func Handle(r *sdk.CallbackRequest, token sdk.Secret, a Answers, read func(object []byte, events *sdk.Events) error) (*sdk.CallbackResponse, sdk.Events, error) {
	if !Authorized(r, token) {
		return answer(http.StatusUnauthorized, a.Unauthorized), sdk.Events{}, nil
	}
	events, err := Parse(r.Body, read)
	if err != nil {
		return answer(http.StatusBadRequest, a.Unreadable), sdk.Events{}, nil //nolint:nilerr // the caller's fault
	}
	return answer(http.StatusOK, a.Taken), events, nil
}

// Parse reads each object of a body, which is an array of them or one. With an error there are no events.
func Parse(body []byte, read func(object []byte, events *sdk.Events) error) (events sdk.Events, err error) {
	if !utf8.Valid(body) {
		return events, errors.New("the body is not UTF-8")
	}
	body = bytes.TrimSpace(body)
	if len(body) > 0 && body[0] == '{' {
		body = bytes.Join([][]byte{{'['}, body, {']'}}, nil)
	}
	var objects []json.RawMessage
	if err := json.Unmarshal(body, &objects); err != nil {
		return events, fmt.Errorf("read the body: %w", err)
	}
	for _, object := range objects {
		if err := read(object, &events); err != nil {
			return sdk.Events{}, fmt.Errorf("read an object: %w", err)
		}
	}
	return events, nil
}

func answer(status int, body string) *sdk.CallbackResponse {
	return &sdk.CallbackResponse{
		Status: status,
		Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}},
		Body:   []byte(body),
	}
}
