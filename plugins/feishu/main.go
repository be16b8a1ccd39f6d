// Command feishu is the plugin of the channel "feishu": it sends messages to Feishu and to Lark, its edition outside
// China.
//
// A connector is either a set of custom bots, which post into the group they were added to and know nothing else, or an
// app with a bot, which writes to users and groups and hears what they write and read. Sending goes no faster than the
// provider allows; every refusal that the provider documents has its meaning in code.go. See README.md for the config
// and for what each error means.
package main

import (
	"context"

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "feishu"
	version = "0.1.0"
)

const (
	// maxInFlight bounds the messages of a connector that are being sent or wait for their turn. Losing the process makes
	// each of them uncertain, hence no more than a few seconds' worth.
	maxInFlight = 128
	// maxMessageBytes has room for one image of the largest size that Feishu takes.
	maxMessageBytes = maxImageBytes + 256<<10
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name:    name,
		Version: version,
		Open: func(ctx context.Context, c config) (sdk.Sender, error) {
			return open(ctx, c), nil
		},
		Validate:  validate,
		Prototype: (*connector)(nil),
		Limits:    sdk.Limits{MaxInFlight: maxInFlight, MaxMessageBytes: maxMessageBytes},
		// Not Idempotent: an app drops repeats, for an hour, and a custom bot does not. Query says so, attempt by attempt.
		Capabilities: sdk.Capabilities{Receipts: true, Attachments: true},
	}
}
