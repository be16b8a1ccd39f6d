package core

import "time"

// Names of the nodes of a trace, in the order of the way of a message.
const (
	NodeQueue    = "queue"    // accepted → taken by a worker
	NodeProcess  = "process"  // taken → handed to the plugin
	NodeSend     = "send"     // handed to the plugin → outcome
	NodeCallback = "callback" // the provider's receipt
)

// NodeStatus is how a node of a trace ended.
type NodeStatus string

// The statuses of a node.
const (
	NodePending NodeStatus = "pending"
	NodeSuccess NodeStatus = "success"
	NodeFailed  NodeStatus = "failed"
)

// Node is one step on the path of a message.
type Node struct {
	Name    string
	Attempt int
	Start   time.Time
	Finish  time.Time // zero: not yet
	Status  NodeStatus
	Detail  string // connector, error code
}

// Duration is how long the step took, 0 while it lasts.
func (n Node) Duration() time.Duration {
	if n.Finish.IsZero() {
		return 0
	}
	return n.Finish.Sub(n.Start)
}
