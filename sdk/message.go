package sdk

import (
	"time"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// Message is one attempt to send one message to one recipient. Treat it as read-only.
type Message struct {
	// ID names the message at the gateway; AttemptID names this attempt.
	ID, AttemptID string
	// IdempotencyKey is the same for every attempt of the message. Hand it to a provider that
	// drops repeats.
	IdempotencyKey string
	// Account is the tenant the message belongs to, opaque to the plugin.
	Account string
	// Connector is the id of the connector the message goes through: "<channel>/<name>".
	Connector string
	// Recipient is the address in the form of the channel, e.g. +8613800138000.
	Recipient string
	// Attempt counts from 1.
	Attempt int
	// Priority is 0 (lowest) to 10, as the caller gave it.
	Priority int
	// Content is what to send.
	Content
	// NotAfter is the time after which the message must not be sent; zero means any time. The SDK
	// has checked it just before the call.
	NotAfter time.Time
	// Traceparent and Tracestate are the message's W3C trace context.
	Traceparent, Tracestate string
}

// Content is what a message says.
type Content struct {
	// Plain is the text; Text returns it.
	Plain string
	// HTML is the rich form, for channels that have one.
	HTML string
	// Subject is the title, for channels that have one.
	Subject string
	// Attachments travel along, for channels that take them.
	Attachments []Attachment
	// Template refers to a template kept by the provider; nil when Plain says it all.
	Template *Template
	// Attributes is whatever else the channel knows: sender id, headers, collapse key.
	Attributes map[string]string
}

// Text returns the plain text.
func (c Content) Text() string { return c.Plain }

// Attachment is one file of a message: Data, or a URL to fetch it from.
type Attachment struct {
	Name, ContentType string
	// ContentID names an inline part; empty for an ordinary attachment.
	ContentID string
	Data      []byte
	URL       string
}

// Template names a template of the provider's own, and its parameters.
type Template struct {
	ID         string
	Parameters map[string]string
}

// fill copies item into m. The two share strings, maps and bytes: nothing of the size of the
// content is copied.
func (m *Message) fill(item *channelv1.Item, connector string) {
	m.ID, m.AttemptID = item.GetMessageId(), item.GetAttemptId()
	m.IdempotencyKey = item.GetIdempotencyKey()
	m.Account, m.Connector, m.Recipient = item.GetAccount(), connector, item.GetRecipient()
	m.Attempt, m.Priority = int(item.GetAttempt()), int(item.GetPriority())
	m.Traceparent, m.Tracestate = item.GetTraceparent(), item.GetTracestate()
	if t := item.GetNotAfter(); t != nil {
		m.NotAfter = t.AsTime()
	}
	c := item.GetContent()
	m.Plain, m.HTML, m.Subject = c.GetText(), c.GetHtml(), c.GetSubject()
	m.Attributes = c.GetAttributes()
	m.Attachments = attachmentsFromProto(c.GetAttachments())
	if t := c.GetTemplate(); t != nil {
		m.Template = &Template{ID: t.GetId(), Parameters: t.GetParameters()}
	}
}

func attachmentsFromProto(in []*channelv1.Attachment) []Attachment {
	if len(in) == 0 {
		return nil
	}
	out := make([]Attachment, len(in))
	for i, a := range in {
		out[i] = Attachment{
			Name: a.GetName(), ContentType: a.GetContentType(), ContentID: a.GetContentId(),
			Data: a.GetData(), URL: a.GetUrl(),
		}
	}
	return out
}

// expired tells whether the message must not be sent any more.
func (m *Message) expired(now time.Time) bool {
	return !m.NotAfter.IsZero() && !now.Before(m.NotAfter)
}

// size is what MaxMessageBytes bounds: the content's bytes without the framing.
func (m *Message) size() int64 {
	n := len(m.Plain) + len(m.HTML) + len(m.Subject)
	for i := range m.Attachments {
		n += len(m.Attachments[i].Data)
	}
	return int64(n)
}
