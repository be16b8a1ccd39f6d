// Command http is the plugin for providers that need no code of their own: the connector's config says
// how a message becomes an HTTP request, what the answer means, and how the provider's callbacks are
// verified and read. See README.md for the config.
package main

import (
	"context"
	_ "time/tzdata" // time zones of templates and receipts; the machine may have none

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "http"
	version = "0.1.0"
)

const (
	// maxInFlight bounds the requests of a connector at a time: a provider that takes a second still
	// does 256 messages a second.
	maxInFlight = 256
	// maxMessageBytes bounds the content of one message.
	maxMessageBytes = 8 << 20
)

// channels are the channels that a connector of this plugin may belong to: those of its own, for
// whatever has no other name, and those that providers with an HTTP API commonly serve. Sending is meant: the callbacks
// of some of them are beyond this plugin, see README.md.
var channels = []string{
	"http", "webhook",
	"sms", "email", "app", "wechat", "feishu",
	"chat", "dingtalk", "push", "slack", "telegram", "voice", "wecom", "whatsapp",
}

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name:     name,
		Version:  version,
		Channels: channels,
		Open: func(_ context.Context, c config) (sdk.Sender, error) {
			return open(c)
		},
		Validate:  validate,
		Prototype: (*connector)(nil),
		Limits:    sdk.Limits{MaxInFlight: maxInFlight, MaxMessageBytes: maxMessageBytes},
		// Not Idempotent, even where a connector has an idempotency_header: the promise would be one of
		// all providers that this plugin may ever speak to.
		Capabilities: sdk.Capabilities{Receipts: true, HTML: true, Attachments: true},
	}
}
