// Command app is the plugin of the channel "app": it pushes to phones and browsers through Firebase Cloud Messaging
// (FCM), the Apple Push Notification service (APNs), Web Push and Huawei Push Kit.
//
// A connector speaks to one of them, the one whose block its config has. A message becomes a push, which knows of no
// provider (push.go); each provider writes it in its own form, and reads in the answer what became of it. See README.md
// for the config, the attributes of a message and what each error means.
package main

import (
	"context"

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "app"
	version = "0.1.0"
)

const (
	// maxInFlight bounds the requests of a connector at a time. APNs and FCM take them over few connections: HTTP/2.
	maxInFlight = 256
	// maxMessageBytes bounds the content of one message. A provider takes some 4 KiB, and says so itself below that.
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
		Validate:  validate,
		Prototype: (*connector)(nil),
		Limits:    sdk.Limits{MaxInFlight: maxInFlight, MaxMessageBytes: maxMessageBytes},
		// Of the four only Huawei has receipts.
		Capabilities: sdk.Capabilities{Receipts: true},
	}
}
