// Package queue declares the dispatch index between relay and workers: lanes of envelopes, per channel.
// The store is the truth; what a queue loses is published again. A technology lives in a subfolder and
// passes queuetest.
package queue

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
)

// Queue is what a technology provides.
type Queue interface {
	Publisher
	// Subscribe begins to take envelopes of a channel. Several subscriptions share the envelopes.
	Subscribe(ctx context.Context, channel string) (Subscription, error)
	// Stats tells how full each lane of each channel is, as far as the queue knows. A channel whose lanes it cannot
	// use is left out.
	Stats(ctx context.Context) ([]LaneStats, error)
	// Generation changes when the queue has lost its content: an empty broker, a new process. What was
	// queued in the store must then be published again.
	Generation(ctx context.Context) (string, error)
	// Close ends subscriptions and waits for publishes under way.
	Close() error
}

// Publisher puts envelopes into their lanes.
type Publisher interface {
	// Publish returns once the queue has confirmed every envelope. With an error, none may be taken as
	// confirmed: publishing one twice is harmless, as the claim decides. ErrFull says that the lane has
	// no room now, a ChannelError that one channel of theirs cannot be published to.
	Publish(ctx context.Context, envelopes []core.Envelope) error
}

// Subscription takes envelopes of one channel, lanes by weight: while all lanes wait, each gets its
// core.Lane.Weight share of turns, and a lane that is alone gets them all.
type Subscription interface {
	// Receive waits for the next envelope. It returns ctx's error when ctx ends and ErrClosed when the
	// subscription or the queue was closed.
	Receive(ctx context.Context) (Received, error)
	// Close gives the envelopes that were received and not acknowledged back to the queue.
	Close() error
}

// Received is an envelope that a worker holds.
type Received struct {
	core.Envelope
	// Ack takes the envelope out of the queue for good. Call it after the results are durable.
	Ack func(ctx context.Context) error
	// Return gives the envelope back; it will be received again, by whomever.
	Return func(ctx context.Context) error
}

// LaneStats is the state of one lane of one channel.
type LaneStats struct {
	Channel   string
	Lane      core.Lane
	Envelopes int // waiting
	Messages  int // in them; a broker that cannot look into envelopes says Envelopes, the least that it can be
	Unacked   int // envelopes received, or fetched ahead, and not acknowledged; a broker's: of this gateway alone
}
