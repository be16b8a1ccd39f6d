package sdk

import "context"

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
