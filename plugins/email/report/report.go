// Package report reads what mail servers write about mails: delivery status notifications (RFC 3464, and their
// international form, RFC 6533) and feedback reports, by which a provider passes a complaint on (RFC 5965).
//
// What it reads comes from anybody who can send a mail. It believes nothing: who uses a report has to tell by the
// ids in it whether the mail was ours.
package report

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"regexp"
	"strings"
	"time"
)

// Bounds of what is looked at.
const (
	maxDepth   = 5       // parts in parts
	maxParts   = 50      // parts in all
	maxPart    = 1 << 20 // bytes of a part, decoded
	maxEntries = 100     // recipients of one report
)

// ErrNone says that a mail is no report, or that nothing in it can be read as one.
var ErrNone = errors.New("the mail is neither a delivery status notification nor a feedback report")

// Report is what a mail server says about one mail.
type Report struct {
	// Recipients are what a delivery status notification says of each recipient.
	Recipients []Recipient
	// Feedback is what a feedback report says; nil: the mail is none.
	Feedback *Feedback
	// EnvelopeID is the ENVID that the mail was given with (RFC 3461), if it was.
	EnvelopeID string
	// SentTo are the addresses that the report itself went to, the envelope's first.
	SentTo []string
	// At is when the report was written; zero if it does not tell.
	At time.Time
	// Original is the header of the mail that the report is about, as far as it came back.
	Original Header
}

// Recipient is one recipient in a delivery status notification (RFC 3464 section 2.3).
type Recipient struct {
	// Final is the address that the server tried; Original is the one that the mail was sent to, if it tells.
	Final, Original string
	// Action is what happened, in lower case: failed, delayed, delivered, relayed or expanded.
	Action string
	// Status is the enhanced status code (RFC 3463), e.g. "5.1.1"; "" if there is none.
	Status string
	// Diagnostic is what the server that refused the mail said, and DiagnosticType in which terms, e.g. "smtp".
	Diagnostic, DiagnosticType string
	// RemoteMTA is the server that said it.
	RemoteMTA string
	// At is the time of the last attempt; zero if the report does not tell.
	At time.Time
}

// Feedback is a complaint (RFC 5965 section 3).
type Feedback struct {
	// Type in lower case: abuse, fraud, virus, not-spam, opt-out or other.
	Type string
	// Recipients are the addresses of the mail, MailFrom its envelope's sender; providers often leave them out.
	Recipients []string
	MailFrom   string
	// UserAgent is the software that made the report, SourceIP the server that the mail came from.
	UserAgent, SourceIP string
	// At is when the mail arrived; zero if the report does not tell.
	At time.Time
}

// Parse reads a mail. The error is ErrNone, or says why the mail cannot be read.
func Parse(raw []byte) (*Report, error) {
	header, body := readHeader(raw)
	if len(header) == 0 {
		return nil, errors.New("the mail has no header")
	}
	r := &reader{report: &Report{SentTo: sentTo(header), At: readTime(header.Get("Date"))}}
	mediaType, params := mediaTypeOf(header)
	if !strings.HasPrefix(mediaType, "multipart/") {
		return nil, ErrNone
	}
	r.multipart(bytes.NewReader(body), params["boundary"], 0)
	if len(r.report.Recipients) == 0 && r.report.Feedback == nil {
		return nil, ErrNone
	}
	return r.report, nil
}

// reader collects a report from the parts of a mail.
type reader struct {
	report *Report
	parts  int
}

// multipart reads parts until one is broken: a mail that was cut off may still tell enough.
func (r *reader) multipart(body io.Reader, boundary string, depth int) {
	if boundary == "" || depth >= maxDepth {
		return
	}
	parts := multipart.NewReader(body, boundary)
	for r.parts < maxParts {
		r.parts++
		part, err := parts.NextRawPart()
		if err != nil {
			return
		}
		r.part(part, depth)
	}
}

// part reads one part. What lies in a mail that came back is not looked at, or a bounce that somebody forwards would
// count as one.
func (r *reader) part(part *multipart.Part, depth int) {
	mediaType, params := mediaTypeOf(Header(part.Header))
	if strings.HasPrefix(mediaType, "multipart/") {
		r.multipart(part, params["boundary"], depth+1)
		return
	}
	switch mediaType {
	case "message/delivery-status", "message/global-delivery-status":
		r.deliveryStatus(content(part))
	case "message/feedback-report":
		r.feedback(content(part))
	case "message/rfc822", "message/global", "text/rfc822-headers", "message/rfc822-headers", "message/global-headers":
		if len(r.report.Original) == 0 {
			r.report.Original, _ = readHeader(content(part))
		}
	}
}

// content is a part as it was before its transfer encoding, as far as it can be read.
func content(part *multipart.Part) []byte {
	var decoded io.Reader = part
	switch strings.ToLower(strings.TrimSpace(part.Header.Get("Content-Transfer-Encoding"))) {
	case "base64":
		decoded = base64.NewDecoder(base64.StdEncoding, part)
	case "quoted-printable":
		decoded = quotedprintable.NewReader(part)
	}
	out, _ := io.ReadAll(io.LimitReader(decoded, maxPart)) // what was read before an error counts
	return out
}

// deliveryStatus reads the groups of fields of RFC 3464 section 2.1: the first is about the mail, each other about a
// recipient.
func (r *reader) deliveryStatus(content []byte) {
	for len(content) > 0 && len(r.report.Recipients) < maxEntries {
		var group Header
		group, content = readHeader(content)
		if id := group.Get("Original-Envelope-Id"); id != "" && r.report.EnvelopeID == "" {
			r.report.EnvelopeID = id
		}
		if action := firstWord(group.Get("Action")); action != "" {
			r.report.Recipients = append(r.report.Recipients, recipient(group, action))
		}
	}
}

func recipient(group Header, action string) Recipient {
	out := Recipient{Action: action, Status: statusCode.FindString(group.Get("Status")), At: readTime(group.Get("Last-Attempt-Date"))}
	_, out.Final = typed(group.Get("Final-Recipient"))
	_, out.Original = typed(group.Get("Original-Recipient"))
	out.DiagnosticType, out.Diagnostic = typed(group.Get("Diagnostic-Code"))
	_, out.RemoteMTA = typed(group.Get("Remote-MTA"))
	return out
}

// statusCode finds the code in a field that may hold a comment, too.
var statusCode = regexp.MustCompile(`\b[245]\.\d{1,3}\.\d{1,3}\b`)

// feedback reads the fields of RFC 5965 section 3.
func (r *reader) feedback(content []byte) {
	fields, _ := readHeader(content)
	kind := firstWord(fields.Get("Feedback-Type"))
	if kind == "" {
		return
	}
	f := &Feedback{
		Type: kind, MailFrom: bare(fields.Get("Original-Mail-From")), UserAgent: fields.Get("User-Agent"),
		SourceIP: fields.Get("Source-Ip"), At: readTime(fields.Get("Arrival-Date")),
	}
	if f.At.IsZero() {
		f.At = readTime(fields.Get("Received-Date"))
	}
	for i, to := range fields["Original-Rcpt-To"] {
		if i == maxEntries {
			break
		}
		f.Recipients = append(f.Recipients, bare(to))
	}
	if id := fields.Get("Original-Envelope-Id"); id != "" {
		r.report.EnvelopeID = id
	}
	r.report.Feedback = f
}

// typed reads "rfc822; ann@example.com": a type and a value.
func typed(s string) (kind, value string) {
	kind, value, ok := strings.Cut(s, ";")
	if !ok {
		return "", bare(s)
	}
	return strings.ToLower(strings.TrimSpace(kind)), bare(value)
}

// bare takes space and angle brackets away.
func bare(s string) string {
	s = strings.TrimSpace(s)
	if inner, ok := strings.CutPrefix(s, "<"); ok && strings.HasSuffix(inner, ">") {
		return strings.TrimSuffix(inner, ">")
	}
	return s
}

// firstWord is the word a field begins with, in lower case; a comment may follow it.
func firstWord(s string) string {
	word, _, _ := strings.Cut(strings.TrimSpace(s), " ")
	return strings.ToLower(strings.TrimRight(word, ";,"))
}

// sentTo lists the addresses that a mail went to. What a server adds at delivery says it better than To.
func sentTo(header Header) []string {
	var out []string
	for _, name := range []string{"Delivered-To", "X-Original-To", "Envelope-To", "X-Envelope-To", "X-Rcpt-To", "To"} {
		for _, value := range header[name] {
			addresses, err := mail.ParseAddressList(value)
			if err != nil {
				out = append(out, bare(value))
			}
			for _, a := range addresses {
				out = append(out, a.Address)
			}
			if len(out) >= maxEntries {
				return out[:maxEntries]
			}
		}
	}
	return out
}

func readTime(s string) time.Time {
	if s == "" {
		return time.Time{}
	}
	t, err := mail.ParseDate(s)
	if err != nil || t.Year() < 1970 || t.Year() > 9999 {
		return time.Time{}
	}
	return t
}

// mediaTypeOf is the content type of a mail or a part; text/plain where there is none.
func mediaTypeOf(header Header) (mediaType string, params map[string]string) {
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil && mediaType == "" {
		return "text/plain", nil
	}
	return mediaType, params
}
