package twilio

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/sdk"
)

// published is the example of the provider's documentation, https://www.twilio.com/docs/usage/security and
// http://twilio-php-atbaker.readthedocs.io/en/latest/usage/validation.html, with the auth token 12345.
var published = struct {
	address, signature string
	form               url.Values
}{
	address:   "https://mycompany.com/myapp.php?foo=1&bar=2",
	signature: "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
	form: url.Values{
		"CallSid": {"CA1234567890ABCDE"}, "Caller": {"+14158675309"}, "Digits": {"1234"}, "From": {"+14158675309"}, "To": {"+18005551212"},
	},
}

func TestPublishedSignature(t *testing.T) {
	if got := signature("12345", published.address, published.form); got != published.signature {
		t.Errorf("%s, want %s", got, published.signature)
	}
}

// The signatures are those of the tests of the provider's library, twilio-go client/request_validator_test.go.
func TestVerified(t *testing.T) {
	channel := Open(Config{AuthToken: "12345"})
	for _, tc := range []struct {
		address, signature string
		want               bool
	}{
		{published.address, published.signature, true},
		{strings.Replace(published.address, ".com", ".com:1234", 1), published.signature, true},
		{published.address, "kvajT1Ptam85bY51eRf/AJRuM3w=", true}, // with :443
		{"http" + strings.TrimPrefix(published.address, "https"), "0ZXoZLH/DfblKGATFgpif+LLRf4=", true},
		{strings.Replace("http"+strings.TrimPrefix(published.address, "https"), ".com", ".com:1234", 1), "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=", true},
		{published.address + "3", published.signature, false},
		{published.address, "", false},
		{published.address, "WRONG", false},
		{"nowhere", published.signature, false},
	} {
		r := &sdk.CallbackRequest{URL: tc.address, Header: http.Header{signatureHeader: {tc.signature}}}
		if got := channel.verified(r, published.form); got != tc.want {
			t.Errorf("%s with %q: %v", tc.address, tc.signature, got)
		}
	}
	r := &sdk.CallbackRequest{URL: published.address, Header: http.Header{signatureHeader: {published.signature}}}
	if Open(Config{}).verified(r, published.form) {
		t.Error("without a token everything is taken")
	}
	r = &sdk.CallbackRequest{
		URL: "http://10.0.0.7/callbacks/sms/x?foo=1&bar=2", Path: "/", Query: "foo=1&bar=2", Header: http.Header{signatureHeader: {published.signature}},
	}
	if c := Open(Config{AuthToken: "12345", CallbackURL: "https://mycompany.com/myapp.php"}); !c.verified(r, published.form) {
		t.Error("behind a proxy a good signature is refused")
	}
}

func FuzzVerified(f *testing.F) {
	f.Add("https://[::1]:80/a?b=c", "A=1&A=2&B=3")
	f.Add("http://h", "")
	f.Add("x", "%zz")
	f.Fuzz(func(t *testing.T, address, body string) {
		form, err := url.ParseQuery(body)
		if err != nil {
			return
		}
		c := Open(Config{AuthToken: "12345"})
		r := &sdk.CallbackRequest{URL: address, Header: http.Header{signatureHeader: {signature("12345", address, form)}}}
		if !c.verified(r, form) {
			t.Errorf("%q: our own signature is refused", address)
		}
		if r.Header.Set(signatureHeader, signature("other", address, form)); c.verified(r, form) {
			t.Errorf("%q: another's signature is taken", address)
		}
	})
}
