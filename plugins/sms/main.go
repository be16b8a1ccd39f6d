// Command sms is the plugin of the channel "sms": it sends short messages to an SMS center over SMPP 3.4, or through
// Alibaba Cloud, Tencent Cloud or Twilio, and brings back receipts and inbound messages.
//
// A connector over SMPP keeps one or several binds, opens them anew when they break, and sends over whichever has the
// most room in its window. How far a submit came decides its outcome: what was not written is surely not sent, what the
// SMS center refused was not taken, and what was written but never answered is uncertain. The other providers have an
// HTTP API and a package each: aliyun, tencent, twilio. See README.md for the config and for what each error means.
package main

import (
	"context"
	_ "time/tzdata" // receipt_zone works on machines without time zones too

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "sms"
	version = "0.2.0"
)

// Limits of the plugin. What an SMPP connector has in flight beyond the windows of its binds only waits here, where the
// loss of the process would leave it uncertain; a provider with an HTTP API takes requests of 100 messages, of which
// several shall be under way. An operator narrows it with max_in_flight of the connector.
const (
	maxInFlight     = 400
	maxMessageBytes = 64 << 10
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name:    name,
		Version: version,
		Open: func(ctx context.Context, c config) (sdk.Sender, error) {
			if blocks := c.blocks(); len(blocks) > 0 {
				return blocks[0].open(), nil
			}
			return open(ctx, c)
		},
		Validate:     validate,
		Prototype:    (*connector)(nil), // it can do what the others can, too
		Limits:       sdk.Limits{MaxInFlight: maxInFlight, MaxMessageBytes: maxMessageBytes},
		Capabilities: sdk.Capabilities{Receipts: true},
	}
}
