package queue

import "errors"

// ErrFull says that a lane has no room; the envelope stays in the store's outbox and is published later.
var ErrFull = errors.New("queue lane is full")

// ErrClosed says that the queue or the subscription was closed.
var ErrClosed = errors.New("queue is closed")
