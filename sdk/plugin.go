package sdk

import (
	"context"
	"time"
)

// Plugin declares a channel plugin. C is the struct of a connector's config: its fields carry the
// tags `cfg` and `doc`, see README.md.
type Plugin[C any] struct {
	// Name is the plugin's name and the folder it is installed in.
	Name string
	// Version is semantic, without a leading "v".
	Version string
	// Channels are the channels it serves. Empty: one, with the plugin's name.
	Channels []string

	// Open makes one connector ready to send. Its ctx ends when Open returns. An error changes
	// nothing at the gateway; make it a FieldError where one field is to blame.
	Open func(ctx context.Context, c C) (Sender, error)
	// Validate checks what tags cannot say. It must be pure: no network, no file, no state. Return
	// FieldErrors, several of them through errors.Join.
	Validate func(c C) error

	// Prototype is a nil pointer of the type that Open returns, e.g. (*Channel)(nil). Describe
	// comes before any Open, and reads from it which optional interfaces the plugin has. Needed
	// when there is one; no method is called on it.
	Prototype Sender

	// Limits bound what the gateway hands over.
	Limits Limits
	// Capabilities adds what no type assertion can find.
	Capabilities Capabilities
}

// Limits bound what the gateway hands over. Zero means no bound of the plugin's own.
type Limits struct {
	// MaxBatch is the most messages in one call of SendBatch.
	MaxBatch int
	// MaxBatchBytes is the most bytes in one batch.
	MaxBatchBytes int64
	// MaxInFlight is the most messages of one connector being sent at a time. The SDK never
	// passes it. Zero means 64 for a Sender and 1024 for a BatchSender.
	MaxInFlight int
	// MaxMessageBytes bounds the content of one message. The SDK rejects a larger one.
	MaxMessageBytes int64
	// SuggestedRate is how many messages a second a connector should not exceed.
	SuggestedRate float64
}

// Capabilities are what no type assertion can find.
type Capabilities struct {
	Idempotent  bool // the provider drops a repeat with the same idempotency key
	Receipts    bool // receipts follow an accepted message
	Exclusive   bool // the provider allows one session at a time
	HTML        bool // Message.HTML is used
	Attachments bool // Message.Attachments is used
}

// Sender sends one message: all that a channel must do. Send is called by many goroutines at once,
// up to Limits.MaxInFlight for a connector.
type Sender interface {
	// Send hands m to the provider. A nil error means that the provider took it. Say what an error
	// means with Permanent, Retryable, Throttled or Uncertain; a plain error and a panic count as
	// uncertain. ctx ends a little before the gateway gives up waiting.
	Send(ctx context.Context, m *Message) (Receipt, error)
}

// Receipt is what Send returns when the provider took the message. All of it is optional.
type Receipt struct {
	// ProviderIDs are the provider's ids of the message, one per part, in order. Later receipts
	// carry them; see DeliveryReceipt.ProviderID for a provider that has one for several messages.
	ProviderIDs []string
	// Segments is what the provider bills, e.g. SMS segments.
	Segments int
	// Cost is what the provider charges.
	Cost Cost
}

// ProviderID returns the first provider id, or nothing.
func (r Receipt) ProviderID() string {
	if len(r.ProviderIDs) == 0 {
		return ""
	}
	return r.ProviderIDs[0]
}

// Accepted is the receipt with the given provider ids.
func Accepted(providerIDs ...string) Receipt { return Receipt{ProviderIDs: providerIDs} }

// Cost is an amount of money.
type Cost struct {
	Amount   string // decimal number, e.g. "0.045"
	Currency string // ISO 4217, e.g. "EUR"
}

// BatchSender sends several messages in one call of the provider. Where Open returns one, the SDK
// calls SendBatch and never Send.
type BatchSender interface {
	// SendBatch calls report exactly once for each index of ms, in any order, from any goroutine,
	// before it returns. The SDK drops a second report and makes a missing one uncertain.
	SendBatch(ctx context.Context, ms []*Message, report func(i int, r Receipt, err error))
}

// Querier asks the provider what became of uncertain attempts.
type Querier interface {
	// Query returns one result for each attempt the provider knows about; leave the others out.
	Query(ctx context.Context, attempts []Attempt) ([]QueryResult, error)
}

// Attempt is an attempt whose outcome nobody knows.
type Attempt struct {
	AttemptID, MessageID string
	IdempotencyKey       string
	ProviderIDs          []string // as far as they became known
	Recipient            string
	SentAt               time.Time
}

// QueryResult is the provider's answer about one attempt.
type QueryResult struct {
	AttemptID string
	Receipt   Receipt
	// Err is nil for a message the provider took, Retryable for one it never saw, Permanent for one
	// it refused. Uncertain with Code(CodeRepeatSafe): nobody knows, but a repeat does no harm.
	Err error
}

// CodeRepeatSafe is the code of an Uncertain answer of Query that promises: the provider drops a repeat with the same idempotency
// key that comes through the same connector within 30 minutes of the first attempt. The gateway then sends the message again through
// that connector, at once, without asking its operator, and marks it as a possible double only if that comes too late. Retryable
// would not do: it allows another connector, where the key means nothing.
const CodeRepeatSafe = "repeat_is_safe"

// CallbackHandler verifies and parses the HTTP requests that a provider makes.
type CallbackHandler interface {
	// HandleCallback returns the answer to the provider and the events it brought. The gateway
	// stores the events before it sends the answer. Answer a bad signature with status 401 and no
	// events. It has 20 seconds. An error, and events that cannot be stored, make the gateway answer
	// 503 with Retry-After, so that the provider calls again.
	HandleCallback(ctx context.Context, r *CallbackRequest) (*CallbackResponse, Events, error)
}

// Receiver brings receipts and inbound messages over the plugin's own connections.
type Receiver interface {
	// Receive runs until ctx ends and hands on what arrives. The SDK calls it once the gateway
	// listens, and again after a pause whenever it returns earlier, with an error or without. A
	// connector that has nothing to receive waits for the end of ctx.
	Receive(ctx context.Context, emit Emit) error
}

// Checker reaches the provider and logs in, without sending anything.
type Checker interface {
	// Check returns nil when messages could be sent now.
	Check(ctx context.Context) error
}

// Drainer has something to finish before the process ends, beyond the messages in flight.
type Drainer interface {
	// Drain is called once no message is in flight any more. ctx carries the deadline.
	Drain(ctx context.Context) error
}
