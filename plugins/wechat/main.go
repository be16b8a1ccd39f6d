// Command wechat is the plugin of the channel "wechat": it sends template messages, subscription notices and
// customer-service messages of a WeChat Official Account, and brings back receipts, messages and events of users.
//
// WeChat answers each request with an error code, and one that is not 0 means that nothing was sent: the codes are
// told one by one in outcome.go. Only a request that was never answered is uncertain; a template message may then be
// sent again safely within ten minutes, as WeChat drops repeats of it. See README.md for the config.
package main

import (
	"context"

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "wechat"
	version = "0.1.0"
)

const (
	// maxInFlight bounds the requests of a connector at a time. WeChat publishes no bound; callers report that
	// it answers some hundred at a time with -1, "system busy".
	maxInFlight = 64
	// maxMessageBytes leaves room for the largest media that WeChat takes, 10 MB, in one message.
	maxMessageBytes = 11 << 20
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name:    name,
		Version: version,
		Open: func(ctx context.Context, c config) (sdk.Sender, error) {
			return open(ctx, c)
		},
		Validate:  validate,
		Prototype: (*connector)(nil),
		Limits:    sdk.Limits{MaxInFlight: maxInFlight, MaxMessageBytes: maxMessageBytes},
		// Not Idempotent: WeChat drops repeats of template messages alone.
		Capabilities: sdk.Capabilities{Receipts: true, Attachments: true},
	}
}
