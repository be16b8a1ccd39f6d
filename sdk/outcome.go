package sdk

import (
	"context"
	"errors"
	"fmt"
	"time"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// Outcome is what came of one attempt. Its values follow the contract's.
type Outcome int32

// The outcomes of an attempt.
const (
	// OutcomeAccepted: the provider took the message.
	OutcomeAccepted = Outcome(channelv1.Outcome_OUTCOME_ACCEPTED)
	// OutcomeRejected: a repeat would fail the same way.
	OutcomeRejected = Outcome(channelv1.Outcome_OUTCOME_REJECTED)
	// OutcomeRetryable: surely not sent, a later attempt may succeed.
	OutcomeRetryable = Outcome(channelv1.Outcome_OUTCOME_RETRYABLE)
	// OutcomeThrottled: surely not sent, the provider asks to slow down.
	OutcomeThrottled = Outcome(channelv1.Outcome_OUTCOME_THROTTLED)
	// OutcomeUncertain: the provider may or may not have taken the message.
	OutcomeUncertain = Outcome(channelv1.Outcome_OUTCOME_UNCERTAIN)
)

// String returns the word the project uses for the outcome.
func (o Outcome) String() string {
	switch o {
	case OutcomeAccepted:
		return "accepted"
	case OutcomeRejected:
		return "rejected"
	case OutcomeRetryable:
		return "retryable"
	case OutcomeThrottled:
		return "throttled"
	case OutcomeUncertain:
		return "uncertain"
	default:
		return fmt.Sprintf("outcome(%d)", int32(o))
	}
}

// Fault says whose fault a failure is. The gateway's circuit breaker and alerts depend on it: a bad
// recipient must not take a healthy provider out of service.
type Fault int32

// The faults.
const (
	// FaultMessage: bad recipient, refused content.
	FaultMessage = Fault(channelv1.Fault_FAULT_MESSAGE)
	// FaultProvider: down, slow, overloaded.
	FaultProvider = Fault(channelv1.Fault_FAULT_PROVIDER)
	// FaultConfig: wrong credentials, unknown sender.
	FaultConfig = Fault(channelv1.Fault_FAULT_CONFIG)
	// FaultPlugin: a bug.
	FaultPlugin = Fault(channelv1.Fault_FAULT_PLUGIN)
)

// Codes that the SDK itself puts into results. Authors add their own with Code.
const (
	CodeExpired       = "expired"           // not_after has passed; not sent
	CodeTooLarge      = "message_too_large" // larger than Limits.MaxMessageBytes; not sent
	CodeNotStarted    = "not_started"       // the deadline came before the item's turn; not sent
	CodeTimeout       = "timeout"           // the deadline came while the item was being sent
	CodeDraining      = "draining"          // the plugin takes no items any more; not sent
	CodeNoConnector   = "unknown_connector" // Configure has not opened it; not sent
	CodePanic         = "panic"             // Send or SendBatch panicked
	CodeNoResult      = "no_result"         // SendBatch returned without reporting the item
	CodeRejected      = "rejected"          // what Permanent says without Code
	CodeUnavailable   = "unavailable"       // what Retryable says without Code
	CodeThrottled     = "throttled"         // what Throttled says without Code
	CodeUncertain     = "uncertain"         // what Uncertain and a plain error say without Code
	CodeAuthFailed    = "auth_failed"       // DoHTTP: the provider refused the credentials
	CodeHTTPStatus    = "http_status"       // DoHTTP: any other refusal
	CodeConnectFailed = "connect_failed"    // DoHTTP: no connection was made; not sent
	CodeBadRequest    = "invalid_request"   // DoHTTP: the request cannot be made; not sent
	CodeNoToken       = "no_token"          // TokenSource: no access token could be had; not sent
)

// DeliveryError is an error with an outcome. Permanent, Retryable, Throttled and Uncertain make
// one; errors.As finds it under any wrapping.
type DeliveryError struct {
	Outcome      Outcome
	Code         string // stable, lower case, e.g. "invalid_recipient"
	ProviderCode string // as the provider gave it, e.g. "550 5.1.1"
	Fault        Fault
	RetryAfter   time.Duration // earliest next attempt; 0: the gateway decides
	Err          error         // never nil when made by the functions of this package
}

// Error returns the underlying error's text.
func (e *DeliveryError) Error() string {
	if e.Err == nil {
		return e.Code
	}
	return e.Err.Error()
}

// Unwrap returns the underlying error.
func (e *DeliveryError) Unwrap() error { return e.Err }

// Option refines a DeliveryError.
type Option func(*DeliveryError)

// Code sets the stable, lower case code, e.g. "invalid_recipient".
func Code(code string) Option { return func(e *DeliveryError) { e.Code = code } }

// ProviderCode sets the code as the provider gave it, e.g. "550 5.1.1".
func ProviderCode(code string) Option { return func(e *DeliveryError) { e.ProviderCode = code } }

// Blame says whose fault it was, where it is not the usual one.
func Blame(f Fault) Option { return func(e *DeliveryError) { e.Fault = f } }

// RetryAfter asks the gateway not to try again earlier.
func RetryAfter(d time.Duration) Option { return func(e *DeliveryError) { e.RetryAfter = d } }

// Permanent says that the provider refused the message and would refuse a repeat. Blames the
// message unless Blame says otherwise.
func Permanent(err error, opts ...Option) error {
	return fail(OutcomeRejected, CodeRejected, FaultMessage, err, opts)
}

// Retryable says that the message was surely not sent and that a later attempt may succeed. Blames
// the provider unless Blame says otherwise.
func Retryable(err error, opts ...Option) error {
	return fail(OutcomeRetryable, CodeUnavailable, FaultProvider, err, opts)
}

// Throttled says that the message was surely not sent because the provider asks to slow down.
// retryAfter 0 leaves the pause to the gateway.
func Throttled(err error, retryAfter time.Duration, opts ...Option) error {
	opts = append([]Option{RetryAfter(retryAfter)}, opts...)
	return fail(OutcomeThrottled, CodeThrottled, FaultProvider, err, opts)
}

// Uncertain says that the provider may have taken the message. A plain error means the same; this
// function adds a code or a fault.
func Uncertain(err error, opts ...Option) error {
	return fail(OutcomeUncertain, CodeUncertain, FaultProvider, err, opts)
}

// OutcomeOf returns the outcome that the SDK reports for what Send returned.
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OutcomeAccepted
	}
	return classify(err).Outcome
}

// fail builds the error. It is never nil, not even for a nil err: a slip of the pen must not turn
// a failure into an acceptance.
func fail(o Outcome, code string, f Fault, err error, opts []Option) error {
	if err == nil {
		err = errors.New(o.String() + " without a reason")
	}
	e := &DeliveryError{Outcome: o, Code: code, Fault: f, Err: err}
	for _, opt := range opts {
		opt(e)
	}
	return e
}

// classify finds the DeliveryError in err. Anything else is uncertain: only an author who knows
// that nothing was sent may say so.
func classify(err error) *DeliveryError {
	if e, ok := errors.AsType[*DeliveryError](err); ok {
		return e
	}
	e := &DeliveryError{Outcome: OutcomeUncertain, Code: CodeUncertain, Fault: FaultProvider, Err: err}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		e.Code = CodeTimeout
	}
	return e
}
