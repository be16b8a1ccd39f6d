package core

import "time"

// Outcome is what became of one attempt.
type Outcome string

// The outcomes of an attempt.
const (
	OutcomeAccepted  Outcome = "accepted"  // the provider took the message
	OutcomeRejected  Outcome = "rejected"  // permanent: a repeat would fail the same way
	OutcomeRetryable Outcome = "retryable" // surely not sent; a later attempt may succeed
	OutcomeThrottled Outcome = "throttled" // surely not sent; the provider asks to slow down
	OutcomeUncertain Outcome = "uncertain" // the provider may or may not have taken it
)

// Fault says whose fault an error is. A recipient's own error never counts against a provider.
type Fault string

// The parties that can be at fault.
const (
	FaultMessage  Fault = "message"
	FaultProvider Fault = "provider"
	FaultConfig   Fault = "config"
	FaultPlugin   Fault = "plugin"
)

// DefaultBudget is how many attempts a message has, and how many more a retry gives it.
const DefaultBudget = 5

// SendError says why an attempt did not succeed.
type SendError struct {
	Code         string `json:"code"`                    // stable, e.g. "invalid_recipient"
	ProviderCode string `json:"provider_code,omitempty"` // as the provider gave it
	Message      string `json:"message"`
	Fault        Fault  `json:"fault,omitempty"`
}

// Error makes SendError an error.
func (e *SendError) Error() string { return e.Code + ": " + e.Message }

// Codes of errors that the gateway itself gives to an attempt.
const (
	CodeExpired          = "expired"           // expire_at passed before the message was sent
	CodeOutOfAttempts    = "out_of_attempts"   // the budget of attempts is used up
	CodeNoConnector      = "no_connector"      // nothing configured can carry the message
	CodeConnectionLost   = "connection_lost"   // the plugin ended before it answered
	CodeDeadlineExceeded = "deadline_exceeded" // no answer in time
	CodeNoResult         = "no_result"         // the plugin broke the contract: no result for the attempt
	CodeLeaseExpired     = "lease_expired"     // the worker that held the message is gone
	CodeNotSent          = "not_sent"          // the call failed before the plugin took the message
)

// CodeRepeatSafe is what a plugin answers about an uncertain attempt whose repeat the provider drops, if it has the first: through
// the same connector, within RepeatWindow of the first attempt. The attempt stays uncertain.
const CodeRepeatSafe = "repeat_is_safe"

// RepeatWindow is for how long CodeRepeatSafe promises that a repeat is dropped.
const RepeatWindow = 30 * time.Minute

// Delivery is one attempt to hand one message to a connector: what a plugin gets.
type Delivery struct {
	Message *Message
	Attempt int // the fencing token: a result counts only for the attempt it names
}

// Result is the outcome of one attempt, as the plugin told it or as the gateway concluded.
type Result struct {
	Record      RecordID
	Attempt     int
	Outcome     Outcome
	ProviderIDs []string // one per part
	Error       *SendError
	RetryAfter  time.Duration // throttled, retryable: wait at least this long
	Segments    int
	Cost        string // decimal amount, a space, ISO 4217 currency; "" unknown
	Latency     time.Duration
}

// Attempt is the history of one attempt, for people.
type Attempt struct {
	Number      int
	Connector   ConnectorID
	Outcome     Outcome // "" while it runs
	Error       *SendError
	ProviderIDs []string
	StartedAt   time.Time
	FinishedAt  time.Time // zero while it runs
}

// Inquiry asks a provider what became of an uncertain attempt.
type Inquiry struct {
	Record         RecordID
	Attempt        int
	IdempotencyKey string
	ProviderIDs    []string // where known
	Recipient      string
	SentAt         time.Time
}
