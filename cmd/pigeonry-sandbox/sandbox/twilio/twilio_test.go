package twilio

import (
	"net/url"
	"strings"
	"testing"
)

// The example of https://www.twilio.com/docs/usage/security, with the auth token 12345.
func TestPublishedSignature(t *testing.T) {
	got := sign("12345", "https://mycompany.com/myapp.php?foo=1&bar=2", url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"},
	})
	if want := "RSOYDt4T1cUTdK1PDd93/VVr8B8="; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What is wrong with a message, and the code that says so.
func TestChecks(t *testing.T) {
	zeros := strings.Repeat("0", 32)
	for want, form := range map[int]url.Values{
		0:     {"To": {"+4917612345678"}, "From": {"Sandbox"}, "Body": {"x"}, "ValidityPeriod": {"60"}, "StatusCallback": {"https://example.com/x"}},
		21604: {"From": {"Sandbox"}, "Body": {"x"}},
		21211: {"To": {"0176"}, "From": {"Sandbox"}, "Body": {"x"}},
		21603: {"To": {"+4917612345678"}, "Body": {"x"}},
		21701: {"To": {"+4917612345678"}, "MessagingServiceSid": {"MG1"}, "Body": {"x"}},
		21212: {"To": {"+4917612345678"}, "From": {"+15005550001"}, "Body": {"x"}},
		21606: {"To": {"+4917612345678"}, "From": {"Other"}, "Body": {"x"}},
		21655: {"To": {"+4917612345678"}, "From": {"Sandbox"}, "ContentSid": {"HX1"}},
		21656: {"To": {"+4917612345678"}, "From": {"Sandbox"}, "ContentSid": {"HX" + zeros}, "ContentVariables": {"{"}},
		21619: {"To": {"+4917612345678"}, "From": {"Sandbox"}},
		21617: {"To": {"+4917612345678"}, "From": {"Sandbox"}, "Body": {strings.Repeat("x", 1601)}},
		90007: {"To": {"+4917612345678"}, "From": {"Sandbox"}, "Body": {"x"}, "ValidityPeriod": {"36001"}},
		21609: {"To": {"+4917612345678"}, "From": {"Sandbox"}, "Body": {"x"}, "StatusCallback": {"nowhere"}},
	} {
		m := &message{to: form.Get("To"), from: form.Get("From"), service: form.Get("MessagingServiceSid"), body: form.Get("Body")}
		if got := m.check(defaults(), form); got != want {
			t.Errorf("%v: %d, want %d", form, got, want)
		}
	}
	for text, want := range map[string]int{"x": 1, strings.Repeat("x", 161): 2, strings.Repeat("ü", 70): 1, strings.Repeat("ü", 71): 2} {
		if got := segments(text); got != want {
			t.Errorf("%d characters: %d segments, want %d", len(text), got, want)
		}
	}
}
