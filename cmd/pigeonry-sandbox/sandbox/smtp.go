package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// maxMailBytes bounds one mail.
const maxMailBytes = 32 << 20

// maxKeptBytes bounds the text and the HTML of one message in the inbox.
const maxKeptBytes = 256 << 10

// mailServer is the SMTP side. It takes any sender, any recipient and any login.
type mailServer struct {
	sandbox *Sandbox
	server  *smtp.Server
	conns   *connTracker
	// idPrefix makes ids differ from those of an earlier run.
	idPrefix string
	lastID   atomic.Int64
}

func newMailServer(s *Sandbox, listener net.Listener) *mailServer {
	m := &mailServer{sandbox: s, conns: newConnTracker(listener), idPrefix: runPrefix()}
	m.server = smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return &mailSession{server: m, conn: c}, nil
	}))
	m.server.Domain = "sandbox.pigeonry.invalid"
	m.server.MaxMessageBytes = maxMailBytes
	m.server.MaxRecipients = 100
	m.server.AllowInsecureAuth = true
	m.server.EnableSMTPUTF8 = true
	m.server.EnableDSN = true
	// A sender that goes away in the middle is no fault of the sandbox.
	m.server.ErrorLog = slog.NewLogLogger(s.log.Handler(), slog.LevelDebug)
	return m
}

// serve answers until stop.
func (s *mailServer) serve() error {
	return s.server.Serve(s.conns)
}

// stop lets mails in flight finish and ends idle connections.
func (s *mailServer) stop(ctx context.Context) error {
	// Closed here too: a server that has not begun to serve does not know its listener yet.
	_ = s.conns.Close()
	s.conns.interrupt()
	err := s.server.Shutdown(ctx)
	if ctx.Err() != nil {
		return errors.Join(fmt.Errorf("stop SMTP server: %w", err), s.conns.closeAll())
	}
	return nil
}

// mailSession is one connection. go-smtp calls it from one goroutine.
type mailSession struct {
	server     *mailServer
	conn       *smtp.Conn
	from       string
	envelopeID string
	to         []mailRecipient
}

// mailRecipient is one recipient of a mail.
type mailRecipient struct {
	address     string
	tellSuccess bool // NOTIFY=SUCCESS (RFC 3461)
}

var _ smtp.AuthSession = (*mailSession)(nil)

// AuthMechanisms implements smtp.AuthSession.
func (*mailSession) AuthMechanisms() []string { return []string{sasl.Plain, sasl.Login} }

// Auth implements smtp.AuthSession: every user and password is right.
func (*mailSession) Auth(mechanism string) (sasl.Server, error) {
	switch mechanism {
	case sasl.Plain:
		return sasl.NewPlainServer(func(_, _, _ string) error { return nil }), nil
	case sasl.Login:
		return &loginServer{}, nil
	default:
		return nil, smtp.ErrAuthUnknownMechanism
	}
}

// loginServer is the server side of LOGIN, which go-sasl leaves out: it asks for both, checks none.
type loginServer struct{ step int }

// Next implements sasl.Server.
func (l *loginServer) Next(response []byte) (challenge []byte, done bool, err error) {
	if l.step == 0 && response != nil {
		l.step++ // the user name came with the command
	}
	l.step++
	switch l.step {
	case 1:
		return []byte("Username:"), false, nil
	case 2:
		return []byte("Password:"), false, nil
	default:
		return nil, true, nil
	}
}

// Mail implements smtp.Session.
func (s *mailSession) Mail(from string, o *smtp.MailOptions) error {
	s.from, s.envelopeID = from, o.EnvelopeID
	return nil
}

// Rcpt implements smtp.Session.
func (s *mailSession) Rcpt(to string, o *smtp.RcptOptions) error {
	s.to = append(s.to, mailRecipient{to, slices.Contains(o.Notify, smtp.DSNNotifySuccess)})
	return nil
}

// Reset implements smtp.Session.
func (s *mailSession) Reset() { s.from, s.envelopeID, s.to = "", "", nil }

// Logout implements smtp.Session.
func (*mailSession) Logout() error { return nil }

// Data implements smtp.Session. All recipients of one mail share its fate, as SMTP has one answer.
func (s *mailSession) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if errors.Is(err, smtp.ErrDataTooLarge) {
		return smtp.ErrDataTooLarge
	}
	if err != nil { // the sender went away, or the sandbox stops: never a permanent answer
		return &smtp.SMTPError{Code: 421, EnhancedCode: smtp.EnhancedCode{4, 4, 2}, Message: "Mail was cut short"}
	}
	received := time.Now()
	mail, err := readLetter(raw)
	if err != nil {
		return &smtp.SMTPError{Code: 554, EnhancedCode: smtp.EnhancedCode{5, 6, 0}, Message: err.Error()}
	}
	decision := s.server.sandbox.decide(ChannelEmail)
	var providerID string
	if decision.outcome.Taken() {
		providerID = "M" + s.server.idPrefix + strconv.FormatInt(s.server.lastID.Add(1), 36)
	}
	answer := mailAnswer(decision.outcome, providerID)
	for _, to := range s.to {
		entry := s.entry(mail, answer)
		entry.To, entry.ProviderID, entry.Outcome, entry.ReceivedAt = to.address, providerID, decision.outcome, received
		if err := s.record(mail, entry); err != nil {
			s.server.sandbox.log.Error("cannot witness a mail", "error", err)
			return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "ledger is not writable"}
		}
		if decision.outcome.Taken() {
			s.server.sandbox.bounces.follow(context.Background(), &sentMail{
				from: s.from, to: to.address, envelopeID: s.envelopeID, tellSuccess: to.tellSuccess, providerID: providerID,
			}, raw, decision)
		}
	}
	if decision.outcome == OutcomeUnanswered {
		// The raw connection is closed: go-smtp's own Close would end the session under its feet.
		return errors.Join(errUnanswered, s.conn.Conn().Close())
	}
	return &answer
}

// errUnanswered never reaches a sender: the connection it would be written to is closed.
var errUnanswered = errors.New("left without an answer")

// mailAnswer is what a sender is told; an accepting answer ends with the provider id.
func mailAnswer(o Outcome, providerID string) smtp.SMTPError {
	switch o {
	case OutcomeFailed:
		return smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "Sandbox fault: try again later"}
	case OutcomeRefused:
		return smtp.SMTPError{Code: 550, EnhancedCode: smtp.EnhancedCode{5, 1, 1}, Message: "Sandbox fault: no such user"}
	case OutcomeThrottled:
		return smtp.SMTPError{Code: 450, EnhancedCode: smtp.EnhancedCode{4, 7, 1}, Message: "Sandbox fault: too fast, slow down"}
	case OutcomeUnanswered:
		return smtp.SMTPError{}
	default:
		return smtp.SMTPError{Code: 250, EnhancedCode: smtp.EnhancedCode{2, 0, 0}, Message: "Ok: queued as " + providerID}
	}
}

// entry is what the ledger says about a mail, apart from what differs between its recipients.
func (s *mailSession) entry(l *letter, answer smtp.SMTPError) Entry {
	e := Entry{
		Channel: ChannelEmail, From: l.from, Reference: l.reference, Idempotency: l.messageID, Attempt: l.attemptNumber(),
		SHA256: textHash(l.text),
	}
	if e.From == "" {
		e.From = s.from
	}
	if !l.sawText && l.sawHTML {
		e.SHA256 = textHash(l.html)
	}
	if answer.Code != 0 {
		enhanced := answer.EnhancedCode
		e.Answer = fmt.Sprintf("%d %d.%d.%d", answer.Code, enhanced[0], enhanced[1], enhanced[2])
	}
	return e
}

// record writes a mail to one recipient into the ledger, then into the inbox.
func (s *mailSession) record(l *letter, e Entry) error {
	err := s.server.sandbox.ledger.append(e)
	if err != nil || (e.Outcome != OutcomeDelivered && e.Outcome != OutcomeUnanswered) {
		return err
	}
	s.server.sandbox.inbox.add(&Message{
		Channel: ChannelEmail, To: e.To, From: e.From, Subject: l.subject,
		Text: clip(l.text), HTML: clip(l.html), ProviderID: e.ProviderID,
		Reference: l.reference, MessageID: l.messageID, Attachments: l.attachments, ReceivedAt: e.ReceivedAt,
	})
	return nil
}

func textHash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// clip bounds what the inbox keeps of a text.
func clip(s string) string {
	if len(s) <= maxKeptBytes {
		return s
	}
	return s[:maxKeptBytes] + "…"
}
