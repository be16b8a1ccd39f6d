package sandbox

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// Bounds of the message center: wide enough that the client's own window is what counts.
const (
	smscHandlers = 20_000
	smscWindow   = 1_000
)

// smsc is the SMPP side: a message center that lets everybody bind, takes every message and sends
// the receipts that were asked for.
type smsc struct {
	sandbox  *Sandbox
	server   *smpp.Server
	listener net.Listener
	parts    *partStore
	idPrefix string
	lastID   atomic.Int64

	mu       sync.Mutex
	couriers map[string]*courier // by system id
	working  sync.WaitGroup
	stopped  bool
}

func newSMSC(s *Sandbox, listener net.Listener) *smsc {
	c := &smsc{
		sandbox: s, listener: listener, parts: newPartStore(),
		idPrefix: runPrefix(),
		couriers: map[string]*courier{},
	}
	c.server = &smpp.Server{
		SystemID: "sandbox",
		Submit:   c.submit,
		Bound:    func(session *smpp.Session) { c.courier(session.SystemID()).join(session) },
		Unbound:  func(session *smpp.Session) { c.courier(session.SystemID()).leave(session) },
		Options:  smpp.Options{Window: smscWindow, MaxHandlers: smscHandlers},
	}
	return c
}

// serve answers until stop.
func (c *smsc) serve() error { return c.server.Serve(c.listener) }

// stop unbinds everybody. Receipts that are not due yet are lost, as they would be in a crash.
func (c *smsc) stop(ctx context.Context) error {
	c.mu.Lock()
	c.stopped = true
	for _, courier := range c.couriers {
		courier.stop()
	}
	c.mu.Unlock()
	err := c.server.Shutdown(ctx)
	c.working.Wait()
	if err != nil {
		return fmt.Errorf("stop SMPP server: %w", err)
	}
	return nil
}

// courier returns the one that brings receipts to the sessions of a system id. It outlives a
// session: what is due while nobody is bound waits for the next bind.
func (c *smsc) courier(systemID string) *courier {
	c.mu.Lock()
	defer c.mu.Unlock()
	found, ok := c.couriers[systemID]
	if !ok {
		found = newCourier(c.sandbox.log)
		c.couriers[systemID] = found
		if c.stopped {
			found.stop()
		}
		c.working.Go(found.run)
	}
	return found
}

// earliness is how long the answer to a message waits so that its receipt comes before.
const earliness = 50 * time.Millisecond

// submit takes one submit_sm: a whole SMS or one part of a long one.
func (c *smsc) submit(ctx context.Context, session *smpp.Session, m *smpp.ShortMessage) (string, smpp.Status) {
	received := time.Now()
	decision := c.sandbox.decide(ChannelSMS)
	id := ""
	if decision.outcome.Taken() {
		id = "S" + c.idPrefix + strconv.FormatInt(c.lastID.Add(1), 36)
	}
	status := smsAnswer(decision.outcome)
	if err := c.record(m, id, decision.outcome, status, received); err != nil {
		c.sandbox.log.ErrorContext(ctx, "cannot witness an SMS", "error", err)
		return "", smpp.StatusSysErr
	}
	if decision.receipts.early {
		decision.receiptDelay = 0
	}
	c.scheduleReceipt(session, m, id, decision, received)
	if decision.receipts.early {
		c.sandbox.wait(earliness)
	}
	if decision.outcome == OutcomeUnanswered {
		session.Abort()
	}
	return id, status
}

// smsAnswer is the status a sender is told.
func smsAnswer(o Outcome) smpp.Status {
	switch o {
	case OutcomeFailed:
		return smpp.StatusSysErr
	case OutcomeRefused:
		return smpp.StatusInvDstAddr
	case OutcomeThrottled:
		return smpp.StatusThrottled
	case OutcomeUnanswered:
		return smpp.NoAnswer
	default:
		return smpp.StatusOK
	}
}

// record writes one submit_sm into the ledger; a delivered SMS whose parts are all there goes to
// the inbox.
func (c *smsc) record(m *smpp.ShortMessage, id string, outcome Outcome, status smpp.Status, received time.Time) error {
	part := readPart(m)
	entry := Entry{
		Channel: ChannelSMS, To: part.to, From: part.from, Reference: part.messageReference,
		Part: part.number, Parts: part.total, ProviderID: id, SHA256: textHash(part.text),
		Outcome: outcome, ReceivedAt: received,
	}
	if status != smpp.NoAnswer {
		entry.Answer = fmt.Sprintf("0x%08x", uint32(status))
	}
	if err := c.sandbox.ledger.append(entry); err != nil {
		return err
	}
	if outcome != OutcomeDelivered && outcome != OutcomeUnanswered {
		return nil
	}
	if text, firstID, complete := c.parts.add(part, id, received); complete {
		c.sandbox.inbox.add(&Message{
			Channel: ChannelSMS, To: part.to, From: part.from, Text: text, Parts: max(1, part.total),
			ProviderID: firstID, Reference: part.messageReference, ReceivedAt: received,
		})
	}
	return nil
}

// Values of the lowest two bits of registered_delivery (SMPP 3.4 section 5.2.17).
const (
	receiptMask      = 0x03
	receiptAlways    = 0x01
	receiptOnFailure = 0x02
)

func (c *smsc) scheduleReceipt(session *smpp.Session, m *smpp.ShortMessage, id string, d decision, submitted time.Time) {
	state, code := smpp.StateDelivered, 0
	switch d.outcome {
	case OutcomeDelivered, OutcomeUnanswered:
	case OutcomeUndelivered:
		state, code = smpp.StateUndeliverable, 1
	default:
		return
	}
	wanted := m.RegisteredDelivery & receiptMask
	if wanted != receiptAlways && (wanted != receiptOnFailure || state == smpp.StateDelivered) {
		return
	}
	due := time.Now().Add(d.receiptDelay)
	c.schedule(session, due, smpp.NewReceipt(m, id, state, code, submitted, due))
	if d.receipts.doubled {
		c.schedule(session, due, smpp.NewReceipt(m, id, state, code, submitted, due))
	}
	c.playTricks(session, m, id, d.receipts, due)
}

// disorder is how long after the final receipt the one comes that says less, as if it had been held up.
const disorder = 50 * time.Millisecond

// playTricks sends the receipts that a provider should not send.
func (c *smsc) playTricks(session *smpp.Session, m *smpp.ShortMessage, id string, tricks receiptTricks, due time.Time) {
	if tricks.disordered {
		c.schedule(session, due.Add(disorder), smpp.NewReceipt(m, id, smpp.StateEnroute, 0, due, due))
	}
	if tricks.forged {
		c.schedule(session, due, smpp.NewReceipt(m, "F"+id, smpp.StateUndeliverable, 1, due, due))
	}
}

func (c *smsc) schedule(session *smpp.Session, due time.Time, message *smpp.ShortMessage) {
	c.courier(session.SystemID()).schedule(&receipt{due: due, message: message})
}
