// Package desk is what the sandbox's providers with an HTTP API work at. A provider knows its protocol; the desk
// keeps the ledger and the inbox, throws the dice of the faults and brings callbacks to whoever is to get them.
package desk

import (
	"context"
	"encoding/json"
	"net/http"
	"time"
)

// Provider plays one provider's HTTP API.
type Provider interface {
	// Name is unique among providers: a fault and /api/providers/{name} call it by that, and the ledger too.
	Name() string
	// Channel is the channel of its messages, as the ledger and the inbox have it.
	Channel() string
	// Register adds the provider's own paths, as its documentation has them, below no prefix.
	Register(mux *http.ServeMux)
	Console
}

// Console is what else a provider's customer has to do with it, beside sending.
type Console interface {
	// Settings are what a customer would set in the provider's console: credentials, callback URLs, tokens that are not
	// valid any more. They are shown and replaced as JSON.
	Settings() any
	// Set replaces the settings. An error says which field is wrong, and changes nothing.
	Set(settings json.RawMessage) error
	// Play makes something happen that no request of a sender caused, such as a user who writes.
	Play(ctx context.Context, event json.RawMessage) error
}

// Rooted is a Provider of which requests go to the path / and are told by their headers.
type Rooted interface {
	Provider
	// Owns says whether a request to / is for this provider.
	Owns(r *http.Request) bool
	// ServeHTTP answers it.
	ServeHTTP(rw http.ResponseWriter, r *http.Request)
}

// Desk is what the sandbox gives to its providers.
type Desk interface {
	// Take decides what becomes of a message that has arrived whole, waits for as long as the fault of the provider says,
	// and writes it into the ledger and, if it is delivered, into the inbox. The receipts that follow are sent by callback,
	// which makes the provider's own form of one; nil if it has none. A message that the provider itself refuses (a wrong
	// recipient, a template that it does not know) has Refused set. An error means that the message could not be witnessed
	// and must be answered as a failure of the provider.
	Take(ctx context.Context, provider Provider, m Message, callback func(Receipt) Callback) (Decision, error)
	// Send brings a callback that belongs to no message of a sender, and comes again until it is taken.
	Send(c Callback)
	// NewID returns an id that no provider of this sandbox has given before, also not in an earlier run.
	NewID() string
}

// Message is one message to one recipient.
type Message struct {
	To, From, Subject, Text, HTML string
	// Reference is the sender's own id, where the protocol carries one. A repeat of the message has the same.
	Reference string
	// Idempotency is by what the provider drops repeats, where it does: it then answers a repeat without Take.
	Idempotency string
	// ProviderID is the id that the provider gives, if it takes the message.
	ProviderID string
	// Refused is the provider's own error code of a message that it refuses whatever the fault says; "" if it does not.
	Refused string
}

// Answer is what a provider tells its sender.
type Answer int

// The answers.
const (
	Accept   Answer = iota // it takes the message
	Fail                   // it has a temporary error, and does not take it
	Refuse                 // it does not take the message, and never will
	Throttle               // the sender is too fast; it does not take it
	HangUp                 // it has taken the message and closes the connection instead of an answer
)

// Decision is what becomes of a message.
type Decision struct {
	Answer Answer
	// Code is the provider's own error code that the fault asks for, or Message.Refused; "" leaves it to the provider.
	Code string
}

// ReceiptStatus is what a receipt says.
type ReceiptStatus int

// The statuses.
const (
	Delivered ReceiptStatus = iota
	Undelivered
	Progress // something on the way, which says less than what has been said
)

// Receipt is one callback about a message.
type Receipt struct {
	Status ReceiptStatus
	// ProviderID is of the message, or one that was never given: such a receipt carries no reference of the sender's.
	ProviderID string
	At         time.Time
}

// Callback is an HTTP request that a provider makes to its customer.
type Callback struct {
	// Request makes the request, anew for each try; nil where the customer asked for none.
	Request func(ctx context.Context) (*http.Request, error)
	// Taken says whether the customer's answer means that it has it; nil: any 2xx does.
	Taken func(status int, body []byte) bool
}

// HangUpNow closes the connection of a request without an answer.
func HangUpNow() { panic(http.ErrAbortHandler) }
