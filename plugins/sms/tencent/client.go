package tencent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// sendStatus is the result of one message.
type sendStatus struct {
	SerialNo, PhoneNumber, SessionContext, Code, Message string
	Fee                                                  int
}

// pulled is one message whose receipt has come.
type pulled struct {
	SerialNo, PhoneNumber, SessionContext, ReportStatus, Description string
	UserReceiveTime                                                  int64
}

// answer is what all operations answer, refusals as well: with status 200.
type answer struct {
	RequestID string `json:"RequestId"`
	Error     *struct{ Code, Message string }

	SendStatusSet        []sendStatus
	PullSmsSendStatusSet []pulled
}

// call makes one request, once. err has an outcome.
func (c *Channel) call(ctx context.Context, action string, parameters any) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	body, err := json.Marshal(parameters)
	if err != nil {
		return answer{}, sdk.Permanent(fmt.Errorf("write %s: %w", action, err), sdk.Blame(sdk.FaultPlugin))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.config.BaseURL, bytes.NewReader(body))
	if err != nil {
		return answer{}, sdk.Permanent(fmt.Errorf("make a request: %w", err), sdk.Blame(sdk.FaultConfig))
	}
	req.URL.Path = "/" // the signature has it so
	c.config.sign(req, target{"sms", "2021-01-11", action, c.config.Region}, body, c.now())
	var out struct{ Response *answer }
	_, err = sdk.DoHTTPAnswer(req, func(resp *http.Response, body []byte) (sdk.Receipt, error) {
		if json.Unmarshal(body, &out) != nil || out.Response == nil || out.Response.RequestID == "" {
			if err := sdk.HTTPOutcome(resp, body); err != nil {
				return sdk.Receipt{}, err
			}
			return sdk.Receipt{}, sdk.Uncertain(errors.New("the answer cannot be read"), sdk.Code(verdict.NoResponse))
		}
		return sdk.Receipt{}, refusal(action, out.Response)
	}, c.config.SecretKey)
	if out.Response == nil {
		return answer{}, err
	}
	return *out.Response, err
}

// refusal is the outcome of a request that was refused whole.
func refusal(action string, a *answer) error {
	if a.Error == nil {
		return nil
	}
	return outcome(a.Error.Code, fmt.Errorf("%s refused: %s (request %s)", action, a.Error.Message, a.RequestID))
}

// outcome turns a code other than Ok into an outcome.
func outcome(code string, err error) error {
	v, known := codes.Find(code)
	if !known {
		v = verdict.Unknown(verdict.ProviderError) // not Ok, and nobody knows what it is
	}
	return v.Error(err, code)
}
