package twilio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// resource is what the provider answers: a message or an account, or an error, which has a code and no sid.
type resource struct {
	SID          string `json:"sid"`
	Status       text   `json:"status"` // a word; of an error the HTTP status
	NumSegments  string `json:"num_segments"`
	Price        string `json:"price"`
	PriceUnit    string `json:"price_unit"`
	ErrorCode    *int   `json:"error_code"`
	ErrorMessage string `json:"error_message"`

	Code    int    `json:"code"`
	Message string `json:"message"`
}

// text is a JSON string, or any other value as it is written.
type text string

// UnmarshalJSON takes any value.
func (t *text) UnmarshalJSON(raw []byte) error {
	var word string
	if json.Unmarshal(raw, &word) != nil {
		word = string(raw)
	}
	*t = text(word)
	return nil
}

// call makes one request below the account, once. form is posted; nil asks. err has an outcome.
func (c *Channel) call(ctx context.Context, path string, form url.Values) (resource, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	method, body := http.MethodGet, ""
	if form != nil {
		method, body = http.MethodPost, form.Encode()
	}
	address := strings.TrimRight(c.config.BaseURL, "/") + "/2010-04-01/Accounts/" + url.PathEscape(c.config.AccountSID) + path
	req, err := http.NewRequestWithContext(ctx, method, address, strings.NewReader(body))
	if err != nil {
		return resource{}, sdk.Permanent(fmt.Errorf("make a request: %w", err), sdk.Blame(sdk.FaultConfig))
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	req.Header.Set("Accept", "application/json")
	if c.config.APIKeySID != "" {
		req.SetBasicAuth(c.config.APIKeySID, c.config.APIKeySecret.Reveal())
	} else {
		req.SetBasicAuth(c.config.AccountSID, c.config.AuthToken.Reveal())
	}
	var out resource
	_, err = sdk.DoHTTPAnswer(req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		readable := json.Unmarshal(body, &out) == nil
		switch {
		case resp.StatusCode >= 300:
			return sdk.Receipt{}, refusal(out, resp, body)
		case !readable || out.SID == "":
			return sdk.Receipt{}, sdk.Uncertain(errors.New("the answer cannot be read"), sdk.Code(verdict.NoResponse))
		}
		return sdk.Receipt{}, nil
	}, c.config.AuthToken, c.config.APIKeySecret)
	return out, err
}

// refusal is the outcome of an error. The pause of a 429 is in its header.
func refusal(r resource, resp *http.Response, body []byte) error {
	byStatus := sdk.HTTPOutcome(resp, body)
	v, known := codes.Find(strconv.Itoa(r.Code))
	if !known {
		return byStatus
	}
	if e, ok := errors.AsType[*sdk.DeliveryError](byStatus); ok && v.Outcome == e.Outcome {
		v.RetryAfter = max(v.RetryAfter, e.RetryAfter)
	}
	return v.Error(fmt.Errorf("refused: %s", r.Message), strconv.Itoa(r.Code))
}

// outcome is that of a message which the provider made: it may have failed at once.
func (r resource) outcome() error {
	if r.Status != "failed" && r.Status != "undelivered" && r.Status != "canceled" {
		return nil
	}
	code := ""
	if r.ErrorCode != nil {
		code = strconv.Itoa(*r.ErrorCode)
	}
	return sdk.Permanent(fmt.Errorf("the provider reports %s: %s", r.Status, r.ErrorMessage),
		sdk.Code(undelivered(code)), sdk.ProviderCode(code))
}

// receipt reads what the provider bills. The price is negative, and often not known yet.
func (r resource) receipt() sdk.Receipt {
	out := sdk.Accepted(r.SID)
	out.Segments, _ = strconv.Atoi(r.NumSegments) // 0 through a messaging service, which has not chosen the sender yet
	if amount := strings.TrimPrefix(r.Price, "-"); amount != "" {
		out.Cost = sdk.Cost{Amount: amount, Currency: strings.ToUpper(r.PriceUnit)}
	}
	return out
}
