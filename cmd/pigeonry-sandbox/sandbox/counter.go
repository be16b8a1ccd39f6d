package sandbox

import (
	"context"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// counter is the desk of the providers with an HTTP API.
type counter struct {
	sandbox  *Sandbox
	idPrefix string
	lastID   atomic.Int64
}

var _ desk.Desk = (*counter)(nil)

func newCounter(s *Sandbox) *counter { return &counter{sandbox: s, idPrefix: runPrefix()} }

// NewID implements desk.Desk.
func (c *counter) NewID() string { return c.idPrefix + strconv.FormatInt(c.lastID.Add(1), 36) }

// Send implements desk.Desk.
func (c *counter) Send(callback desk.Callback) { c.sandbox.post.send(time.Now(), callback) }

// Take implements desk.Desk.
func (c *counter) Take(ctx context.Context, provider desk.Provider, m desk.Message, callback func(desk.Receipt) desk.Callback) (desk.Decision, error) {
	received := time.Now()
	d := c.sandbox.decide(provider.Name())
	told := desk.Decision{Answer: answerOf(d.outcome), Code: d.code}
	if m.Refused != "" {
		d.outcome, told = OutcomeRefused, desk.Decision{Answer: desk.Refuse, Code: m.Refused}
	}
	if err := c.witness(provider, &m, d.outcome, told.Code, received); err != nil {
		c.sandbox.log.ErrorContext(ctx, "cannot witness a message", "provider", provider.Name(), "error", err)
		return desk.Decision{}, err
	}
	if callback != nil {
		c.receipts(ctx, m.ProviderID, d, callback)
	}
	return told, nil
}

// answerOf is what the sender is told of an outcome.
func answerOf(o Outcome) desk.Answer {
	switch o {
	case OutcomeFailed:
		return desk.Fail
	case OutcomeRefused:
		return desk.Refuse
	case OutcomeThrottled:
		return desk.Throttle
	case OutcomeUnanswered:
		return desk.HangUp
	default:
		return desk.Accept
	}
}

// witness writes a message into the ledger, and into the inbox what a recipient sees.
func (c *counter) witness(provider desk.Provider, m *desk.Message, outcome Outcome, code string, received time.Time) error {
	seen := m.Text
	if seen == "" {
		seen = m.HTML
	}
	e := Entry{
		Channel: provider.Channel(), Provider: provider.Name(), To: m.To, From: m.From, Reference: m.Reference,
		Idempotency: m.Idempotency, SHA256: textHash(seen), Outcome: outcome, Answer: code, ReceivedAt: received,
	}
	if outcome.Taken() {
		e.ProviderID = m.ProviderID
	}
	if err := c.sandbox.ledger.append(e); err != nil {
		return err
	}
	if outcome != OutcomeDelivered && outcome != OutcomeUnanswered {
		return nil
	}
	c.sandbox.inbox.add(&Message{
		Channel: e.Channel, Provider: e.Provider, To: m.To, From: m.From, Subject: m.Subject, Text: clip(m.Text), HTML: clip(m.HTML),
		ProviderID: m.ProviderID, Reference: m.Reference, ReceivedAt: received,
	})
	return nil
}

// receipts sends the receipts of a message that was taken, and those that a provider should not send. An early one is sent
// before it returns: before the answer to the message.
func (c *counter) receipts(ctx context.Context, id string, d decision, callback func(desk.Receipt) desk.Callback) {
	status := desk.Delivered
	switch d.outcome {
	case OutcomeDelivered, OutcomeUnanswered:
	case OutcomeUndelivered:
		status = desk.Undelivered
	default:
		return
	}
	due := time.Now().Add(d.receiptDelay)
	if d.receipts.early {
		due = time.Now()
	}
	final := callback(desk.Receipt{Status: status, ProviderID: id, At: due})
	if d.receipts.early && final.Request != nil {
		if err := c.sandbox.post.try(ctx, final); err != nil {
			c.sandbox.post.send(due.Add(receiptPause), final)
		}
	} else {
		c.sandbox.post.send(due, final)
	}
	if d.receipts.doubled {
		c.sandbox.post.send(due, final)
	}
	if d.receipts.disordered {
		c.sandbox.post.send(due.Add(disorder), callback(desk.Receipt{Status: desk.Progress, ProviderID: id, At: due}))
	}
	if d.receipts.forged {
		c.sandbox.post.send(due, callback(desk.Receipt{Status: desk.Undelivered, ProviderID: "F" + id, At: due}))
	}
}
