package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

func TestTokenIsFetchedOnce(t *testing.T) {
	p := newProvider(t)
	c := openAt(t, settings(p.URL+"/"))
	for range 3 {
		if _, err := c.Send(t.Context(), text("hello")); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Check(t.Context()); err == nil {
		t.Error("Check takes an answer without addresses for one of WeChat's")
	}
	p.on(pathAddresses, says(`{"ip_list":["101.226.62.77"]}`))
	if err := c.Check(t.Context()); err != nil {
		t.Errorf("Check: %v", err)
	}
	asked := p.only(t, pathStableToken)
	if got := asked.json(t); asked.method != http.MethodPost || got["grant_type"] != "client_credential" || got["appid"] != testAppID ||
		got["secret"] != testSecret || len(got) != 3 {
		t.Errorf("asked %s with %v", asked.method, got)
	}
	for _, sent := range p.to(pathCustom) {
		if sent.token != "token-1" || sent.method != http.MethodPost || !strings.HasPrefix(sent.contentType, "application/json") {
			t.Errorf("sent %+v", sent)
		}
	}
	if check := p.to(pathAddresses)[0]; check.method != http.MethodGet || check.token != "token-1" || len(check.body) != 0 {
		t.Errorf("checked %+v", check)
	}
}

// WeChat refuses a token before it looks at the message.
func TestRefusedTokenIsReplacedOnce(t *testing.T) {
	for _, code := range []string{"40001", "40014", "42001"} {
		t.Run(code, func(t *testing.T) {
			p := newProvider(t)
			refusal := says(`{"errcode":` + code + `,"errmsg":"access_token expired"}`)
			p.on(pathTemplate, inTurn(refusal, says(`{"errcode":0,"errmsg":"ok","msgid":9007199254740993}`)))
			c := openAt(t, settings(p.URL))
			receipt, err := c.Send(t.Context(), templated("T1", nil))
			if err != nil || receipt.ProviderID() != "9007199254740993" {
				t.Fatalf("receipt %+v, %v", receipt, err)
			}
			sent := p.to(pathTemplate)
			if len(sent) != 2 || sent[0].token != "token-1" || sent[1].token != "token-2" || string(sent[0].body) != string(sent[1].body) {
				t.Errorf("sent %+v", sent)
			}

			p.on(pathTemplate, refusal)
			_, err = c.Send(t.Context(), templated("T1", nil))
			wantOutcome(t, err, sdk.OutcomeRejected, "auth_failed")
			if n := len(p.to(pathTemplate)); n != 4 {
				t.Errorf("sent %d times, want two times two", n)
			}
			// The second token was given up as well.
			p.on(pathTemplate, says(`{"errcode":0,"errmsg":"ok"}`))
			if _, err := c.Send(t.Context(), templated("T1", nil)); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOtherRefusalsAreNotRepeated(t *testing.T) {
	p := newProvider(t)
	p.on(pathCustom, says(`{"errcode":-1,"errmsg":"system error"}`))
	_, err := openAt(t, settings(p.URL)).Send(t.Context(), text("hello"))
	wantOutcome(t, err, sdk.OutcomeUncertain, "provider_unavailable")
	p.only(t, pathCustom)
}

// Without a token nothing is sent, whatever becomes of the request for one.
func TestTokenThatCannotBeHad(t *testing.T) {
	for name, tc := range map[string]struct {
		answer  http.HandlerFunc
		outcome sdk.Outcome
		code    string
	}{
		"a wrong secret":        {says(`{"errcode":40125,"errmsg":"invalid appsecret"}`), sdk.OutcomeRejected, "auth_failed"},
		"another address":       {says(`{"errcode":40164,"errmsg":"invalid ip 192.0.2.1, not in whitelist"}`), sdk.OutcomeRejected, "address_not_allowed"},
		"an address to approve": {says(`{"errcode":89503,"errmsg":"confirm"}`), sdk.OutcomeRetryable, "address_not_allowed"},
		"too many":              {says(`{"errcode":45009,"errmsg":"reach max api daily quota limit"}`), sdk.OutcomeThrottled, "quota_exceeded"},
		"no JSON":               {says(`<html>`), sdk.OutcomeRetryable, "bad_answer"},
		"no token in it":        {says(`{"expires_in":7200}`), sdk.OutcomeRetryable, "bad_answer"},
		"a failure":             {func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusInternalServerError) }, sdk.OutcomeRetryable, "http_status"},
		"no answer":             {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, sdk.OutcomeRetryable, "uncertain"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.on(pathStableToken, tc.answer)
			c := openAt(t, settings(p.URL))
			_, err := c.Send(t.Context(), text("hello"))
			wantOutcome(t, err, tc.outcome, tc.code)
			wantOutcome(t, c.Check(t.Context()), tc.outcome, tc.code)
			if sent := p.to(pathCustom); len(sent) != 0 {
				t.Errorf("sent %+v", sent)
			}
		})
	}
}

// What may have been read and was not answered is uncertain.
func TestAnswersThatAreNone(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"cut off":             func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		"a page":              says("<html>Welcome to our hotel</html>"),
		"another object":      says(`{"status":"ok"}`),
		"half an answer":      says(`{"errcode":`),
		"nothing":             says(``),
		"an error of a proxy": func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusBadGateway) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newProvider(t)
			p.on(pathTemplate, answer)
			_, err := openAt(t, settings(p.URL)).Send(t.Context(), templated("T1", nil))
			if got := sdk.OutcomeOf(err); got != sdk.OutcomeUncertain {
				t.Errorf("outcome %s (%v)", got, err)
			}
			p.only(t, pathTemplate)
		})
	}
}

func TestTimeoutAfterTheRequestWasReadIsUncertain(t *testing.T) {
	p := newProvider(t)
	p.on(pathTemplate, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	settings := settings(p.URL)
	settings.Timeout = 100 * time.Millisecond
	_, err := openAt(t, settings).Send(t.Context(), templated("T1", nil))
	wantOutcome(t, err, sdk.OutcomeUncertain, sdk.CodeTimeout)
}

func TestNobodyThere(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	c := openAt(t, settings(gone.URL))
	_, err := c.Send(t.Context(), text("hello"))
	wantOutcome(t, err, sdk.OutcomeRetryable, sdk.CodeConnectFailed)
	wantOutcome(t, c.Check(t.Context()), sdk.OutcomeRetryable, sdk.CodeConnectFailed)
}

func TestErrorsHoldNoCredentials(t *testing.T) {
	p := newProvider(t)
	p.on(pathCustom, func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, "no such page: "+r.URL.String())
	})
	p.on(pathTemplate, says(`{"errcode":47001,"errmsg":"bad request token-1"}`))
	c := openAt(t, settings(p.URL))
	for _, m := range []*sdk.Message{text("hello"), templated("T1", nil)} {
		_, err := c.Send(t.Context(), m)
		if err == nil || strings.Contains(err.Error(), "token-1") {
			t.Errorf("error %v", err)
		}
	}
	p.on(pathStableToken, func(rw http.ResponseWriter, r *http.Request) {
		rw.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(rw, "bad secret: "+testSecret)
	})
	_, err := openAt(t, settings(p.URL)).Send(t.Context(), text("hello"))
	if err == nil || strings.Contains(err.Error(), testSecret) {
		t.Errorf("error %v", err)
	}
}

func TestCanceledBeforeTheToken(t *testing.T) {
	p := newProvider(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := openAt(t, settings(p.URL)).Send(ctx, text("hello"))
	if got := sdk.OutcomeOf(err); got != sdk.OutcomeRetryable {
		t.Errorf("outcome %s (%v)", got, err)
	}
	if sent := p.to(pathCustom); len(sent) != 0 {
		t.Errorf("sent %+v", sent)
	}
}
