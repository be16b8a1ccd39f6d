// Command sms is the plugin of the channel "sms": it submits short messages to an SMS center over
// SMPP 3.4 and brings back receipts and inbound messages.
//
// A connector keeps one or several binds, opens them anew when they break, and sends over whichever
// has the most room in its window. How far a submit came decides its outcome: what was not written
// is surely not sent, what the SMS center refused was not taken, and what was written but never
// answered is uncertain. See README.md for the config and for what each error means.
package main

import (
	"context"
	_ "time/tzdata" // receipt_zone works on machines without time zones too

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "sms"
	version = "0.1.0"
)

// Limits of the plugin. What is in flight beyond the windows of the binds only waits here, where the
// loss of the process would leave it uncertain: hence no more than ten binds of the usual window.
const (
	maxInFlight     = 100
	maxMessageBytes = 64 << 10
)

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name:    name,
		Version: version,
		Open: func(ctx context.Context, c config) (sdk.Sender, error) {
			return open(ctx, c)
		},
		Validate:     validate,
		Prototype:    (*connector)(nil),
		Limits:       sdk.Limits{MaxInFlight: maxInFlight, MaxMessageBytes: maxMessageBytes},
		Capabilities: sdk.Capabilities{Receipts: true},
	}
}
