package tencent

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/push"
	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// Every row, as the provider answers it, for a request and for one message.
func TestCodes(t *testing.T) {
	for code, want := range codes {
		a := &answer{RequestID: "1", Error: &struct{ Code, Message string }{code, "words"}}
		for _, err := range []error{refusal("SendSms", a), outcome(code, errors.New("words"))} {
			e, ok := errors.AsType[*sdk.DeliveryError](err)
			if !ok || e.Outcome != want.Outcome || e.Code != want.Code || e.Fault != want.Fault || e.ProviderCode != code || e.RetryAfter != want.RetryAfter {
				t.Errorf("%s becomes %+v, want %+v", code, e, want)
			}
		}
	}
	for code, want := range map[string]string{
		"AuthFailure.SecretIdNotFound": verdict.AuthFailed, "RequestLimitExceeded.IPLimitExceeded": verdict.Throttled,
		"InternalError.Timeout": verdict.ProviderError, "MissingParameter.EmptyPhoneNumberSet": verdict.ProtocolError,
	} {
		if e, ok := errors.AsType[*sdk.DeliveryError](outcome(code, errors.New("words"))); !ok || e.Code != want {
			t.Errorf("%s: %+v", code, e)
		}
	}
}

func TestReceiptCodes(t *testing.T) {
	for code, want := range receiptCodes {
		if got := undelivered(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
	if got := undelivered("MK:0001"); got != verdict.Undeliverable {
		t.Errorf("a code of a network: %s", got)
	}
}

func TestValidate(t *testing.T) {
	good := Config{AppID: "1400006666", Template: "1110", ExtendCode: "10", CallbackToken: "abc-DEF_123"}
	if errs := good.Validate("tencent"); len(errs) > 0 {
		t.Errorf("a good config: %v", errs)
	}
	for path, change := range map[string]func(*Config){
		"tencent.app_id":         func(c *Config) { c.AppID = "app" },
		"tencent.template":       func(c *Config) { c.Template = "SMS_1" },
		"tencent.extend_code":    func(c *Config) { c.ExtendCode = "9a" },
		"tencent.callback_token": func(c *Config) { c.CallbackToken = "a b" },
	} {
		c := good
		change(&c)
		errs := c.Validate("tencent")
		fault, ok := errors.AsType[*sdk.ConfigError](errors.Join(errs...))
		if !ok || fault.Path != path || fault.Detail == "" {
			t.Errorf("%s: %v", path, errs)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"user_receive_time":"2015-10-17 08:03:04","nationcode":"86","mobile":"13800138000","report_status":"SUCCESS","errmsg":"DELIVRD","sid":"1"}]`))
	f.Add([]byte(`{"extend":"1","mobile":"13800138000","nationcode":"86","sign":"x","text":"T","time":1457336869}`))
	f.Add([]byte(`[{"report_status":"FAIL","sid":"1"},{"text":""}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := push.Parse(body, read)
		if err != nil && !events.Empty() {
			t.Errorf("%q: events and an error", body)
		}
		for _, r := range events.Receipts {
			if r.DedupeKey == "" || r.ProviderID == "" || (r.Status == sdk.Undelivered) != (r.Err != nil) {
				t.Errorf("%q: receipt %+v", body, r)
			}
		}
	})
}

// No batch is larger than what the provider's reference can stand for.
func TestBatchesHaveReferences(t *testing.T) {
	field, _ := reflect.TypeFor[Config]().FieldByName("MaxBatch")
	if want := fmt.Sprintf(",max=%d", reference.Most(maxSession)); !strings.HasSuffix(field.Tag.Get("cfg"), want) {
		t.Errorf("max_batch is %s, want %s", field.Tag.Get("cfg"), want)
	}
}
