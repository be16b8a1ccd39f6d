package main

import (
	"bytes"
	"errors"
	"fmt"
	"mime"
	"net/mail"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	gomail "github.com/wneessen/go-mail"

	"github.com/pigeonry/pigeonry/sdk"
)

// Headers by which a mail can be told from others, and an attempt from its repeats.
const (
	headerID      = "X-Pigeonry-Id"
	headerAttempt = "X-Pigeonry-Attempt"
)

// letter is a mail ready to be sent.
type letter struct {
	from, to   string // envelope
	envelopeID string // by which a notification names the attempt (RFC 3461 section 4.4)
	messageID  string // without angle brackets
	utf8       bool   // the envelope needs SMTPUTF8
	raw        []byte // header and body, lines ended by CRLF
}

// compose turns a message into a mail. All errors are permanent: a repeat would fail the same way.
func compose(id *identity, m *sdk.Message, now time.Time) (*letter, error) {
	to, err := parseMailbox(m.Recipient)
	if err != nil {
		return nil, unfit("invalid_recipient", "recipient "+err.Error())
	}
	msg := gomail.NewMsg(
		gomail.WithCharset(gomail.CharsetUTF8),
		gomail.WithEncoding(encodingFor(m.Subject+m.Text()+m.HTML)),
		gomail.WithNoDefaultUserAgent(),
	)
	msg.FromMailAddress(id.from)
	msg.ToMailAddress(&mail.Address{Address: to})
	messageID := messageID(m, id.idDomain)
	if err := setHeaders(msg, id, m, messageID, now); err != nil {
		return nil, err
	}
	if err := setBody(msg, m); err != nil {
		return nil, err
	}
	for i := range m.Attachments {
		if err := attach(msg, &m.Attachments[i]); err != nil {
			return nil, unfit("invalid_attachment", fmt.Sprintf("attachment %d %v", i, err))
		}
	}
	var raw bytes.Buffer
	if _, err := msg.WriteTo(&raw); err != nil {
		return nil, unfit("invalid_content", "cannot be written as a mail: "+err.Error())
	}
	signed, err := sign(raw.Bytes(), id.signers)
	if err != nil {
		return nil, sdk.Retryable(err, sdk.Code("sign_failed"), sdk.Blame(sdk.FaultConfig))
	}
	if id.maxMail > 0 && int64(len(signed)) > id.maxMail {
		return nil, unfit(codeTooLarge, fmt.Sprintf("the mail has %d bytes, max_mail_bytes allows %d", len(signed), id.maxMail))
	}
	from := orElse(id.returnPath.of(m.AttemptID), id.from.Address)
	return &letter{
		from: from, to: to, envelopeID: id.returnPath.mark(m.AttemptID), messageID: messageID, raw: signed,
		utf8: !isASCII(to) || !isASCII(from) || !isASCII(id.from.Address),
	}, nil
}

// unfit says that the message itself cannot be sent.
func unfit(code, reason string) error {
	return sdk.Permanent(errors.New(reason), sdk.Code(code), sdk.Blame(sdk.FaultMessage))
}

// messageID is the same for every attempt of a message, so that repeats can be recognized.
func messageID(m *sdk.Message, domain string) string {
	key := m.IdempotencyKey
	if key == "" {
		key = m.ID
	}
	return dotAtom(key) + "@" + domain
}

// dotAtom writes a key as the left side of a Message-ID (RFC 5322 section 3.6.4): other characters
// than letters, digits and a few signs are written in hexadecimal.
func dotAtom(key string) string {
	var out strings.Builder
	for i := range len(key) {
		c := key[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			out.WriteByte(c)
		case c == '.' && i > 0 && i < len(key)-1 && key[i-1] != '.':
			out.WriteByte(c)
		default:
			fmt.Fprintf(&out, "=%02x", c)
		}
	}
	return out.String()
}

func setHeaders(msg *gomail.Msg, id *identity, m *sdk.Message, messageID string, now time.Time) error {
	if err := headerText(m.Subject); err != nil {
		return unfit("invalid_subject", "subject "+err.Error())
	}
	msg.Subject(m.Subject)
	msg.SetDateWithValue(now)
	msg.SetMessageIDWithValue(messageID)
	msg.SetGenHeader(headerID, m.ID)
	msg.SetGenHeader(headerAttempt, strconv.Itoa(m.Attempt))
	if id.replyTo != nil {
		msg.ReplyToMailAddress(id.replyTo)
	}
	if err := setList(msg, id, m); err != nil {
		return err
	}
	return setAttributes(msg, m.Attributes)
}

// setBody writes text, HTML, or both as alternatives, the better one last (RFC 2046 section 5.1.4).
func setBody(msg *gomail.Msg, m *sdk.Message) error {
	text, html := m.Text(), m.HTML
	if !utf8.ValidString(text) || !utf8.ValidString(html) {
		return unfit("invalid_content", "text is not UTF-8")
	}
	text, html = networkLines(text), networkLines(html)
	switch {
	case html == "":
		msg.SetBodyString(gomail.TypeTextPlain, text)
	case text == "":
		msg.SetBodyString(gomail.TypeTextHTML, html)
	default:
		msg.SetBodyString(gomail.TypeTextPlain, text)
		msg.AddAlternativeString(gomail.TypeTextHTML, html)
	}
	return nil
}

// networkLines ends every line by CRLF, which base64 must not hide (RFC 2045 section 6.8).
func networkLines(s string) string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	return strings.ReplaceAll(s, "\n", "\r\n")
}

// encodingFor picks what reads well on the wire: quoted-printable for Western text, base64 where it
// would write most characters as nine.
func encodingFor(s string) gomail.Encoding {
	foreign := 0
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			foreign++
		}
	}
	if foreign*6 > len(s) {
		return gomail.EncodingB64
	}
	return gomail.EncodingQP
}

// maxAttachmentText bounds name, content type and content id of an attachment, in bytes.
const maxAttachmentText = 200

// attach adds a file, or an inline part when it has a content id.
func attach(msg *gomail.Msg, a *sdk.Attachment) error {
	if !printable(a.Name) || !printable(a.ContentID) {
		return errors.New("has a line break or another control character in its name")
	}
	if max(len(a.Name), len(a.ContentID), len(a.ContentType)) > maxAttachmentText {
		return fmt.Errorf("has a name, type or content id of more than %d bytes", maxAttachmentText)
	}
	contentType := orElse(a.ContentType, typeOf(a.Name, a.Data))
	mediaType, params, err := mime.ParseMediaType(contentType)
	if err != nil || !strings.Contains(mediaType, "/") {
		return fmt.Errorf("has no content type: %q", contentType)
	}
	options := []gomail.FileOption{gomail.WithFileContentType(gomail.ContentType(mime.FormatMediaType(mediaType, params)))}
	name := orElse(a.Name, nameOf(contentType))
	if a.ContentID == "" {
		return msg.AttachReader(name, bytes.NewReader(a.Data), options...)
	}
	if strings.ContainsAny(a.ContentID, "<> ") || !isASCII(a.ContentID) {
		return fmt.Errorf("has no content id: %q", a.ContentID)
	}
	options = append(options, gomail.WithFileContentID("<"+a.ContentID+">"))
	return msg.EmbedReader(name, bytes.NewReader(a.Data), options...)
}
