package main

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Every code with what it means, as the gateway is told when a message is answered with it.
func TestVerdicts(t *testing.T) {
	const (
		rejected  = sdk.OutcomeRejected
		retryable = sdk.OutcomeRetryable
		throttled = sdk.OutcomeThrottled
		uncertain = sdk.OutcomeUncertain
		message   = sdk.FaultMessage
		setup     = sdk.FaultConfig
		wechat    = sdk.FaultProvider
		own       = sdk.FaultPlugin
	)
	type want struct {
		outcome sdk.Outcome
		code    string
		fault   sdk.Fault
		wait    time.Duration
	}
	rows := map[int]want{
		-1: {uncertain, "provider_unavailable", wechat, 0}, 61450: {uncertain, "provider_unavailable", wechat, 0},
		40001: {rejected, "auth_failed", setup, 0}, 40014: {rejected, "auth_failed", setup, 0}, 42001: {rejected, "auth_failed", setup, 0},
		40013: {rejected, "auth_failed", setup, 0}, 40125: {rejected, "auth_failed", setup, 0}, 40243: {rejected, "auth_failed", setup, 0},
		41001: {rejected, "protocol_error", own, 0}, 40002: {rejected, "protocol_error", own, 0}, 41002: {rejected, "protocol_error", own, 0},
		41004: {rejected, "protocol_error", own, 0}, 40033: {rejected, "protocol_error", own, 0}, 43001: {rejected, "protocol_error", own, 0},
		43002: {rejected, "protocol_error", own, 0}, 44002: {rejected, "protocol_error", own, 0}, 45067: {rejected, "protocol_error", own, 0},
		47001: {rejected, "protocol_error", own, 0}, 43003: {rejected, "protocol_error", setup, 0},
		40164: {rejected, "address_not_allowed", setup, 0}, 61004: {rejected, "address_not_allowed", setup, 0},
		45035: {rejected, "address_not_allowed", setup, 0}, 89506: {rejected, "address_not_allowed", setup, 0},
		89501: {retryable, "address_not_allowed", setup, 10 * time.Minute}, 89503: {retryable, "address_not_allowed", setup, 10 * time.Minute},
		89507: {retryable, "address_not_allowed", setup, 10 * time.Minute},
		45009: {throttled, "quota_exceeded", wechat, 10 * time.Minute}, 45011: {throttled, "throttled", wechat, time.Minute},
		40038: {retryable, "throttled", message, time.Minute}, 43100: {retryable, "throttled", message, time.Minute},
		43108: {retryable, "throttled", message, time.Minute}, 43117: {retryable, "throttled", message, time.Minute},
		50004: {rejected, "permission_denied", setup, 0}, 50007: {rejected, "permission_denied", setup, 0}, 43107: {rejected, "permission_denied", setup, 0},
		45103: {rejected, "permission_denied", setup, 0}, 48001: {rejected, "permission_denied", setup, 0}, 48003: {rejected, "permission_denied", setup, 0},
		48004: {rejected, "permission_denied", setup, 0}, 48008: {rejected, "permission_denied", setup, 0}, 50001: {rejected, "permission_denied", setup, 0},
		50002: {rejected, "permission_denied", setup, 0}, 61007: {rejected, "permission_denied", setup, 0}, 61016: {rejected, "permission_denied", setup, 0},
		65400: {rejected, "permission_denied", setup, 0},
		40003: {rejected, "invalid_recipient", message, 0}, 40031: {rejected, "invalid_recipient", message, 0}, 40032: {rejected, "invalid_recipient", message, 0},
		41009: {rejected, "invalid_recipient", message, 0}, 46004: {rejected, "invalid_recipient", message, 0},
		43004: {rejected, "unsubscribed", message, 0}, 43005: {rejected, "unsubscribed", message, 0}, 43101: {rejected, "unsubscribed", message, 0},
		50005: {rejected, "unsubscribed", message, 0}, 43019: {rejected, "recipient_blocked", message, 0}, 48002: {rejected, "recipient_blocked", message, 0},
		45015: {rejected, "reply_window_closed", message, 0}, 45047: {rejected, "reply_limit_reached", message, 0},
		40036: {rejected, "template_missing", message, 0}, 40037: {rejected, "template_missing", message, 0},
		43116: {rejected, "template_invalid", message, 0}, 47003: {rejected, "template_invalid", message, 0},
		40241: {rejected, "duplicate", message, 0}, 45065: {rejected, "duplicate", message, 0},
		40249: {rejected, "content_refused", message, 0}, 45168: {rejected, "content_refused", message, 0}, 87014: {rejected, "content_refused", message, 0},
		44003: {rejected, "empty_text", message, 0}, 44004: {rejected, "empty_text", message, 0},
		61452: {rejected, "invalid_sender", message, 0}, 65401: {rejected, "invalid_sender", message, 0},
	}
	for code, codes := range map[string][]int{
		"payload_too_large": {40006, 40009, 40010, 40011, 40012, 45001, 45002, 45003, 45004, 45005, 45006, 45007, 45008},
		"invalid_field":     {40008, 40035, 40039, 40048, 40066, 40132, 40155, 40165, 41030, 61451, 9001001},
		"media_invalid":     {40004, 40005, 40007, 40118, 40121, 40137, 41005, 41006, 44001, 46001},
	} {
		for _, n := range codes {
			rows[n] = want{rejected, code, message, 0}
		}
	}
	if len(rows) != len(verdicts) {
		t.Errorf("%d codes are known, %d are tested", len(verdicts), len(rows))
	}
	rows[99999] = want{rejected, "provider_error", wechat, 0} // one that nobody knows

	p := newProvider(t)
	c := openAt(t, settings(p.URL))
	for number, want := range rows {
		t.Run(strconv.Itoa(number), func(t *testing.T) {
			p.on(pathCustom, says(fmt.Sprintf(`{"errcode":%d,"errmsg":"no rid: 1-2-3"}`, number)))
			_, err := c.Send(t.Context(), text("hello"))
			e, ok := errors.AsType[*sdk.DeliveryError](err)
			if !ok {
				t.Fatalf("error %v", err)
			}
			if e.Outcome != want.outcome || e.Code != want.code || e.Fault != want.fault || e.RetryAfter != want.wait || e.ProviderCode != strconv.Itoa(number) {
				t.Errorf("outcome %s %s, fault %d, wait %s, provider code %s; want %+v", e.Outcome, e.Code, e.Fault, e.RetryAfter, e.ProviderCode, want)
			}
		})
	}
}

// A repeat that WeChat tells of may be one of an attempt whose answer was lost.
func TestRepeats(t *testing.T) {
	p := newProvider(t)
	p.on(pathTemplate, says(`{"errcode":40241,"errmsg":"The message is duplicate in 60 seconds"}`))
	c := openAt(t, settings(p.URL))
	m := templated("T1", nil)
	_, err := c.Send(t.Context(), m)
	wantOutcome(t, err, sdk.OutcomeRejected, "duplicate")
	m.Attempt = 2
	_, err = c.Send(t.Context(), m)
	wantOutcome(t, err, sdk.OutcomeUncertain, "duplicate")
}

// The id of a template message is its own: WeChat has it already because an earlier attempt was taken.
func TestRepeatOfATemplateMessageThatWasTaken(t *testing.T) {
	p := newProvider(t)
	c := openAt(t, settings(p.URL))
	m := templated("T1", nil)
	m.IdempotencyKey = "msg_1"
	p.on(pathTemplate, says(`{"errcode":45065,"errmsg":"clientmsgid exist","msgid":200163840}`))
	_, err := c.Send(t.Context(), m)
	wantOutcome(t, err, sdk.OutcomeRejected, "duplicate")
	m.Attempt = 2
	if r, err := c.Send(t.Context(), m); err != nil || r.ProviderID() != "200163840" {
		t.Errorf("receipt %+v, %v", r, err)
	}
	p.on(pathTemplate, says(`{"errcode":45065,"errmsg":"clientmsgid exist"}`))
	if r, err := c.Send(t.Context(), m); err != nil || len(r.ProviderIDs) != 0 {
		t.Errorf("receipt %+v, %v", r, err)
	}
	p.on(pathCustom, says(`{"errcode":45065,"errmsg":"clientmsgid exist"}`))
	other := text("hello")
	other.Attempt = 2
	_, err = c.Send(t.Context(), other)
	wantOutcome(t, err, sdk.OutcomeUncertain, "duplicate")
}

// WeChat may fail after it took a message. Only where it drops the repeat, or there was no message yet, is it tried again.
func TestBusy(t *testing.T) {
	p := newProvider(t)
	c := openAt(t, settings(p.URL))
	busy := says(`{"errcode":-1,"errmsg":"system error"}`)
	for _, path := range []string{pathTemplate, pathCustom} {
		p.on(path, busy)
	}
	keyed, bare := templated("T1", nil), templated("T1", nil)
	keyed.IdempotencyKey, bare.IdempotencyKey = "msg_1", ""
	_, err := c.Send(t.Context(), keyed)
	wantOutcome(t, err, sdk.OutcomeRetryable, "provider_unavailable")
	_, err = c.Send(t.Context(), bare)
	wantOutcome(t, err, sdk.OutcomeUncertain, "provider_unavailable")
	_, err = c.Send(t.Context(), text("hello"))
	wantOutcome(t, err, sdk.OutcomeUncertain, "provider_unavailable")
	p.on(pathStableToken, busy)
	_, err = openAt(t, settings(p.URL)).Send(t.Context(), text("hello"))
	wantOutcome(t, err, sdk.OutcomeRetryable, "provider_unavailable")
}

func TestNotSent(t *testing.T) {
	wantOutcome(t, notSent(sdk.Uncertain(errors.New("lost"), sdk.Code("x"))), sdk.OutcomeRetryable, "x")
	wantOutcome(t, notSent(sdk.Permanent(errors.New("refused"), sdk.Code("x"))), sdk.OutcomeRejected, "x")
	if err := errors.New("any"); !errors.Is(notSent(err), err) || notSent(nil) != nil {
		t.Error("an error without an outcome changes")
	}
}
