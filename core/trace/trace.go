// Package trace declares the record of the path of messages: nodes, kept for a while, written in batches
// off the hot path. Traces help people; nothing depends on them. Under pressure entries are dropped and
// counted rather than slow a message down. A technology lives in a subfolder and passes tracetest.
package trace

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// Retention is how long traces are kept by default.
const Retention = 7 * 24 * time.Hour

// Entry is a set of nodes that became known together, for one message.
type Entry struct {
	TraceID core.TraceID
	Account core.AccountID
	Nodes   []core.Node
}

// Recorder takes entries.
type Recorder interface {
	// Record hands entries over and returns at once. What cannot be taken is dropped and counted.
	Record(entries ...Entry)
}

// Reader finds traces.
type Reader interface {
	// Nodes returns the nodes of a trace of the account in the order they were recorded, none if there
	// are none. Nodes recorded a moment ago may be missing.
	Nodes(ctx context.Context, account core.AccountID, id core.TraceID) ([]core.Node, error)
}

// Store is what a technology provides.
type Store interface {
	Recorder
	Reader
	// Flush waits until what was recorded before can be read.
	Flush(ctx context.Context) error
	// Dropped counts entries that were not kept.
	Dropped() int64
	// Purge removes traces that began before a time.
	Purge(ctx context.Context, before time.Time) error
	// Close flushes and ends.
	Close() error
}
