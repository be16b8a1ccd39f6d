package twilio

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// maxText is the longest text, in characters.
	maxText = 1600
	// maxValidity is the longest ValidityPeriod.
	maxValidity = 36000 * time.Second
	// maxMedia is the most media of a message.
	maxMedia = 10
	// parameterAttempt is what the plugin adds to the callback URL: the attempt that a receipt is about.
	parameterAttempt = "attempt"
)

// Channel sends through one account of the provider. It has no state beyond its config.
type Channel struct {
	config Config
	now    func() time.Time
}

// Open makes a Channel of a config that is valid.
func Open(c Config) *Channel { return &Channel{config: c, now: time.Now} }

// Send makes one message at the provider.
func (c *Channel) Send(ctx context.Context, m *sdk.Message) (sdk.Receipt, error) {
	form, err := c.compose(m, c.callbackURL(ctx))
	if err != nil {
		return sdk.Receipt{}, err
	}
	r, err := c.call(ctx, "/Messages.json", form)
	if err != nil {
		return sdk.Receipt{}, err
	}
	if err := r.outcome(); err != nil {
		return sdk.Receipt{}, err
	}
	return r.receipt(), nil
}

// callbackURL is where receipts are to go: none where they could not be verified.
func (c *Channel) callbackURL(ctx context.Context) string {
	switch {
	case c.config.AuthToken == "":
		return ""
	case c.config.CallbackURL != "":
		return strings.TrimRight(c.config.CallbackURL, "/")
	}
	return sdk.CallbackURL(ctx)
}

// compose writes a message as the provider's form; receipts go to callback, if there is one. An error has an outcome:
// nothing was sent.
func (c *Channel) compose(m *sdk.Message, callback string) (url.Values, error) {
	to := "+" + strings.TrimPrefix(m.Recipient, "+")
	if digits := to[1:]; len(digits) < 3 || len(digits) > 15 || strings.Trim(digits, "0123456789") != "" {
		return nil, sdk.Permanent(fmt.Errorf("%q is no phone number: expected + and 3 to 15 digits", m.Recipient), sdk.Code(verdict.InvalidRecipient))
	}
	form := url.Values{"To": {to}}
	switch sender := m.Attributes[attributeSender]; {
	case sender != "":
		form.Set("From", sender)
	case c.config.MessagingServiceSID != "":
		form.Set("MessagingServiceSid", c.config.MessagingServiceSID)
	case c.config.From != "":
		form.Set("From", c.config.From)
	default:
		return nil, sdk.Permanent(errors.New("no sender: set from or messaging_service_sid in the config, or the attribute sender of the message"),
			sdk.Code(verdict.InvalidSender), sdk.Blame(sdk.FaultConfig))
	}
	if err := fill(form, m); err != nil {
		return nil, err
	}
	if callback != "" {
		form.Set("StatusCallback", callback+"?"+url.Values{parameterAttempt: {m.AttemptID}}.Encode())
	}
	if c.config.Validity && !m.NotAfter.IsZero() {
		span := min(max(m.NotAfter.Sub(c.now()), time.Second), maxValidity)
		form.Set("ValidityPeriod", strconv.Itoa(int(span/time.Second)))
	}
	return form, nil
}

// fill sets what the message says.
func fill(form url.Values, m *sdk.Message) error {
	if m.Template != nil && m.Template.ID != "" {
		form.Set("ContentSid", m.Template.ID)
		if len(m.Template.Parameters) > 0 {
			variables, err := json.Marshal(m.Template.Parameters)
			if err != nil {
				return sdk.Permanent(fmt.Errorf("write the variables: %w", err), sdk.Blame(sdk.FaultPlugin))
			}
			form.Set("ContentVariables", string(variables))
		}
		return nil
	}
	for _, a := range m.Attachments {
		if a.URL == "" {
			return sdk.Permanent(fmt.Errorf("attachment %q has no URL: the provider fetches media by itself", a.Name), sdk.Code(verdict.InvalidParameter))
		}
		form.Add("MediaUrl", a.URL)
	}
	switch n := len([]rune(m.Text())); {
	case n > maxText:
		return sdk.Permanent(fmt.Errorf("the text has %d characters: the provider takes %d", n, maxText), sdk.Code(verdict.PayloadTooLarge))
	case len(form["MediaUrl"]) > maxMedia:
		return sdk.Permanent(fmt.Errorf("%d attachments: the provider takes %d", len(form["MediaUrl"]), maxMedia), sdk.Code(verdict.PayloadTooLarge))
	case n > 0:
		form.Set("Body", m.Text())
	case len(form["MediaUrl"]) == 0:
		return sdk.Permanent(errors.New("the message has no text"), sdk.Code(verdict.EmptyText))
	}
	return nil
}

// Check fetches the account.
func (c *Channel) Check(ctx context.Context) error {
	account, err := c.call(ctx, ".json", nil)
	if err != nil {
		return err
	}
	if account.Status != "active" {
		return sdk.Permanent(fmt.Errorf("the account is %s", account.Status), sdk.Code(verdict.PermissionDenied), sdk.Blame(sdk.FaultConfig))
	}
	return nil
}

// Query fetches the messages whose ids are known. The provider cannot be asked about others; the receipt of an attempt
// that was not answered names the attempt, and settles it.
func (c *Channel) Query(ctx context.Context, attempts []sdk.Attempt) ([]sdk.QueryResult, error) {
	var results []sdk.QueryResult
	for _, a := range attempts {
		if len(a.ProviderIDs) == 0 {
			continue
		}
		r, err := c.call(ctx, "/Messages/"+url.PathEscape(a.ProviderIDs[0])+".json", nil)
		if e, ok := errors.AsType[*sdk.DeliveryError](err); ok && e.ProviderCode == "20404" {
			continue
		}
		if err != nil {
			return results, fmt.Errorf("query attempt %s: %w", a.AttemptID, err)
		}
		results = append(results, sdk.QueryResult{AttemptID: a.AttemptID, Receipt: r.receipt(), Err: r.outcome()})
	}
	return results, nil
}
