// Package verdict says what a provider's answer means for a message: the tables of error codes of all providers are made
// of its words.
package verdict

import (
	"errors"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// Stable codes that several providers share. They are part of what callers of the API see.
const (
	InvalidRecipient    = "invalid_recipient"    // no number that the provider could send to
	InvalidSender       = "invalid_sender"       // the sender is not ours, or cannot send this
	InvalidParameter    = "invalid_parameter"    // the provider does not like a field of the request
	Unsubscribed        = "unsubscribed"         // the recipient opted out
	RecipientBlocked    = "recipient_blocked"    // the recipient is on a blocklist
	Undeliverable       = "undeliverable"        // the network could not reach the recipient
	TemplateMissing     = "template_missing"     // the provider sends templates only, and the message names none
	TemplateInvalid     = "template_invalid"     // the template is unknown, not approved, or its parameters do not fit
	SignInvalid         = "sign_invalid"         // the signature is unknown or not approved
	ContentRefused      = "content_refused"      // the text is not allowed
	PayloadTooLarge     = "payload_too_large"    // the text or a parameter is too long
	EmptyText           = "empty_text"           // there is nothing to send
	AuthFailed          = sdk.CodeAuthFailed     // the credentials are wrong
	PermissionDenied    = "permission_denied"    // the credentials may not do this
	InsufficientBalance = "insufficient_balance" // there is no money left at the provider
	QuotaExceeded       = "quota_exceeded"       // a limit of the account or of the recipient is reached
	Throttled           = sdk.CodeThrottled      // requests come too fast
	QueueFull           = "queue_full"           // the provider's queue is full
	Expired             = "expired_at_provider"  // the provider gave up in time
	ProviderError       = "provider_error"       // the provider failed
	ProviderUnavailable = "provider_unavailable" // the provider is away for a while
	RejectedByProvider  = "rejected_by_provider" // refused, for a reason that is not known here
	ProtocolError       = "protocol_error"       // the provider could not read the request: a fault of this plugin
	NoResponse          = "no_response"          // nobody knows whether the provider took it
)

// Verdict is what an answer means.
type Verdict struct {
	Outcome    sdk.Outcome
	Code       string // stable, see the constants
	Fault      sdk.Fault
	RetryAfter time.Duration // 0: the gateway decides
}

// Message is a refusal that concerns this message alone: another one would be taken.
func Message(code string) Verdict {
	return Verdict{Outcome: sdk.OutcomeRejected, Code: code, Fault: sdk.FaultMessage}
}

// Config is a refusal that lasts until somebody changes the config, or something in the provider's console.
func Config(code string) Verdict {
	return Verdict{Outcome: sdk.OutcomeRejected, Code: code, Fault: sdk.FaultConfig}
}

// Plugin is a refusal that this plugin is to blame for.
func Plugin(code string) Verdict {
	return Verdict{Outcome: sdk.OutcomeRejected, Code: code, Fault: sdk.FaultPlugin}
}

// Later is a refusal that may be over after the pause; fault says whose it is.
func Later(code string, fault sdk.Fault, pause time.Duration) Verdict {
	return Verdict{Outcome: sdk.OutcomeRetryable, Code: code, Fault: fault, RetryAfter: pause}
}

// Slower says that requests come too fast.
func Slower(code string, pause time.Duration) Verdict {
	return Verdict{Outcome: sdk.OutcomeThrottled, Code: code, Fault: sdk.FaultProvider, RetryAfter: pause}
}

// Unknown says that the provider may or may not have taken the message.
func Unknown(code string) Verdict {
	return Verdict{Outcome: sdk.OutcomeUncertain, Code: code, Fault: sdk.FaultProvider}
}

// Error makes the outcome of a message of which err tells in words and providerCode as the provider does.
func (v Verdict) Error(err error, providerCode string) error {
	options := []sdk.Option{sdk.Code(v.Code), sdk.Blame(v.Fault), sdk.ProviderCode(providerCode), sdk.RetryAfter(v.RetryAfter)}
	switch v.Outcome {
	case sdk.OutcomeThrottled:
		return sdk.Throttled(err, v.RetryAfter, options...)
	case sdk.OutcomeRetryable:
		return sdk.Retryable(err, options...)
	case sdk.OutcomeUncertain:
		return sdk.Uncertain(err, options...)
	default:
		return sdk.Permanent(err, options...)
	}
}

// Table holds verdicts by the provider's codes.
type Table map[string]Verdict

// Find gives the verdict of a code. Codes are often made of parts with dots between: of one that the table does not
// have, what stands before the last dot is looked up, and so on.
func (t Table) Find(code string) (Verdict, bool) {
	for code != "" {
		if v, ok := t[code]; ok {
			return v, true
		}
		code = code[:max(0, strings.LastIndexByte(code, '.'))]
	}
	return Verdict{}, false
}

// ConcernsOne tells whether err is a refusal for the sake of one message: of a batch that was refused whole, the other
// messages may be sent.
func ConcernsOne(err error) bool {
	e, ok := errors.AsType[*sdk.DeliveryError](err)
	return ok && e.Fault == sdk.FaultMessage && (e.Outcome == sdk.OutcomeRejected || e.Outcome == sdk.OutcomeRetryable)
}
