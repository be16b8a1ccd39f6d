// Command email is the plugin of the channel "email": it submits mails to an SMTP server, and reads what comes back:
// bounces, complaints, and users who unsubscribe.
//
// A connector keeps a pool of connections and sends many mails over each. What happened to a mail
// is told by where the conversation ended: whatever breaks before the dot that ends a mail has left
// the process means that it was surely not sent; only a connection that breaks between that dot and
// the server's answer leaves the outcome uncertain. See README.md for the config.
package main

import (
	"context"

	"github.com/pigeonry/pigeonry/sdk"
)

const (
	name    = "email"
	version = "0.2.0"
)

// maxMessageBytes bounds the content of one mail: most servers take 10 MB to 25 MB, and base64
// adds a third.
const maxMessageBytes = 10 << 20

func main() { sdk.Serve(plugin()) }

func plugin() sdk.Plugin[config] {
	return sdk.Plugin[config]{
		Name:    name,
		Version: version,
		Open: func(ctx context.Context, c config) (sdk.Sender, error) {
			return open(c, sdk.CallbackURL(ctx))
		},
		Validate:     validate,
		Prototype:    (*connector)(nil),
		Limits:       sdk.Limits{MaxInFlight: maxConnections, MaxMessageBytes: maxMessageBytes},
		Capabilities: sdk.Capabilities{HTML: true, Attachments: true, Receipts: true},
	}
}
