package sandbox

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// Message is what stands in the inbox: what the recipient would have seen.
type Message struct {
	// ID counts the messages of the inbox.
	ID int64 `json:"id"`
	// Channel is "email", "sms", or what a hook was called by.
	Channel string `json:"channel"`
	// Provider is the name of a provider with an HTTP API.
	Provider string `json:"provider,omitempty"`
	// To is the mail address, or the number with a plus sign if it is international.
	To   string `json:"to"`
	From string `json:"from"`
	// Subject of a mail, decoded.
	Subject string `json:"subject"`
	// Text of the message, decoded; a mail with HTML alone shows its words.
	Text string `json:"text"`
	// HTML part of a mail.
	HTML string `json:"html,omitempty"`
	// Parts an SMS was sent in; 0 for a mail.
	Parts int `json:"parts,omitempty"`
	// ProviderID the sandbox gave to the message (to its first part).
	ProviderID string `json:"provider_id"`
	// Reference is the sender's id, see Entry.Reference.
	Reference string `json:"reference,omitempty"`
	// MessageID of a mail, without angle brackets.
	MessageID string `json:"message_id,omitempty"`
	// Attachments of a mail; their content is not kept.
	Attachments []Attachment `json:"attachments,omitempty"`
	ReceivedAt  time.Time    `json:"received_at"`
}

// Attachment describes a file of a mail.
type Attachment struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type"`
	// ContentID of an inline part.
	ContentID string `json:"content_id,omitempty"`
	// Size in bytes, decoded.
	Size int64 `json:"size"`
}

// Filter picks messages; an empty field picks all.
type Filter struct {
	Channel string
	// To is compared without regard to case, and to a leading plus sign.
	To string
	// Limit bounds how many are returned, not how many are counted; 0 is no bound.
	Limit int
}

func (f Filter) match(m *Message) bool {
	return (f.Channel == "" || f.Channel == m.Channel) &&
		(f.To == "" || strings.EqualFold(address(f.To), address(m.To)))
}

// address strips what may differ between two spellings of one address. In the query of a URL an
// unescaped plus sign means a space.
func address(s string) string { return strings.TrimLeft(s, "+ ") }

// inbox keeps the newest messages, up to a bound.
type inbox struct {
	bound int

	mu       sync.Mutex
	lastID   int64
	messages []*Message // oldest first
	changed  chan struct{}
}

func newInbox(bound int) *inbox {
	return &inbox{bound: bound, changed: make(chan struct{})}
}

// add puts a message in and gives it its id. Beyond the bound, the oldest tenth goes.
func (b *inbox) add(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.messages) >= b.bound {
		b.messages = append([]*Message(nil), b.messages[b.bound/10+1:]...)
	}
	b.lastID++
	m.ID = b.lastID
	b.messages = append(b.messages, m)
	b.wake()
}

// clear empties the inbox and returns how many messages were in it.
func (b *inbox) clear() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := len(b.messages)
	b.messages = nil
	b.wake()
	return n
}

// wake tells everybody who waits on changes; the caller holds the lock.
func (b *inbox) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}

// changes returns a channel that is closed at the next change.
func (b *inbox) changes() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}

// find returns the messages that match, newest first, and how many there are without the limit.
func (b *inbox) find(f Filter) ([]*Message, int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	found, count := []*Message{}, 0
	for _, m := range slices.Backward(b.messages) {
		if !f.match(m) {
			continue
		}
		count++
		if f.Limit == 0 || len(found) < f.Limit {
			found = append(found, m)
		}
	}
	return found, count
}
