package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// callbacks takes what Feishu sends to the app's request URL.
type callbacks struct {
	token      string // Verification Token; empty: none
	encryptKey string // empty: events come in clear
	appID      string
	tolerance  time.Duration
	now        func() time.Time
}

// envelope is the outside of an event: of version 2.0, of version 1.0, or the question whether the URL is ours.
// https://open.feishu.cn/document/server-docs/event-subscription-guide/overview
type envelope struct {
	Schema string `json:"schema"`
	Header header `json:"header"`

	Type      string `json:"type"` // of version 1.0
	Token     string `json:"token"`
	Challenge string `json:"challenge"`

	Event json.RawMessage `json:"event"`
}

// header is of an event of version 2.0.
type header struct {
	ID      string `json:"event_id"`
	Type    string `json:"event_type"`
	Created string `json:"create_time"` // milliseconds since 1970
	Token   string `json:"token"`
	App     string `json:"app_id"`
	Tenant  string `json:"tenant_key"`
}

// handle answers one request. Feishu takes a status of 200 within three seconds for a yes, and repeats anything else after
// 15 seconds, 5 minutes, an hour and 6 hours.
func (c *callbacks) handle(ctx context.Context, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	switch {
	case r.Method != http.MethodPost:
		return refuse(ctx, http.StatusMethodNotAllowed, "events come by POST", r)
	case c.token == "" && c.encryptKey == "":
		return refuse(ctx, http.StatusNotFound, "the connector has neither verification_token nor encrypt_key, so nobody could be told from Feishu", r)
	}
	signed, err := c.verify(r)
	if err != nil {
		return refuse(ctx, http.StatusUnauthorized, err.Error(), r)
	}
	e, err := c.open(r.Body)
	if err != nil {
		return refuse(ctx, http.StatusUnauthorized, err.Error(), r)
	}
	token := e.Token
	if e.Schema != "" {
		token = e.Header.Token
	}
	asks := e.Schema == "" && e.Type == "url_verification"
	switch {
	case c.token != "" && !same(token, c.token):
		return refuse(ctx, http.StatusUnauthorized, "the verification token is missing or wrong", r)
	case c.encryptKey != "" && !signed && !asks: // Feishu does not sign the question, which its key opens all the same
		return refuse(ctx, http.StatusUnauthorized, "there is no signature", r)
	case asks:
		return answerJSON(map[string]string{"challenge": e.Challenge}), sdk.Events{}, nil
	}
	events, err := c.read(ctx, e)
	if err != nil {
		return refuse(ctx, http.StatusBadRequest, err.Error(), r)
	}
	return answerJSON(map[string]any{}), events, nil
}

// verify checks the signature of the body as it came, if there is one.
func (c *callbacks) verify(r *sdk.CallbackRequest) (signed bool, err error) {
	given := r.Header.Get("X-Lark-Signature")
	if c.encryptKey == "" || given == "" {
		return false, nil
	}
	timestamp := r.Header.Get("X-Lark-Request-Timestamp")
	if !same(given, eventSignature(timestamp, r.Header.Get("X-Lark-Request-Nonce"), c.encryptKey, r.Body)) {
		return false, errors.New("the signature is wrong")
	}
	if seconds, err := strconv.ParseInt(timestamp, 10, 64); err == nil {
		if age := c.now().Sub(time.Unix(seconds, 0)); age.Abs() > c.tolerance {
			return false, fmt.Errorf("the signature is of %s, which is longer ago than callback_tolerance", time.Unix(seconds, 0).UTC().Format(time.RFC3339))
		}
	}
	return true, nil
}

// open reads a body, after decrypting it where there is a key.
func (c *callbacks) open(body []byte) (envelope, error) {
	var outer struct {
		Encrypt *string `json:"encrypt"`
	}
	var e envelope
	if err := json.Unmarshal(body, &outer); err != nil {
		return e, fmt.Errorf("the body is no JSON object: %w", err)
	}
	switch {
	case c.encryptKey == "" && outer.Encrypt != nil:
		return e, errors.New("the body is encrypted, and the connector has no encrypt_key")
	case c.encryptKey != "" && outer.Encrypt == nil:
		return e, errors.New("the body is not encrypted, though the connector has an encrypt_key")
	case c.encryptKey != "":
		opened, err := decrypt(*outer.Encrypt, c.encryptKey)
		if err != nil {
			return e, fmt.Errorf("decrypt the body: %w", err)
		}
		body = opened
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return e, fmt.Errorf("the event is no JSON object of the expected form: %w", err)
	}
	return e, nil
}

// read makes receipts and inbound messages of an event. What the gateway has no use for is taken and dropped.
func (c *callbacks) read(ctx context.Context, e envelope) (sdk.Events, error) {
	switch {
	case e.Schema == "":
		sdk.Logger(ctx).Warn("an event of version 1.0 is dropped: subscribe to version 2.0 of it", "type", e.Type)
		return sdk.Events{}, nil
	case e.Header.App != "" && e.Header.App != c.appID:
		sdk.Logger(ctx).Warn("an event of another app is dropped", "app_id", e.Header.App)
		return sdk.Events{}, nil
	}
	switch e.Header.Type {
	case "im.message.message_read_v1":
		receipts, err := readReceipts(e)
		return sdk.Events{Receipts: receipts}, err
	case "im.message.receive_v1":
		inbound, err := readInbound(e)
		return sdk.Events{Inbound: inbound}, err
	default:
		sdk.Logger(ctx).Debug("an event that says nothing about messages is dropped", "type", e.Header.Type)
		return sdk.Events{}, nil
	}
}

func answerJSON(v any) *sdk.CallbackResponse {
	body, err := marshal(v)
	if err != nil {
		return &sdk.CallbackResponse{Status: http.StatusInternalServerError}
	}
	return &sdk.CallbackResponse{Header: http.Header{"Content-Type": {"application/json; charset=utf-8"}}, Body: body}
}

// refuse answers a request that brings nothing. The log says why; the caller, who may be anybody, hears the status alone.
func refuse(ctx context.Context, status int, why string, r *sdk.CallbackRequest) (*sdk.CallbackResponse, sdk.Events, error) {
	sdk.Logger(ctx).Warn("callback refused", "status", status, "reason", why, "remote", r.RemoteAddr)
	return &sdk.CallbackResponse{Status: status}, sdk.Events{}, nil
}
