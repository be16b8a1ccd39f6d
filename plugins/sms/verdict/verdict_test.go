package verdict_test

import (
	"errors"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/verdict"
	"github.com/pigeonry/pigeonry/sdk"
)

func TestErrorCarriesTheVerdict(t *testing.T) {
	for name, v := range map[string]verdict.Verdict{
		"message": verdict.Message(verdict.InvalidRecipient),
		"config":  verdict.Config(verdict.SignInvalid),
		"plugin":  verdict.Plugin(verdict.ProtocolError),
		"later":   verdict.Later(verdict.QuotaExceeded, sdk.FaultMessage, time.Minute),
		"slower":  verdict.Slower(verdict.Throttled, time.Second),
		"unknown": verdict.Unknown(verdict.ProviderError),
	} {
		e, ok := errors.AsType[*sdk.DeliveryError](v.Error(errors.New("words"), "E42"))
		if !ok || e.Outcome != v.Outcome || e.Code != v.Code || e.Fault != v.Fault || e.RetryAfter != v.RetryAfter || e.ProviderCode != "E42" {
			t.Errorf("%s: %+v becomes %+v", name, v, e)
		}
		if one := verdict.ConcernsOne(e); one != (name == "message" || name == "later") {
			t.Errorf("%s concerns one message: %v", name, one)
		}
	}
	if verdict.ConcernsOne(errors.New("lost")) {
		t.Error("an error without outcome concerns one message")
	}
}

func TestFindGoesUpTheDots(t *testing.T) {
	table := verdict.Table{"Throttling": verdict.Slower(verdict.Throttled, 0), "Throttling.Api": verdict.Unknown("x")}
	for code, want := range map[string]string{"Throttling": "throttled", "Throttling.User": "throttled", "Throttling.Api": "x", "Throttling.Api.1": "x"} {
		if v, ok := table.Find(code); !ok || v.Code != want {
			t.Errorf("%s: %+v", code, v)
		}
	}
	for _, code := range []string{"", ".", "Throttlin", "a.b"} {
		if v, ok := table.Find(code); ok {
			t.Errorf("%q: %+v", code, v)
		}
	}
}
