package core

import "time"

// Message is one message to one recipient, as the store keeps it.
type Message struct {
	ID        RecordID
	TraceID   TraceID
	Account   AccountID
	Batch     BatchID    // 0: not part of a batch
	Template  TemplateID // 0: sent without a template
	Channel   string
	Priority  Priority
	Recipient string // in the channel's canonical form: E.164, mail address, device token, …
	// RecipientGiven is what the caller wrote, where it differs from Recipient.
	RecipientGiven string
	Content        Content
	Metadata       map[string]string // the caller's own; comes back in answers and webhooks
	Pinned         ConnectorID       // the connector that the caller asked for; "" leaves it to routing

	Status    Status
	Attempt   int         // number of the latest attempt, 0 before the first
	Budget    int         // attempts allowed; the caller's retry adds a new round
	Connector ConnectorID // of the latest attempt
	Outcome   Outcome     // of the latest attempt that has ended
	// Doubtful marks a message of which an attempt may have reached the provider without our knowing:
	// if it is sent again, the recipient may get it twice.
	Doubtful    bool
	ProviderID  string // of the latest attempt; the first part's, where there are several
	Segments    int    // parts that the provider bills
	Error       *SendError
	NextAttempt time.Time // scheduled and queued: not before this time; zero: at once
	ExpireAt    time.Time // never sent after; zero: no bound
	LeaseUntil  time.Time // sending: the worker's claim ends
	CreatedAt   time.Time
	UpdatedAt   time.Time
	StartedAt   time.Time // of the latest attempt; zero before the first
	SentAt      time.Time // a provider took it
}

// Lane returns the lane that the message travels in.
func (m *Message) Lane() Lane { return m.Priority.Lane() }

// Expired says whether the message must no longer be sent at t.
func (m *Message) Expired(t time.Time) bool {
	return !m.ExpireAt.IsZero() && !t.Before(m.ExpireAt)
}

// Content is what a message says, ready to be sent.
type Content struct {
	Subject     string            `json:"subject,omitempty"`
	Text        string            `json:"text,omitempty"`
	HTML        string            `json:"html,omitempty"`
	Attributes  map[string]string `json:"attributes,omitempty"`
	Attachments []Attachment      `json:"attachments,omitempty"`
	// ProviderTemplates name a template of the provider's own, for providers that send nothing else, by connector; AnyConnector
	// stands for all that are not named.
	ProviderTemplates map[ConnectorID]ProviderTemplate `json:"provider_templates,omitempty"`
}

// AnyConnector stands for every connector of a channel in Content.ProviderTemplates.
const AnyConnector ConnectorID = "*"

// TemplateFor returns the provider's template for a connector, nil if there is none.
func (c *Content) TemplateFor(id ConnectorID) *ProviderTemplate {
	if t, ok := c.ProviderTemplates[id]; ok {
		return &t
	}
	if t, ok := c.ProviderTemplates[AnyConnector]; ok {
		return &t
	}
	return nil
}

// Attachment is a file that goes with a message, by value or by URL.
type Attachment struct {
	Name        string `json:"name"`
	ContentType string `json:"content_type,omitempty"`
	ContentID   string `json:"content_id,omitempty"` // set: an inline part
	Data        []byte `json:"data,omitempty"`
	URL         string `json:"url,omitempty"`
}

// ProviderTemplate is a reference to a template that the provider keeps.
type ProviderTemplate struct {
	ID         string            `json:"id"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Batch is the head of one send-batch call.
type Batch struct {
	ID        BatchID
	Account   AccountID
	Template  TemplateID
	Channel   string
	Accepted  int
	Rejected  int
	CreatedAt time.Time
	Canceled  bool
}

// Envelope is what the queue carries: the ids of 1 to MaxEnvelope messages of one channel and lane,
// committed together.
type Envelope struct {
	ID      int64 // of the outbox row; grows
	Channel string
	Lane    Lane
	Records []RecordID
}

// MaxEnvelope is the largest number of messages in an envelope.
const MaxEnvelope = 100
