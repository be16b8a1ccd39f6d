package main

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// config of a connector: custom bots, or an app.
type config struct {
	BaseURL string        `cfg:"base_url,default=https://open.feishu.cn,format=uri" doc:"Address of the open platform: https://open.feishu.cn, or https://open.larksuite.com for Lark."`
	Timeout time.Duration `cfg:"timeout,default=10s,min=100ms,max=2m" doc:"How long one request may take. What is not answered by then is uncertain."`

	Webhook *webhookConfig `cfg:"webhook" doc:"Custom bots, which post into the group they were added to. Either this or app."`
	App     *appConfig     `cfg:"app" doc:"An app with a bot, which writes to users and groups and receives events. Either this or webhook."`
}

// webhookConfig is about custom bots.
type webhookConfig struct {
	Hooks  map[string]hookConfig `cfg:"hooks" doc:"The bots by the names that recipients call them by, e.g. { ops = { token = env(\"OPS_TOKEN\"), secret = env(\"OPS_SECRET\") } }."`
	Secret sdk.Secret            `cfg:"secret,max=256" doc:"Signing key of bots whose token is the recipient itself. Empty: such messages are not signed."`

	PerSecond int `cfg:"per_second,default=5,min=1,max=1000" doc:"Messages a second to one bot. Feishu allows 5, to all gateways together."`
	PerMinute int `cfg:"per_minute,default=100,min=1,max=60000" doc:"Messages a minute to one bot. Feishu allows 100, to all gateways together."`
}

// hookConfig is one custom bot.
type hookConfig struct {
	Token  sdk.Secret `cfg:"token,required,max=128" doc:"The part of the bot's webhook address after /hook/."`
	Secret sdk.Secret `cfg:"secret,max=256" doc:"The bot's signing key, if its security settings ask for a signature."`
}

// appConfig is about an app with a bot.
type appConfig struct {
	AppID     string     `cfg:"app_id,required,max=128" doc:"App ID of the developer console, e.g. cli_a1b2c3d4."`
	AppSecret sdk.Secret `cfg:"app_secret,required,max=256" doc:"App Secret of the developer console."`

	VerificationToken sdk.Secret    `cfg:"verification_token,max=256" doc:"Verification Token of the events. Without it and encrypt_key callbacks are refused."`
	EncryptKey        sdk.Secret    `cfg:"encrypt_key,max=256" doc:"Encrypt Key of the events: they come encrypted and signed. Recommended."`
	CallbackTolerance time.Duration `cfg:"callback_tolerance,default=8h,min=1m,max=720h" doc:"How old a signed callback may be. Feishu repeats what was not taken for some 7 hours."`

	PerSecond          int `cfg:"per_second,default=50,min=1,max=1000" doc:"Messages a second in all. Feishu allows 50, to all gateways together."`
	PerMinute          int `cfg:"per_minute,default=1000,min=1,max=60000" doc:"Messages a minute in all. Feishu allows 1000, to all gateways together."`
	RecipientPerSecond int `cfg:"recipient_per_second,default=5,min=1,max=1000" doc:"Messages a second to one user or group. Feishu allows 5, to all gateways together."`
}

// hookToken is what the token of a custom bot may look like. Feishu gives UUIDs, and gave 32 hexadecimal digits before.
var hookToken = regexp.MustCompile(`^[0-9A-Za-z_-]{16,128}$`)

// hookName is what a bot may be called in the config.
var hookName = regexp.MustCompile(`^[0-9A-Za-z][0-9A-Za-z._-]{0,62}$`)

// validate checks what the tags cannot say.
func validate(c config) error {
	errs := []error{checkBaseURL(c.BaseURL)}
	switch {
	case c.Webhook == nil && c.App == nil:
		errs = append(errs, sdk.FieldError("", "says nothing about what to send with", "add webhook { … } for custom bots, or app { … } for an app with a bot"))
	case c.Webhook != nil && c.App != nil:
		errs = append(errs, sdk.FieldError("app", "stands beside webhook", "give each a connector of its own"))
	case c.Webhook != nil:
		errs = append(errs, checkHooks(c.Webhook.Hooks))
	}
	return errors.Join(errs...)
}

// checkBaseURL refuses an address that is no server's, and one over which the credentials would travel in clear.
func checkBaseURL(address string) error {
	const form = "write it as https://open.feishu.cn"
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || (u.Scheme != "https" && u.Scheme != "http"):
		return sdk.FieldError("base_url", fmt.Sprintf("%q is no address of a server", address), form)
	case strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil:
		return sdk.FieldError("base_url", fmt.Sprintf("%q has more than scheme, host and port", u.Redacted()), form)
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return sdk.FieldError("base_url", "would send the credentials over the network in clear", "write it with https://")
	default:
		return nil
	}
}

// loopback says whether a host is this machine.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || (ip != nil && ip.IsLoopback())
}

func checkHooks(hooks map[string]hookConfig) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(hooks)) {
		path, token := "webhook.hooks."+name, hooks[name].Token.Reveal()
		if !hookName.MatchString(name) {
			errs = append(errs, sdk.FieldError("webhook.hooks", fmt.Sprintf("%q is no name", name), "write it with letters, digits, dots, - and _, e.g. ops"))
		}
		if !hookToken.MatchString(token) {
			errs = append(errs, sdk.FieldError(path+".token", "is no token of a custom bot",
				"give the last part of the webhook address alone, e.g. 01234567-89ab-cdef-0123-456789abcdef"))
		}
	}
	return errors.Join(errs...)
}
