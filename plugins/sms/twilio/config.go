package twilio

import (
	"net/url"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// attributeSender is the attribute of a message that overrides the sender.
const attributeSender = "sender"

// Config of a connector.
type Config struct {
	AccountSID   string     `cfg:"account_sid,required,max=34" doc:"Account SID, AC and 32 hexadecimal digits."`
	AuthToken    sdk.Secret `cfg:"auth_token,max=64" doc:"Auth token of the account. It verifies callbacks, and signs in where there is no API key."`
	APIKeySID    string     `cfg:"api_key_sid,max=34" doc:"SID of an API key to sign in with, SK and 32 hexadecimal digits."`
	APIKeySecret sdk.Secret `cfg:"api_key_secret,max=64" doc:"Secret of that key."`

	From                string `cfg:"from,max=40" doc:"Sender: a number of the account, a short code, or a name. A message overrides it with the attribute sender."`
	MessagingServiceSID string `cfg:"messaging_service_sid,max=34" doc:"Messaging service to send through, MG and 32 hexadecimal digits, in place of from."`
	Validity            bool   `cfg:"validity" doc:"Tells the provider to give up when the message expires (ValidityPeriod), at most 10 hours later."`

	CallbackURL string        `cfg:"callback_url,format=uri" doc:"The connector's callback URL as the provider reaches it, e.g. https://gw.example.com/callbacks/sms/twilio, where it is not the one that the gateway knows of itself (public_url). Each message asks for receipts there."`
	BaseURL     string        `cfg:"base_url,default=https://api.twilio.com,format=uri" doc:"Server of the API."`
	Timeout     time.Duration `cfg:"timeout,default=10s,min=100ms,max=5m" doc:"How long a request may take. What is not answered by then is uncertain."`
}

// Validate checks what the tags cannot say. Errors are sdk.ConfigErrors below path.
func (c Config) Validate(path string) []error {
	var errs []error
	fault := func(field, summary, remedy string) {
		errs = append(errs, sdk.FieldError(path+"."+field, summary, remedy))
	}
	for field, sid := range map[string][2]string{
		"account_sid": {"AC", c.AccountSID}, "api_key_sid": {"SK", c.APIKeySID}, "messaging_service_sid": {"MG", c.MessagingServiceSID},
	} {
		if sid[1] != "" && !isSID(sid[0], sid[1]) {
			fault(field, "is no SID", "copy it from the console: "+sid[0]+" and 32 hexadecimal digits")
		}
	}
	switch {
	case c.APIKeySID == "" && c.APIKeySecret != "":
		fault("api_key_sid", "is missing beside api_key_secret", "give both or neither")
	case c.APIKeySID != "" && c.APIKeySecret == "":
		fault("api_key_secret", "is missing beside api_key_sid", "give both or neither")
	case c.APIKeySID == "" && c.AuthToken == "":
		fault("auth_token", "is missing, and there is no API key", "give auth_token, or api_key_sid and api_key_secret")
	case c.CallbackURL != "" && c.AuthToken == "":
		fault("auth_token", "is missing: callbacks are verified with it", "give it, or leave out callback_url")
	}
	if c.From != "" && c.MessagingServiceSID != "" {
		fault("from", "stands beside messaging_service_sid", "give one of the two: the service chooses the sender")
	}
	if u, err := url.Parse(c.CallbackURL); err == nil && u.RawQuery != "" {
		fault("callback_url", "has a query", "give the URL alone: the plugin adds to it which message it is about")
	}
	return errs
}

func isSID(prefix, sid string) bool {
	digits, ok := strings.CutPrefix(sid, prefix)
	return ok && len(digits) == 32 && strings.Trim(digits, "0123456789abcdefABCDEF") == ""
}
