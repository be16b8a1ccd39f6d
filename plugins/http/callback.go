package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// callback verifies and reads the requests that the provider makes.
type callback struct {
	method    string
	verifiers []verifier
	decoder   decoder
	receipts  *receipts // nil: none
	inbound   *inbound  // nil: none
	answer    sdk.CallbackResponse
}

// verifier says why a request is not the provider's.
type verifier func(r *sdk.CallbackRequest, now time.Time) error

// compileCallback reads how the provider calls back.
func compileCallback(c *config) (*callback, error) {
	given := c.Callback
	var faults problems
	out := &callback{method: given.Method, answer: sdk.CallbackResponse{Status: given.AnswerStatus}}
	if given.AnswerBody != "" {
		out.answer.Body = []byte(given.AnswerBody)
		out.answer.Header = http.Header{"Content-Type": {given.AnswerType}}
	}
	var err error
	out.decoder, err = compileDecoder("callback", given.Format, given.Pattern)
	faults.note(err)
	out.verifiers, err = compileVerifiers(c)
	faults.note(err)
	if given.Receipts != nil {
		out.receipts, err = compileReceipts(given.Receipts)
		faults.note(err)
	}
	if given.Inbound != nil {
		out.inbound, err = compileInbound(given.Inbound)
		faults.note(err)
	}
	if given.Receipts == nil && given.Inbound == nil {
		faults.add("callback", "brings neither receipts nor inbound messages", "add receipts { … } or inbound { … }, or leave callback out")
	}
	if given.Method == http.MethodGet && given.Format != formatQuery {
		faults.add("callback.format", "a GET has no body", `set format = "query"`)
	}
	return out, faults.err()
}

// compileVerifiers reads every check that is configured; a request must pass them all.
func compileVerifiers(c *config) ([]verifier, error) {
	given := c.Callback
	var out []verifier
	var faults problems
	if given.Token != "" || given.TokenHeader != "" || given.TokenQuery != "" {
		faults.note(checkToken(given))
		out = append(out, tokenVerifier(given))
	}
	if given.Username != "" || given.Password != "" {
		if given.Username == "" || given.Password == "" {
			faults.add("callback.password", "needs username, and username needs it", "give both or neither")
		}
		out = append(out, basicVerifier("Basic "+basic(given.Username, given.Password)))
	}
	if given.Signature != nil {
		s, err := compileSigner("callback.signature", &given.Signature.signatureConfig, callbackSamples(c))
		faults.note(err)
		secrets, tolerance := reveal(c.Secrets), given.Signature.Tolerance
		out = append(out, func(r *sdk.CallbackRequest, now time.Time) error { return s.verify(r, secrets, tolerance, now) })
	}
	if len(out) == 0 && !given.Unverified {
		faults.add("callback", "is not verified: whoever knows its address could forge receipts",
			"give token, username and password, or signature; or set unverified = true where nobody else can reach it")
	}
	return out, faults.err()
}

func checkToken(c *callbackConfig) error {
	switch {
	case c.Token == "":
		return sdk.FieldError("callback.token", "is missing", "give the token that the provider sends")
	case (c.TokenHeader == "") == (c.TokenQuery == ""):
		return sdk.FieldError("callback.token", "stands nowhere, or in two places", "give one of token_header and token_query")
	default:
		return nil
	}
}

func tokenVerifier(c *callbackConfig) verifier {
	header, parameter, token := c.TokenHeader, c.TokenQuery, c.Token.Reveal()
	return func(r *sdk.CallbackRequest, _ time.Time) error {
		given := r.Header.Get(header)
		if strings.EqualFold(header, "Authorization") {
			given = strings.TrimPrefix(given, "Bearer ")
		}
		if parameter != "" {
			query, err := url.ParseQuery(r.Query)
			if err != nil {
				return errors.New("the query cannot be read")
			}
			given = query.Get(parameter)
		}
		if !same(given, token) {
			return errors.New("the token is missing or wrong")
		}
		return nil
	}
}

func basicVerifier(want string) verifier {
	return func(r *sdk.CallbackRequest, _ time.Time) error {
		if !same(r.Header.Get("Authorization"), want) {
			return errors.New("user and password are missing or wrong")
		}
		return nil
	}
}

// HandleCallback answers a request of the provider with the events in it.
func (c *connector) HandleCallback(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	refuse := func(status int, why string) (*sdk.CallbackResponse, sdk.Events, error) {
		sdk.Logger(ctx).Warn("callback refused", "status", status, "reason", c.derived.Replace(why), "remote", r.RemoteAddr)
		return &sdk.CallbackResponse{Status: status}, sdk.Events{}, nil
	}
	if c.callback == nil {
		return refuse(http.StatusNotFound, "the connector has no callback block")
	}
	if r.Method != c.callback.method {
		return refuse(http.StatusMethodNotAllowed, fmt.Sprintf("%s where callback.method is %s", r.Method, c.callback.method))
	}
	for _, verify := range c.callback.verifiers {
		if err := verify(r, c.now()); err != nil {
			return refuse(http.StatusUnauthorized, err.Error())
		}
	}
	receipts, inbound := c.callback.receipts.at(r.Path), c.callback.inbound.at(r.Path)
	if receipts == nil && inbound == nil {
		return refuse(http.StatusNotFound, "neither receipts.path nor inbound.path is "+r.Path)
	}
	payload, err := c.callback.decode(r)
	if err != nil {
		return refuse(http.StatusBadRequest, "the payload cannot be read: "+err.Error())
	}
	events := sdk.Events{Receipts: receipts.read(ctx, payload), Inbound: inbound.read(ctx, payload)}
	if events.Empty() {
		sdk.Logger(ctx).Warn("a callback brought nothing that receipts or inbound describe", "path", r.Path)
	}
	answer := c.callback.answer
	return &answer, events, nil
}

func (c *callback) decode(r *sdk.CallbackRequest) (any, error) {
	if c.decoder.format == formatQuery {
		return c.decoder.decode([]byte(r.Query))
	}
	return c.decoder.decode(r.Body)
}
