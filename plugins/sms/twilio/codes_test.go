package twilio

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// Every row, as the provider answers it.
func TestCodes(t *testing.T) {
	for code, want := range codes {
		number, err := strconv.Atoi(code)
		if err != nil {
			t.Fatal(err)
		}
		err = refusal(resource{Code: number, Message: "words"}, &http.Response{StatusCode: http.StatusBadRequest}, nil)
		e, ok := errors.AsType[*sdk.DeliveryError](err)
		if !ok || e.Outcome != want.Outcome || e.Code != want.Code || e.Fault != want.Fault || e.ProviderCode != code || e.RetryAfter != want.RetryAfter {
			t.Errorf("%s becomes %+v, want %+v", code, e, want)
		}
		if got := undelivered(code); got != want.Code {
			t.Errorf("%s in a receipt: %s", code, got)
		}
	}
	if got := undelivered("99999"); got != verdict.Undeliverable {
		t.Errorf("an unknown code in a receipt: %s", got)
	}
	slow := &http.Response{StatusCode: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"7"}}}
	if e, ok := errors.AsType[*sdk.DeliveryError](refusal(resource{Code: 20429}, slow, nil)); !ok || e.RetryAfter != 7*time.Second {
		t.Errorf("Retry-After is lost: %+v", e)
	}
}

func TestValidate(t *testing.T) {
	digits := "0123456789abcdef0123456789abcdef"
	good := Config{AccountSID: "AC" + digits, AuthToken: "token", From: "+15005550006", CallbackURL: "https://gw.example.com/callbacks/sms/x"}
	if errs := good.Validate("twilio"); len(errs) > 0 {
		t.Errorf("a good config: %v", errs)
	}
	for name, tc := range map[string]struct {
		path   string
		change func(*Config)
	}{
		"account":    {"twilio.account_sid", func(c *Config) { c.AccountSID = "AC123" }},
		"service":    {"twilio.messaging_service_sid", func(c *Config) { c.From, c.MessagingServiceSID = "", "AC"+digits }},
		"both":       {"twilio.from", func(c *Config) { c.MessagingServiceSID = "MG" + digits }},
		"key":        {"twilio.api_key_sid", func(c *Config) { c.APIKeySID, c.APIKeySecret = "SK1", "x" }},
		"no key":     {"twilio.api_key_sid", func(c *Config) { c.APIKeySecret = "x" }},
		"no secret":  {"twilio.api_key_secret", func(c *Config) { c.APIKeySID = "SK" + digits }},
		"no token":   {"twilio.auth_token", func(c *Config) { c.AuthToken = "" }},
		"unverified": {"twilio.auth_token", func(c *Config) { c.AuthToken, c.APIKeySID, c.APIKeySecret = "", "SK"+digits, "x" }},
		"query":      {"twilio.callback_url", func(c *Config) { c.CallbackURL += "?a=b" }},
	} {
		c := good
		tc.change(&c)
		errs := c.Validate("twilio")
		fault, ok := errors.AsType[*sdk.ConfigError](errors.Join(errs...))
		if !ok || fault.Path != tc.path || fault.Detail == "" {
			t.Errorf("%s: %v, want %s", name, errs, tc.path)
		}
	}
}

// Receipts by every status that the provider documents.
func TestReceipts(t *testing.T) {
	for status, want := range map[string]sdk.ReceiptStatus{
		"accepted": sdk.Progress, "queued": sdk.Progress, "sending": sdk.Progress, "sent": sdk.Progress, "delivered": sdk.Delivered,
		"read": sdk.Read, "undelivered": sdk.Undelivered, "failed": sdk.Undelivered, "canceled": sdk.Undelivered, "new": sdk.Progress,
	} {
		r := receipt(url.Values{"MessageSid": {"SM1"}, "MessageStatus": {status}, "ErrorCode": {"30007"}, "ErrorMessage": {"words"}}, "1.1")
		if r.Status != want || r.AttemptID != "1.1" || (r.Err != nil) != (want == sdk.Undelivered) {
			t.Errorf("%s: %+v", status, r)
		}
		if e, ok := errors.AsType[*sdk.DeliveryError](r.Err); ok && (e.Code != verdict.ContentRefused || e.ProviderCode != "30007") {
			t.Errorf("%s: %+v", status, e)
		}
	}
}

func TestReceiptOfAMessage(t *testing.T) {
	var r resource
	if err := json.Unmarshal([]byte(`{"sid":"SM1","status":"sent","num_segments":"2","price":"-0.01580","price_unit":"usd","error_code":null}`), &r); err != nil {
		t.Fatal(err)
	}
	got := r.receipt()
	if got.ProviderID() != "SM1" || got.Segments != 2 || got.Cost != (sdk.Cost{Amount: "0.01580", Currency: "USD"}) || r.outcome() != nil {
		t.Errorf("%+v", got)
	}
	var failure resource
	if err := json.Unmarshal([]byte(`{"code":21211,"message":"no","status":400}`), &failure); err != nil || failure.Status != "400" {
		t.Errorf("%+v, %v", failure, err)
	}
}

func TestValidityAndCallback(t *testing.T) {
	now := time.Date(2026, 5, 1, 8, 0, 0, 0, time.UTC)
	c := &Channel{config: Config{From: "+15005550006", Validity: true}, now: func() time.Time { return now }}
	for after, want := range map[time.Duration]string{time.Minute: "60", -time.Minute: "1", 100 * time.Hour: "36000"} {
		m := &sdk.Message{AttemptID: "7.1", Recipient: "+4917612345678", NotAfter: now.Add(after), Content: sdk.Content{Plain: "x"}}
		form, err := c.compose(m, "https://gw.example.com/callbacks/sms/x")
		if err != nil || form.Get("ValidityPeriod") != want || form.Get("StatusCallback") != "https://gw.example.com/callbacks/sms/x?attempt=7.1" {
			t.Errorf("%s: %v, %v", after, form, err)
		}
	}
	if got := c.callbackURL(t.Context()); got != "" {
		t.Errorf("without a token receipts would go to %q", got)
	}
}
