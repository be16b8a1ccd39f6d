package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

var errNoRecipient = errors.New("the message has no recipient")

// answer is what Feishu answers every request with. StatusCode is the code of older custom bots.
type answer struct {
	Code       *int            `json:"code"`
	StatusCode *int            `json:"StatusCode"`
	Message    string          `json:"msg"`
	Status     string          `json:"StatusMessage"`
	Data       json.RawMessage `json:"data"`
}

// readAnswer reads an answer of whatever status. An error is the outcome that the answer stands for.
func readAnswer(resp *http.Response, body []byte) (answer, error) {
	var a answer
	err := json.Unmarshal(body, &a)
	if a.Code == nil {
		a.Code, a.Message = a.StatusCode, a.Status
	}
	switch {
	case err == nil && a.Code != nil && *a.Code != 0:
		return a, refusal(resp, *a.Code, a.Message)
	case resp.StatusCode == http.StatusTooManyRequests:
		return a, sdk.Throttled(errors.New("provider answered 429 Too Many Requests"), pauseOf(resp, time.Second), sdk.ProviderCode("429"))
	case sdk.HTTPOutcome(resp, body) != nil:
		return a, sdk.HTTPOutcome(resp, body)
	case err != nil || a.Code == nil:
		return a, sdk.Uncertain(errors.New("the answer is not one of Feishu, though its status is "+resp.Status), sdk.Code("unreadable_answer"))
	default:
		return a, nil
	}
}

// refusal is the outcome of a code that is not 0.
func refusal(resp *http.Response, code int, message string) error {
	v, known := verdicts[code]
	switch {
	case code == 9499 && strings.Contains(strings.ToLower(message), "too many"):
		v = slowDown(time.Second)
	case code == 230001 && strings.Contains(message, "receive_id"):
		v = refused(codeInvalidRecipient)
	case known:
	case resp.StatusCode == http.StatusTooManyRequests:
		v = slowDown(time.Second)
	case resp.StatusCode >= http.StatusInternalServerError:
		v = broken()
	default:
		v = refused(codeRejected)
	}
	text := fmt.Sprintf("Feishu answered %d: %.300s", code, message)
	if id := resp.Header.Get("X-Tt-Logid"); id != "" {
		text += " (log id " + id + ")"
	}
	err := errors.New(text)
	options := []sdk.Option{sdk.Code(v.code), sdk.ProviderCode(strconv.Itoa(code)), sdk.Blame(v.fault)}
	switch v.outcome {
	case sdk.OutcomeThrottled:
		return sdk.Throttled(err, pauseOf(resp, v.after), options...)
	case sdk.OutcomeRetryable:
		return sdk.Retryable(err, options...)
	case sdk.OutcomeUncertain:
		return sdk.Uncertain(err, options...)
	default:
		return sdk.Permanent(err, options...)
	}
}

// maxPause bounds what is believed of an answer that asks to wait.
const maxPause = time.Hour

// pauseOf is how long the answer asks to wait.
// https://open.feishu.cn/document/server-docs/api-call-guide/frequency-control
func pauseOf(resp *http.Response, otherwise time.Duration) time.Duration {
	for _, name := range []string{"X-Ogw-Ratelimit-Reset", "Retry-After"} {
		if seconds, err := strconv.ParseInt(resp.Header.Get(name), 10, 32); err == nil && seconds >= 0 {
			return min(max(time.Duration(seconds)*time.Second, 100*time.Millisecond), maxPause)
		}
	}
	return otherwise
}

// throttledFor is how long Feishu asked to wait; 0 if it did not.
func throttledFor(err error) time.Duration {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	if !ok || e.Outcome != sdk.OutcomeThrottled {
		return 0
	}
	return e.RetryAfter
}

// unsent is the outcome of a request that comes before the message itself: whatever became of it, nothing was sent.
func unsent(err error) error {
	if err == nil || sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
		return err
	}
	code, provider := sdk.CodeUnavailable, ""
	if e, ok := errors.AsType[*sdk.DeliveryError](err); ok {
		code, provider = e.Code, e.ProviderCode
	}
	return sdk.Retryable(err, sdk.Code(code), sdk.ProviderCode(provider))
}
