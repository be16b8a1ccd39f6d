package sdk

import (
	"context"
	"net/http"
	"time"
)

// Events are what a provider tells later: receipts of sent messages and messages from users.
type Events struct {
	Receipts []DeliveryReceipt
	Inbound  []Inbound
}

// Empty tells whether there is nothing in it.
func (e Events) Empty() bool { return len(e.Receipts) == 0 && len(e.Inbound) == 0 }

// ReceiptStatus is what a receipt says about a message.
type ReceiptStatus int32

// The statuses of a receipt. Their values follow the contract's.
const (
	// Delivered: the message reached the recipient.
	Delivered ReceiptStatus = 1
	// Undelivered: the message will not reach the recipient.
	Undelivered ReceiptStatus = 2
	// Read: the recipient opened the message.
	Read ReceiptStatus = 3
	// Progress: something on the way; the message's status stays.
	Progress ReceiptStatus = 4
)

// DeliveryReceipt is what the provider says later about an attempt. ProviderID or AttemptID finds
// the attempt.
type DeliveryReceipt struct {
	// DedupeKey is the same however often the provider repeats the event. Empty: the SDK derives
	// it from the ids, the recipient and the status.
	DedupeKey string
	// ProviderID is one of those in Receipt.ProviderIDs, in the very same form. It must name one message: where a
	// provider has one id for all recipients of a request, make it "<id>/<recipient>" there and here.
	ProviderID string
	AttemptID  string
	Status     ReceiptStatus
	// Err says why the message was not delivered. Permanent with Code and ProviderCode fills the
	// receipt's error; any other error gives its text.
	Err error
	At  time.Time // as the provider gave it; zero: now
	// Recipient is whom the receipt is about. It finds no message: see ProviderID.
	Recipient string
	// Segments and Cost are what the provider bills, where it tells only now.
	Segments int
	Cost     Cost
}

// Inbound is a message that a user sent to us. The gateway cuts an id, an address and the kind at 256 bytes.
type Inbound struct {
	// DedupeKey is the same however often the provider repeats the event. Empty: the SDK derives
	// it from ProviderID, or from the content and the time when there is none. With neither id nor
	// time a repeat is stored twice.
	DedupeKey  string
	ProviderID string
	From, To   string
	Text       string
	At         time.Time // as the provider gave it; zero: now
	// Kind says what it is beside a text, in lower case: "image", "location", "event". Empty: a text.
	Kind string
	// Attachments are its files, up to 20.
	Attachments []InboundAttachment
	// ReplyToProviderID is the provider's id of the message that it answers.
	ReplyToProviderID string
	// Attributes is whatever else the provider tells: up to 64, names of up to 256 bytes, values of up to 2 KiB. What
	// goes beyond is cut, and counted as a breach of the contract.
	Attributes map[string]string
}

// InboundAttachment is a file that came with a message. It stays at the provider.
type InboundAttachment struct {
	Name, ContentType string
	URL               string // where to fetch it, up to 2 KiB
}

// Emit hands events to the gateway and returns once the gateway has stored them: only then may the
// plugin acknowledge them to the provider. When the gateway is away it waits until the gateway is
// back or ctx ends; after an error the events may or may not have been stored, so let the provider
// repeat them.
type Emit = func(ctx context.Context, events Events) error

// CallbackRequest is one HTTP request that a provider made to the connector's callback URL. Its body has at most 256 KiB:
// the gateway answers 413 to a larger one by itself.
type CallbackRequest struct {
	Method string
	Path   string // below the callback URL, with a leading slash; "/" is the URL itself
	Query  string // raw, without the question mark
	Header http.Header
	Body   []byte // exactly as received: signatures cover these bytes
	// RemoteAddr is the caller; URL is the URL it called, as far as the gateway knows it.
	RemoteAddr, URL string
}

// CallbackResponse is the HTTP answer to the provider. Nil means status 200 without a body.
type CallbackResponse struct {
	Status int // 200 to 599; 0 means 200
	// Header goes out but for what belongs to the gateway or to the connection: Connection, Content-Length,
	// Content-Security-Policy, Keep-Alive, Set-Cookie, Transfer-Encoding, X-Request-Id and their like.
	Header http.Header
	Body   []byte
}
