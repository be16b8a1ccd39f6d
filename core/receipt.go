package core

import "time"

// ReceiptStatus is what a provider says later about a message it took.
type ReceiptStatus string

// The statuses of a receipt.
const (
	ReceiptDelivered   ReceiptStatus = "delivered"
	ReceiptUndelivered ReceiptStatus = "undelivered"
	ReceiptRead        ReceiptStatus = "read"
	ReceiptProgress    ReceiptStatus = "progress" // something on the way; the message stays as it is
)

// Status returns the message status that the receipt stands for, or false if it stands for none.
func (r ReceiptStatus) Status() (Status, bool) {
	switch r {
	case ReceiptDelivered:
		return StatusDelivered, true
	case ReceiptUndelivered:
		return StatusUndelivered, true
	case ReceiptRead:
		return StatusRead, true
	default:
		return "", false
	}
}

// Receipt is one event of a provider about one part of one attempt. It finds its message by
// Connector and ProviderID, or by Record and Attempt where the provider echoes our own reference.
type Receipt struct {
	Connector  ConnectorID
	DedupeKey  string // the same for the same event, however often the provider repeats it
	ProviderID string
	Record     RecordID // 0: unknown
	Attempt    int
	Status     ReceiptStatus
	Error      *SendError
	At         time.Time // by the provider's clock
	ReceivedAt time.Time
}

// Inbound is a message that a user sent to us.
type Inbound struct {
	ID         int64
	Connector  ConnectorID
	DedupeKey  string
	ProviderID string
	From       string
	To         string
	Text       string
	Attributes map[string]string
	At         time.Time
	ReceivedAt time.Time
}
