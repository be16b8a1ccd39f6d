package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

// maxRemembered bounds the mails that an event can be played for.
const maxRemembered = 1000

// reporter is the name of the mail server that reports.
const reporter = "mx.sandbox.pigeonry.invalid"

// bounces plays the mail servers further on: what they have to say about a mail (RFC 3464), and the provider of a mailbox
// whose user complains (RFC 5965). It comes as a raw mail, posted to a URL as the program behind an address for bounces
// would do it. Without a URL nothing is said.
type bounces struct {
	counter *counter

	mu       sync.Mutex
	settings bounceSettings
	recent   map[string]*sentMail // the newest to each recipient
	order    []string             // recipients in recent, the oldest first
}

// bounceSettings are set at /api/providers/email.
type bounceSettings struct {
	// BounceURL takes the reports, as POSTs of type message/rfc822.
	BounceURL string `json:"bounce_url"`
	// BounceToken goes along as Authorization: Bearer.
	BounceToken string `json:"bounce_token"`
}

var _ desk.Provider = (*bounces)(nil)

func newBounces(c *counter) *bounces { return &bounces{counter: c, recent: map[string]*sentMail{}} }

// Name implements desk.Provider.
func (*bounces) Name() string { return ChannelEmail }

// Channel implements desk.Provider.
func (*bounces) Channel() string { return ChannelEmail }

// Register implements desk.Provider: mails come by SMTP.
func (*bounces) Register(*http.ServeMux) {}

// Settings implements desk.Provider.
func (b *bounces) Settings() any {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.settings
}

// Set implements desk.Provider.
func (b *bounces) Set(raw json.RawMessage) error {
	var s bounceSettings
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&s); err != nil {
		return fmt.Errorf("want bounce_url and bounce_token: %w", err)
	}
	if u, err := url.Parse(s.BounceURL); s.BounceURL != "" && (err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https") {
		return fmt.Errorf("bounce_url: want http://… or https://…, got %q", s.BounceURL)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settings = s
	return nil
}

// Play implements desk.Provider: {"event": "complaint", "to": "ann@example.com"}, or "bounce", about the newest mail to
// that recipient since there is a bounce_url.
func (b *bounces) Play(_ context.Context, event json.RawMessage) error {
	var e struct{ Event, To string }
	if err := json.Unmarshal(event, &e); err != nil {
		return fmt.Errorf(`want {"event": …, "to": …}: %w`, err)
	}
	b.mu.Lock()
	m := b.recent[e.To]
	b.mu.Unlock()
	switch {
	case m == nil:
		return fmt.Errorf("to: there is no mail to %q since bounce_url was set", e.To)
	case e.Event == "complaint":
		b.counter.Send(b.callback(m.complaint(time.Now())))
	case e.Event == "bounce":
		b.counter.Send(b.receipt(m)(desk.Receipt{Status: desk.Undelivered, ProviderID: m.providerID, At: time.Now()}))
	default:
		return fmt.Errorf("event: want complaint or bounce, got %q", e.Event)
	}
	return nil
}

// follow says what becomes of a mail that was taken.
func (b *bounces) follow(ctx context.Context, m *sentMail, raw []byte, d decision) {
	if m.from == "" || !b.remember(m, raw) { // nobody is told about a mail without a return path
		return
	}
	b.counter.receipts(ctx, m.providerID, d, b.receipt(m))
}

// remember reports whether there is anybody to tell.
func (b *bounces) remember(m *sentMail, raw []byte) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.settings.BounceURL == "" {
		return false
	}
	m.header = headerOf(raw)
	if b.recent[m.to] == nil {
		b.order = append(b.order, m.to)
	}
	b.recent[m.to] = m
	if len(b.order) > maxRemembered {
		delete(b.recent, b.order[0])
		b.order = b.order[1:]
	}
	return true
}

// receipt makes the notification of a receipt; none that a mail arrived, unless its sender asked for that.
func (b *bounces) receipt(m *sentMail) func(desk.Receipt) desk.Callback {
	return func(r desk.Receipt) desk.Callback {
		if r.Status == desk.Delivered && !m.tellSuccess {
			return desk.Callback{}
		}
		return b.callback(m.notification(r))
	}
}

// callback posts a mail.
func (b *bounces) callback(raw []byte) desk.Callback {
	b.mu.Lock()
	to := b.settings
	b.mu.Unlock()
	if to.BounceURL == "" {
		return desk.Callback{}
	}
	return desk.Callback{Request: func(ctx context.Context) (*http.Request, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, to.BounceURL, bytes.NewReader(raw))
		if err != nil {
			return nil, err
		}
		r.Header.Set("Content-Type", "message/rfc822")
		if to.BounceToken != "" {
			r.Header.Set("Authorization", "Bearer "+to.BounceToken)
		}
		return r, nil
	}}
}

// sentMail is a mail as a server further on remembers it.
type sentMail struct {
	from, to    string // of the envelope
	envelopeID  string // ENVID (RFC 3461)
	tellSuccess bool   // NOTIFY=SUCCESS
	providerID  string
	header      []byte // as it came, without the empty line
}

// headerOf is a copy of the header of a raw mail: the mail itself is let go.
func headerOf(raw []byte) []byte {
	header, _, _ := bytes.Cut(raw, []byte("\r\n\r\n"))
	return bytes.Clone(header)
}

const reportBoundary = "=_sandbox_report"

// notification is a delivery status notification. One that is forged, for an id that was never given, is about a
// Message-ID that was never sent.
func (m *sentMail) notification(r desk.Receipt) []byte {
	action, status, diagnostic := "failed", "5.1.1", "550 5.1.1 Sandbox fault: no such user"
	switch r.Status {
	case desk.Delivered:
		action, status, diagnostic = "delivered", "2.0.0", "250 2.0.0 Ok"
	case desk.Progress:
		action, status, diagnostic = "delayed", "4.4.1", "451 4.4.1 Sandbox fault: no answer yet"
	case desk.Undelivered:
	}
	to, envelopeID, header := m.from, m.envelopeID, "Return-Path: <"+m.from+">\r\n"+string(m.header)
	if r.ProviderID != m.providerID {
		to, envelopeID, header = "postmaster@"+m.from[strings.LastIndexByte(m.from, '@')+1:], "", "Message-ID: <"+m.forgedID(r.ProviderID)+">"
	}
	var out reportWriter
	out.line("From: Mail Delivery System <MAILER-DAEMON@%s>", reporter)
	out.line("To: <%s>", to)
	out.line("Subject: Delivery Status Notification (%s)", action)
	out.line("Auto-Submitted: auto-replied")
	out.begin("delivery-status", r.At, "This is the mail system of the sandbox. <"+m.to+">: "+diagnostic)
	out.part("message/delivery-status")
	out.line("Reporting-MTA: dns; %s", reporter)
	if envelopeID != "" {
		out.line("Original-Envelope-Id: %s", envelopeID)
	}
	out.line("Arrival-Date: %s", r.At.Format(time.RFC1123Z))
	out.line("")
	out.line("Original-Recipient: rfc822;%s", m.to)
	out.line("Final-Recipient: rfc822;%s", m.to)
	out.line("Action: %s", action)
	out.line("Status: %s", status)
	out.line("Remote-MTA: dns; %s", reporter)
	out.line("Diagnostic-Code: smtp; %s", diagnostic)
	out.line("Last-Attempt-Date: %s", r.At.Format(time.RFC1123Z))
	out.part("text/rfc822-headers")
	out.line("%s", header)
	return out.end()
}

// forgedID is a Message-ID of the same domain that no mail has.
func (m *sentMail) forgedID(id string) string {
	domain := reporter
	if parsed, err := mail.ReadMessage(bytes.NewReader(slices.Concat(m.header, []byte("\r\n\r\n")))); err == nil {
		if _, of, ok := strings.Cut(strings.Trim(parsed.Header.Get("Message-Id"), "<> "), "@"); ok {
			domain = of
		}
	}
	return id + "@" + domain
}

// complaint is a feedback report of the provider of the mailbox.
func (m *sentMail) complaint(at time.Time) []byte {
	var out reportWriter
	out.line("From: <feedback@%s>", reporter)
	out.line("To: <%s>", m.from)
	out.line("Subject: FW: complaint")
	out.begin("feedback-report", at, "This is a complaint about a mail that a user got.")
	out.part("message/feedback-report")
	out.line("Feedback-Type: abuse")
	out.line("User-Agent: pigeonry-sandbox/1")
	out.line("Version: 1")
	out.line("Original-Mail-From: <%s>", m.from)
	out.line("Original-Rcpt-To: <%s>", m.to)
	out.line("Arrival-Date: %s", at.Format(time.RFC1123Z))
	out.part("message/rfc822")
	out.line("%s", m.header)
	out.line("")
	out.line("[the body is left out]")
	return out.end()
}

// reportWriter writes a multipart/report (RFC 6522).
type reportWriter struct{ bytes.Buffer }

func (w *reportWriter) line(format string, args ...any) { fmt.Fprintf(w, format+"\r\n", args...) }

// begin ends the header and writes the part for people.
func (w *reportWriter) begin(kind string, at time.Time, text string) {
	w.line("Date: %s", at.Format(time.RFC1123Z))
	w.line("MIME-Version: 1.0")
	w.line("Content-Type: multipart/report; report-type=%s;\r\n boundary=%q", kind, reportBoundary)
	w.line("")
	w.part("text/plain; charset=utf-8")
	w.line("%s", text)
}

func (w *reportWriter) part(contentType string) {
	w.line("--%s", reportBoundary)
	w.line("Content-Type: %s", contentType)
	w.line("")
}

func (w *reportWriter) end() []byte {
	w.line("--%s--", reportBoundary)
	return w.Bytes()
}
