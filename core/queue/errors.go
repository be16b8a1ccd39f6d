package queue

import (
	"errors"
	"fmt"
)

// ErrFull says that a lane has no room; the envelope stays in the store's outbox and is published later.
var ErrFull = errors.New("queue lane is full")

// ErrClosed says that the queue or the subscription was closed.
var ErrClosed = errors.New("queue is closed")

// ChannelError says that the queue cannot use the lanes of one channel. A publish without that channel's envelopes may
// well succeed.
type ChannelError struct {
	Channel string
	Err     error // why, and how to mend it
}

// Error names the channel and the cause.
func (e *ChannelError) Error() string { return fmt.Sprintf("channel %q: %v", e.Channel, e.Err) }

// Unwrap returns the cause.
func (e *ChannelError) Unwrap() error { return e.Err }
