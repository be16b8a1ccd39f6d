package main

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// config of a connector: one Official Account.
type config struct {
	AppID     string     `cfg:"app_id,required" doc:"AppID of the account, e.g. wx0123456789abcdef."`
	AppSecret sdk.Secret `cfg:"app_secret,required" doc:"AppSecret of the account. The access token is fetched with it and shared by all gateways."`

	TemplateType string `cfg:"template_type,default=template,enum=template|subscribe|subscribe_once" doc:"How messages with a template of WeChat go out, unless the attribute type says so: template messages, subscription notices, or one-time subscription messages."`
	KfAccount    string `cfg:"kf_account" doc:"Customer-service account that users see as the sender of customer-service messages, e.g. anna@shop. Empty: the account itself. A message overrides it with the attribute kf_account."`

	Token                  sdk.Secret    `cfg:"token" doc:"Token that callbacks are signed with: 3 to 32 letters and digits, as written in WeChat's console. Without it there are no receipts and no inbound messages."`
	EncodingAESKey         sdk.Secret    `cfg:"encoding_aes_key" doc:"EncodingAESKey of the console: 43 letters and digits. Callbacks are then taken in WeChat's safe mode or compatible mode alone."`
	PreviousEncodingAESKey sdk.Secret    `cfg:"previous_encoding_aes_key" doc:"The EncodingAESKey before the last change, for callbacks that still come with it."`
	PlaintextCallbacks     bool          `cfg:"plaintext_callbacks" doc:"Takes callbacks of WeChat's plaintext mode, where there is no encoding_aes_key. Their signature does not cover the body: whoever sees one request can forge others."`
	CallbackTolerance      time.Duration `cfg:"callback_tolerance,default=10m,min=0s,max=24h" doc:"How far the time in a callback may be from that of this machine; older ones are replays. 0s: the time is not checked."`

	BaseURL    string        `cfg:"base_url,default=https://api.weixin.qq.com,format=uri" doc:"Where WeChat's API is: another of its access points such as https://sh.api.weixin.qq.com, or a sandbox."`
	WithoutTLS bool          `cfg:"without_tls" doc:"Allows http:// in base_url to another machine; to this one it always is. The access token travels in the URL."`
	Timeout    time.Duration `cfg:"timeout,default=10s,min=100ms,max=1m" doc:"How long one request to WeChat may take. What it does not answer is uncertain."`
}

// Values of config.TemplateType and of the attribute type.
const (
	typeTemplate      = "template"
	typeSubscribe     = "subscribe"
	typeSubscribeOnce = "subscribe_once"
)

var (
	appIDForm = regexp.MustCompile(`^wx[0-9a-zA-Z]{16}$`)
	tokenForm = regexp.MustCompile(`^[0-9a-zA-Z]{3,32}$`)
)

// validate checks what the tags cannot say.
func validate(c config) error {
	var errs []error
	fault := func(field, summary, detail string) { errs = append(errs, sdk.FieldError(field, summary, detail)) }
	if !appIDForm.MatchString(c.AppID) {
		fault("app_id", fmt.Sprintf("%q is no AppID", c.AppID), "it begins with wx and has 18 letters and digits, e.g. wx0123456789abcdef")
	}
	if strings.ContainsAny(c.AppSecret.Reveal(), " \t\r\n") {
		fault("app_secret", "contains white space", "copy the AppSecret alone, as the console shows it once")
	}
	if c.Token != "" && !tokenForm.MatchString(c.Token.Reveal()) {
		fault("token", "is no token of WeChat", "it has 3 to 32 letters and digits")
	}
	for field, key := range map[string]sdk.Secret{
		"encoding_aes_key": c.EncodingAESKey, "previous_encoding_aes_key": c.PreviousEncodingAESKey,
	} {
		if _, err := decodeKey(key); key != "" && err != nil {
			fault(field, err.Error(), "copy the EncodingAESKey as the console shows it: 43 letters and digits")
		}
	}
	errs = append(errs, checkCallbacks(c), checkBaseURL(c))
	return errors.Join(errs...)
}

// checkCallbacks refuses callbacks that would be taken unverified.
func checkCallbacks(c config) error {
	switch {
	case c.Token == "" && (c.EncodingAESKey != "" || c.PlaintextCallbacks):
		return sdk.FieldError("token", "is missing", "callbacks are signed with it: write the Token of the console")
	case c.PreviousEncodingAESKey != "" && c.EncodingAESKey == "":
		return sdk.FieldError("encoding_aes_key", "is missing", "previous_encoding_aes_key is for the time after a change of it")
	case c.Token != "" && c.EncodingAESKey == "" && !c.PlaintextCallbacks:
		return sdk.FieldError("encoding_aes_key", "is missing, so that anybody who saw one callback could forge others",
			"choose the safe mode in the console and write the EncodingAESKey here, or set plaintext_callbacks = true")
	case c.EncodingAESKey != "" && c.PlaintextCallbacks:
		return sdk.FieldError("plaintext_callbacks", "contradicts encoding_aes_key", "leave out one of them")
	default:
		return nil
	}
}

func checkBaseURL(c config) error {
	u, err := url.Parse(c.BaseURL)
	if err != nil {
		return nil //nolint:nilerr // format=uri has reported it
	}
	const field = "base_url"
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return sdk.FieldError(field, fmt.Sprintf("the scheme %q is not HTTP", u.Scheme), "write https://api.weixin.qq.com")
	case u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return sdk.FieldError(field, "has more than scheme, host and path", "write https://api.weixin.qq.com")
	case u.Scheme == "http" && !c.WithoutTLS && !loopback(u.Hostname()):
		return sdk.FieldError(field, "would send the access token in clear", "use https://, or set without_tls = true")
	default:
		return nil
	}
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

// keys are those that callbacks may be encrypted with, the current one first.
func (c config) keys() ([][]byte, error) {
	var keys [][]byte
	for _, encoded := range []sdk.Secret{c.EncodingAESKey, c.PreviousEncodingAESKey} {
		if encoded == "" {
			continue
		}
		key, err := decodeKey(encoded)
		if err != nil {
			return nil, err
		}
		keys = append(keys, key)
	}
	return keys, nil
}
