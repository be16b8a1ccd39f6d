package main

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/sdk"
)

// statuses maps the statuses that the config names to outcomes. For the others holds what sdk.DoHTTP
// does.
type statuses map[int]sdk.Outcome

// compileStatuses reads the lists. A status in two of them is a mistake.
func compileStatuses(c statusConfig) (statuses, error) {
	out, from := make(statuses), make(map[int]string)
	var faults problems
	for _, list := range []struct {
		field   string
		entries []string
		outcome sdk.Outcome
	}{
		{"status.accepted", c.Accepted, sdk.OutcomeAccepted},
		{"status.rejected", c.Rejected, sdk.OutcomeRejected},
		{"status.retryable", c.Retryable, sdk.OutcomeRetryable},
		{"status.throttled", c.Throttled, sdk.OutcomeThrottled},
		{"status.uncertain", c.Uncertain, sdk.OutcomeUncertain},
	} {
		for i, entry := range list.entries {
			field := fmt.Sprintf("%s[%d]", list.field, i)
			low, high, err := parseStatuses(entry)
			if err != nil {
				faults.add(field, err.Error(), `write "404", "500-599" or "5xx"`)
				continue
			}
			for status := low; status <= high; status++ {
				if other, taken := from[status]; taken && out[status] != list.outcome {
					faults.add(field, fmt.Sprintf("%d is in %s as well", status, other), "one status has one meaning")
					break
				}
				out[status], from[status] = list.outcome, list.field
			}
		}
	}
	return out, faults.err()
}

// parseStatuses reads "404", "500-599" or "5xx".
func parseStatuses(text string) (low, high int, err error) {
	first, last, ranged := strings.Cut(text, "-")
	if class, ok := strings.CutSuffix(text, "xx"); ok {
		first, last, ranged = class+"00", class+"99", true
	}
	if !ranged {
		last = first
	}
	low, err1 := strconv.Atoi(strings.TrimSpace(first))
	high, err2 := strconv.Atoi(strings.TrimSpace(last))
	switch {
	case err1 != nil || err2 != nil:
		return 0, 0, fmt.Errorf("%q is no status", text)
	case low < 200 || high > 599:
		return 0, 0, fmt.Errorf("%q is not within 200 and 599", text)
	case low > high:
		return 0, 0, errors.New("the range ends before it begins")
	}
	return low, high, nil
}

// outcome says what a status means.
func (s statuses) outcome(status int) sdk.Outcome {
	if o, ok := s[status]; ok {
		return o
	}
	switch {
	case status >= 200 && status < 300:
		return sdk.OutcomeAccepted
	case status == http.StatusTooManyRequests:
		return sdk.OutcomeThrottled
	case status == http.StatusServiceUnavailable || status == http.StatusRequestTimeout || status == http.StatusTooEarly:
		return sdk.OutcomeRetryable
	case status >= 300 && status < 500:
		return sdk.OutcomeRejected
	default: // it may have done the work before it failed
		return sdk.OutcomeUncertain
	}
}

// statusOptions says for a status what the outcome alone does not: code and fault.
func statusOptions(outcome sdk.Outcome, status int) []sdk.Option {
	switch {
	case outcome == sdk.OutcomeRejected && (status == http.StatusUnauthorized || status == http.StatusForbidden):
		return []sdk.Option{sdk.Code(sdk.CodeAuthFailed), sdk.Blame(sdk.FaultConfig)}
	case outcome == sdk.OutcomeRejected && status >= 300 && status < 400:
		return []sdk.Option{sdk.Code(sdk.CodeHTTPStatus), sdk.Blame(sdk.FaultConfig)}
	case outcome == sdk.OutcomeRejected || outcome == sdk.OutcomeUncertain:
		return []sdk.Option{sdk.Code(sdk.CodeHTTPStatus)}
	default:
		return nil
	}
}
