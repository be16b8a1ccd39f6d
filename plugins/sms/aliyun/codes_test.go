package aliyun

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/push"
	"github.com/pigeonry/pigeonry/plugins/sms/reference"
	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

// Every row, as the provider answers it.
func TestCodes(t *testing.T) {
	for code, want := range codes {
		err := refusal("SendSms", answer{Code: code, Message: "words", RequestID: "1"}, &http.Response{StatusCode: http.StatusOK}, nil)
		e, ok := errors.AsType[*sdk.DeliveryError](err)
		if !ok || e.Outcome != want.Outcome || e.Code != want.Code || e.Fault != want.Fault || e.ProviderCode != code || e.RetryAfter != want.RetryAfter {
			t.Errorf("%s becomes %+v, want %+v", code, e, want)
		}
		if e != nil && e.Outcome != sdk.OutcomeUncertain && code[:min(3, len(code))] == "isp" && code != "isp.RAM_PERMISSION_DENY" {
			t.Errorf("%s: the provider failed, and nobody knows after what", code)
		}
	}
	if err := refusal("SendSms", answer{Code: "OK"}, &http.Response{StatusCode: http.StatusOK}, nil); err != nil {
		t.Errorf("OK: %v", err)
	}
	if err := refusal("SendSms", answer{Code: "OK"}, &http.Response{StatusCode: http.StatusInternalServerError}, nil); sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
		t.Errorf("OK with status 500: %v", err)
	}
}

func TestReceiptCodes(t *testing.T) {
	for code, want := range receiptCodes {
		if got := undelivered(code); got != want {
			t.Errorf("%s: %s, want %s", code, got, want)
		}
	}
	for code, want := range map[string]string{
		"isv.SMS_SIGNATURE_ILLEGAL": verdict.SignInvalid, "MK:0001": verdict.Undeliverable, "": verdict.Undeliverable,
		"isp.SYSTEM_ERROR": verdict.Undeliverable,
	} {
		if got := undelivered(code); got != want {
			t.Errorf("%q: %s, want %s", code, got, want)
		}
	}
}

func TestNumbers(t *testing.T) {
	for number, want := range map[string]string{
		"+8613800138000": "13800138000", "8613800138000": "13800138000", "13800138000": "", "+13055551234": "",
		"+85251234567": "85251234567", "+4917612345678": "4917612345678", "+861065528888": "861065528888", "+12025550123": "12025550123",
	} {
		if got, err := phoneOf(number); (err == nil) != (want != "") || got != want {
			t.Errorf("%s: %s, %v, want %s", number, got, err, want)
		}
	}
	for phone, want := range map[string]string{
		"13800138000": "+8613800138000", "+8613800138000": "+8613800138000", "008613800138000": "+8613800138000", "85251234567": "+85251234567",
	} {
		if got := numberOf(phone); got != want {
			t.Errorf("%s: %s, want %s", phone, got, want)
		}
	}
}

func TestSegments(t *testing.T) {
	for _, tc := range []struct {
		sign, text string
		runes      int
		want       int
	}{{"", "", 0, 0}, {"", "x", 70, 1}, {"", "x", 71, 2}, {"", "字", 134, 2}, {"", "字", 135, 3}, {"签名", "字", 66, 1}, {"签名", "字", 67, 2}, {"", "😀", 35, 1}, {"", "😀", 36, 2}} {
		text := ""
		for range tc.runes {
			text += tc.text
		}
		if got := segments(tc.sign, text); got != tc.want {
			t.Errorf("%d of %q behind %q: %d, want %d", tc.runes, tc.text, tc.sign, got, tc.want)
		}
	}
}

func TestValidate(t *testing.T) {
	good := Config{ExtendCode: "909", Template: "SMS_1", TemplateText: "content", CallbackToken: "abc-DEF_123"}
	if errs := good.Validate("aliyun"); len(errs) > 0 {
		t.Errorf("a good config: %v", errs)
	}
	for path, change := range map[string]func(*Config){
		"aliyun.extend_code":    func(c *Config) { c.ExtendCode = "9a" },
		"aliyun.template_text":  func(c *Config) { c.TemplateText = "" },
		"aliyun.callback_token": func(c *Config) { c.CallbackToken = "a/b?c&d" },
	} {
		c := good
		change(&c)
		errs := c.Validate("aliyun")
		fault, ok := errors.AsType[*sdk.ConfigError](errors.Join(errs...))
		if !ok || fault.Path != path || fault.Detail == "" {
			t.Errorf("%s: %v", path, errs)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`[{"phone_number":"13800138000","success":true,"biz_id":"1^0","out_id":"pg-1.1","report_time":"2017-01-01 00:00:00"}]`))
	f.Add([]byte(`[{"phone_number":"13800138000","content":"x","sequence_id":"12","send_time":"20170901000000"}]`))
	f.Add([]byte(`{"success":false,"err_code":"MOBILE_IN_BLACK"}`))
	f.Add([]byte(`[{"To":"85212345678","Status":"2","MessageId":"1","SmsSize":"1","ReceiveDate":"Thu, 25 Nov 2021 10:27:33 +0800"}]`))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := push.Parse(body, func(object []byte, events *sdk.Events) error { return Open(Config{}).read(t.Context(), object, events) })
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
	if want := fmt.Sprintf(",max=%d", reference.Most(maxOutID)); !strings.HasSuffix(field.Tag.Get("cfg"), want) {
		t.Errorf("max_batch is %s, want %s", field.Tag.Get("cfg"), want)
	}
}
