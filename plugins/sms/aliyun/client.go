package aliyun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// answer is what all operations answer. Refusals of the product come with status 200, those of the gateway before it
// with others.
type answer struct {
	Code      string
	Message   string
	RequestID string `json:"RequestId"`
	BizID     string `json:"BizId"`

	SmsSendDetailDTOs struct {
		SmsSendDetailDTO []detail
	}
	TotalCount json.Number
}

// call makes one request, once: query are parameters in the URL, form those in the body. err has an outcome.
func (c *Channel) call(ctx context.Context, action string, query, form map[string]string) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	body := encode(form)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.BaseURL, strings.NewReader(body))
	if err != nil {
		return answer{}, sdk.Permanent(fmt.Errorf("make a request: %w", err), sdk.Blame(sdk.FaultConfig))
	}
	if req.URL.Path == "" {
		req.URL.Path = "/"
	}
	req.URL.RawQuery = encode(query)
	req.Header.Set("Accept", "application/json")
	if body != "" {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	c.config.sign(req, body, target{action, apiVersion}, c.now(), newNonce())
	var out answer
	_, err = sdk.DoHTTPAnswer(req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		if json.Unmarshal(body, &out) != nil || out.Code == "" {
			if err := sdk.HTTPOutcome(resp, body); err != nil {
				return sdk.Receipt{}, err
			}
			return sdk.Receipt{}, sdk.Uncertain(errors.New("the answer cannot be read"), sdk.Code(verdict.NoResponse))
		}
		return sdk.Receipt{}, refusal(action, out, resp, body)
	}, c.config.AccessKeySecret)
	return out, err
}

// refusal turns an answer other than OK into an outcome.
func refusal(action string, a answer, resp *http.Response, body []byte) error {
	if a.Code == "OK" && resp.StatusCode < 300 {
		return nil
	}
	v, known := codes.Find(a.Code)
	if !known {
		if err := sdk.HTTPOutcome(resp, body); err != nil {
			return err
		}
		v = verdict.Unknown(verdict.ProviderError) // not OK, and nobody knows what it is
	}
	return v.Error(fmt.Errorf("%s refused: %s (request %s)", action, a.Message, a.RequestID), a.Code)
}
