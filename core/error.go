package core

import (
	"errors"
	"fmt"
	"time"
)

// Kind is the class of an error: what the caller can do about it. The set is closed.
type Kind int

// The kinds of errors.
const (
	KindInternal      Kind = iota // ours; the detail is logged and never shown
	KindInvalid                   // cannot be read: malformed, unknown field, wrong type
	KindUnprocessable             // read and refused: a value is not allowed
	KindUnauthorized              // no valid key
	KindForbidden                 // a valid key without the right
	KindNotFound                  // absent, or another account's
	KindConflict                  // the state does not allow it
	KindTooLarge                  // over a limit of size
	KindLimited                   // over a rate; RetryAfter says when
	KindUnavailable               // cannot serve now; RetryAfter says when
)

// FieldError names one field that is wrong.
type FieldError struct {
	Field  string // JSON pointer, e.g. "/variables/order_no"
	Reason string // what is wrong and how to mend it
}

// Error is an error that a caller may see.
type Error struct {
	Kind       Kind
	Code       int    // documented number, see the Code constants; 0 takes the kind's own
	Message    string // for people: what was wrong and how to mend it
	Fields     []FieldError
	RetryAfter time.Duration
	Cause      error // logged, never shown
}

// Error returns the message, and the cause for logs.
func (e *Error) Error() string {
	if e.Cause != nil {
		return e.Message + ": " + e.Cause.Error()
	}
	return e.Message
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// Errorf makes an error of a kind.
func Errorf(kind Kind, format string, args ...any) *Error {
	return &Error{Kind: kind, Message: fmt.Sprintf(format, args...)}
}

// Invalid makes an unprocessable error about one field.
func Invalid(field, format string, args ...any) *Error {
	reason := fmt.Sprintf(format, args...)
	return &Error{
		Kind: KindUnprocessable, Message: field + ": " + reason,
		Fields: []FieldError{{Field: field, Reason: reason}},
	}
}

// NotFound makes the error for a thing that is absent or another account's: the two look the same.
func NotFound(what string) *Error { return Errorf(KindNotFound, "%s not found", what) }

// KindOf returns the kind of err, KindInternal if it carries none.
func KindOf(err error) Kind {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Kind
	}
	return KindInternal
}

// Codes of the answers of the API: 0 success, 1xxx the caller's request, 2xxx messages and delivery,
// 3xxx identity, rights and quotas, 5xxx the system.
const (
	CodeOK                = 0
	CodeMalformed         = 1000 // the body or a parameter cannot be read
	CodeInvalidField      = 1001 // a field's value is not allowed
	CodeTooLarge          = 1002 // the body or the batch is over the limit
	CodeUnsupportedType   = 1003 // content type or encoding
	CodeKeyInFlight       = 1004 // a request with the same Idempotency-Key is being worked on
	CodeKeyReused         = 1005 // the Idempotency-Key was used with another body
	CodeRouteNotFound     = 1006 // no such path
	CodeMethodNotAllowed  = 1007 // the path does not know the method
	CodeMessageNotFound   = 2001
	CodeTemplateNotFound  = 2002
	CodeBatchNotFound     = 2003
	CodeTraceNotFound     = 2004
	CodeTemplateDisabled  = 2005
	CodeNotCancelable     = 2006
	CodeNotRetryable      = 2007
	CodeChannelUnknown    = 2008 // no connector serves the channel
	CodeConnectorNotFound = 2009
	CodeTemplateNameTaken = 2010
	CodePluginNotFound    = 2011
	CodeUnauthorized      = 3001
	CodeForbidden         = 3002
	CodeRateLimited       = 3003
	CodeInternal          = 5000
	CodeUnavailable       = 5001
)
