package sdk

import (
	"context"
	"strings"
)

// callKey finds the call in a context.
type callKey struct{}

// call is what the SDK knows about the call of an author's method: a context of its own kind, so
// that one slab holds those of a whole batch.
type call struct {
	context.Context
	server    *Server
	connector string
	message   *Message    // of Send; nil elsewhere
	health    *healthSlot // of the connector; nil where there is none yet
}

// Value finds the call itself under its key, and everything else further out.
func (c *call) Value(key any) any {
	if key == (callKey{}) {
		return c
	}
	return c.Context.Value(key)
}

func callFrom(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

// Trace returns the W3C trace context of the message that ctx was made for, to hand on to the
// provider; empty outside Send. In SendBatch each Message carries its own.
func Trace(ctx context.Context) (traceparent, tracestate string) {
	if c := callFrom(ctx); c != nil && c.message != nil {
		return c.message.Traceparent, c.message.Tracestate
	}
	return "", ""
}

// Connector returns the id of the connector that ctx was made for, "<channel>/<name>", in Open and every method that gets a
// ctx of the SDK; empty in any other ctx.
func Connector(ctx context.Context) string {
	if c := callFrom(ctx); c != nil {
		return c.connector
	}
	return ""
}

// Channel returns the channel of the connector that ctx was made for, such as "sms": what a plugin of several channels goes by.
// Empty in a ctx that is none of the SDK's.
func Channel(ctx context.Context) string {
	channel, _, _ := strings.Cut(Connector(ctx), "/")
	return channel
}

// CallbackURL returns the URL at which the provider reaches the connector's HandleCallback, without a slash at its end, in Open
// and every method that gets a ctx of the SDK. Whatever path and query a plugin adds come back in CallbackRequest. Empty
// where the gateway does not know it, or does not say; it is as public as the gateway's public_url is.
func CallbackURL(ctx context.Context) string {
	c := callFrom(ctx)
	if c == nil {
		return ""
	}
	if url := c.server.entry(c.connector).callbackURL.Load(); url != nil {
		return *url
	}
	return ""
}
