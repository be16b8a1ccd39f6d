package core

import "time"

// GenerationState is where one running process of a plugin stands.
type GenerationState string

// The states of a generation.
const (
	GenerationStaged   GenerationState = "staged"
	GenerationStarting GenerationState = "starting"
	GenerationReady    GenerationState = "ready"
	GenerationCanary   GenerationState = "canary"
	GenerationActive   GenerationState = "active"
	GenerationDraining GenerationState = "draining"
	GenerationStopped  GenerationState = "stopped"
	GenerationFailed   GenerationState = "failed"
)

// PluginStatus is what is known of one plugin, for people.
type PluginStatus struct {
	Name         string
	Active       string // the version that carries messages; "": none
	Channels     []string
	Capabilities []string // e.g. "receipts", "query"
	Generations  []GenerationStatus
}

// GenerationStatus is what is known of one process of a plugin.
type GenerationStatus struct {
	Version    string
	SHA256     string // of the executable, in hexadecimal digits; empty: not known yet
	State      GenerationState
	Share      float64 // of the messages, in percent
	PID        int     // 0: no process now
	StartedAt  time.Time
	Restarts   int    // times the process was started again after a crash
	Error      string // why it failed or last crashed: expected and found
	LastStderr string // the last lines of the standard error, secrets redacted
	InFlight   int    // attempts handed over and without a result
}

// ConnectorState says whether a connector can carry messages.
type ConnectorState string

// The states of a connector.
const (
	ConnectorReady         ConnectorState = "ready"
	ConnectorDegraded      ConnectorState = "degraded"    // works, but not fully
	ConnectorUnavailable   ConnectorState = "unavailable" // its plugin is starting, down or failed
	ConnectorMisconfigured ConnectorState = "misconfigured"
)

// ConnectorStatus is what is known of one connector, for people and for routing.
type ConnectorStatus struct {
	ID       ConnectorID
	Plugin   string
	Version  string // of the generation that carries it
	State    ConnectorState
	Message  string
	Receipts bool // receipts follow accepted messages
	Query    bool // the provider can be asked about uncertain attempts
	// Idempotent: the provider drops a repeat with the same key, so that an uncertain attempt may be
	// repeated without a double.
	Idempotent  bool
	MaxBatch    int     // messages a call; 0: no bound of its own
	MaxInFlight int     // attempts at a time; 0: no bound of its own
	Rate        float64 // messages a second that the plugin suggests; 0: none
	Diagnostics []Diagnostic
}

// Diagnostic says what is wrong with a connector's configuration, and where.
type Diagnostic struct {
	Warning bool
	Path    []any // string for a field or key, int for an index; empty: the whole config
	Summary string
	Detail  string
}

// CheckResult is what came of reaching a connector's provider.
type CheckResult struct {
	OK      bool
	Message string
	Latency time.Duration
}
