package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

func sender(tb testing.TB) *identity {
	tb.Helper()
	c := valid()
	c.From, c.ReplyTo = "Bücher <shop@bücher.example>", "Help <help@example.com>"
	id, err := newIdentity(c)
	if err != nil {
		tb.Fatal(err)
	}
	return &id
}

func message(text string) *sdk.Message {
	return &sdk.Message{
		ID: "12345", AttemptID: "12345.2", IdempotencyKey: "msg_0Abc", Attempt: 2, Recipient: "ann@example.com",
		Content: sdk.Content{Plain: text, Subject: "Your order 订单"},
	}
}

// read parses what compose wrote with the standard library.
func read(tb testing.TB, raw []byte) (*mail.Message, []byte) {
	tb.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		tb.Fatalf("%v in\n%s", err, raw)
	}
	body, err := io.ReadAll(m.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return m, body
}

func decoded(tb testing.TB, s string) string {
	tb.Helper()
	out, err := new(mime.WordDecoder).DecodeHeader(s)
	if err != nil {
		tb.Fatal(err)
	}
	return out
}

func TestComposeHeaders(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("", 8*3600))
	m := message("hi")
	m.Attributes = map[string]string{
		"header.X-Campaign": "spring 春", "header.List-Unsubscribe": "<https://example.com/u>", "sender_id": "for another channel",
	}
	l, err := compose(sender(t), m, now)
	if err != nil {
		t.Fatal(err)
	}
	parsed, _ := read(t, l.raw)
	want := map[string]string{
		"From":               "Bücher <shop@xn--bcher-kva.example>",
		"To":                 "<ann@example.com>",
		"Reply-To":           `"Help" <help@example.com>`,
		"Subject":            "Your order 订单",
		"Date":               "Sun, 01 Mar 2026 12:00:00 +0800",
		"Message-Id":         "<msg_0Abc@xn--bcher-kva.example>",
		"X-Pigeonry-Id":      "12345",
		"X-Pigeonry-Attempt": "2",
		"X-Campaign":         "spring 春",
		"List-Unsubscribe":   "<https://example.com/u>",
		"Mime-Version":       "1.0",
	}
	for name, value := range want {
		if got := decoded(t, parsed.Header.Get(name)); got != value {
			t.Errorf("%s is %q, want %q", name, got, value)
		}
	}
	if l.from != "shop@xn--bcher-kva.example" || l.to != "ann@example.com" || l.utf8 {
		t.Errorf("envelope is %s to %s, utf8 %v", l.from, l.to, l.utf8)
	}
	checkLines(t, l.raw)
}

// checkLines holds a mail to RFC 5322 section 2.1.1.
func checkLines(tb testing.TB, raw []byte) {
	tb.Helper()
	for line := range bytes.SplitSeq(raw, []byte("\r\n")) {
		if len(line) > 998 || bytes.ContainsAny(line, "\r\n") {
			tb.Errorf("line breaks RFC 5322: %q", line)
		}
	}
}

func TestMessageIDIsTheSameForEveryAttempt(t *testing.T) {
	first, second := message("hi"), message("hi")
	second.Attempt, second.AttemptID = 3, "12345.3"
	a, err := compose(sender(t), first, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	b, err := compose(sender(t), second, time.Unix(2, 0))
	if err != nil || a.messageID != b.messageID {
		t.Errorf("ids are %s and %s, %v", a.messageID, b.messageID, err)
	}
	first.IdempotencyKey = "<odd> key@."
	if a, err = compose(sender(t), first, time.Unix(1, 0)); err != nil || a.messageID != "=3codd=3e=20key=40=2e@xn--bcher-kva.example" {
		t.Errorf("odd key gives %s, %v", a.messageID, err)
	}
}

// leaf is one part of a mail that is no multipart.
type leaf struct{ mediaType, disposition, name, contentID, content string }

// leaves walks through the parts.
func leaves(tb testing.TB, header textproto.MIMEHeader, body io.Reader) (out []leaf, tree string) {
	tb.Helper()
	mediaType, params, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		tb.Fatal(err)
	}
	if !strings.HasPrefix(mediaType, "multipart/") {
		content, err := io.ReadAll(transferred(header.Get("Content-Transfer-Encoding"), body))
		if err != nil {
			tb.Fatal(err)
		}
		disposition, p, _ := mime.ParseMediaType(header.Get("Content-Disposition"))
		return []leaf{{mediaType, disposition, decoded(tb, p["filename"]), header.Get("Content-Id"), string(content)}}, mediaType
	}
	parts := multipart.NewReader(body, params["boundary"])
	var names []string
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return out, strings.TrimPrefix(mediaType, "multipart/") + "(" + strings.Join(names, " ") + ")"
		}
		if err != nil {
			tb.Fatal(err)
		}
		below, name := leaves(tb, part.Header, part)
		out, names = append(out, below...), append(names, name)
	}
}

// transferred undoes a Content-Transfer-Encoding.
func transferred(encoding string, body io.Reader) io.Reader {
	switch encoding {
	case "base64":
		return base64.NewDecoder(base64.StdEncoding, body)
	case "quoted-printable":
		return quotedprintable.NewReader(body)
	default:
		return body
	}
}

func TestComposeBodies(t *testing.T) {
	const chinese = "您的订单已发货。\n第二行 🕊"
	tests := []struct {
		name string
		edit func(*sdk.Message)
		tree string
		want []leaf
	}{
		{"text", func(*sdk.Message) {}, "text/plain", []leaf{{"text/plain", "", "", "", "Hello,\r\nit is on its way. = ."}}},
		{
			"Chinese text", func(m *sdk.Message) { m.Plain = chinese }, "text/plain",
			[]leaf{{"text/plain", "", "", "", strings.ReplaceAll(chinese, "\n", "\r\n")}},
		},
		{
			"HTML alone", func(m *sdk.Message) { m.Plain, m.HTML = "", "<b>Hi</b>" }, "text/html",
			[]leaf{{"text/html", "", "", "", "<b>Hi</b>"}},
		},
		{
			"both", func(m *sdk.Message) { m.HTML = "<b>Hi</b>" }, "alternative(text/plain text/html)",
			[]leaf{{"text/plain", "", "", "", "Hello,\r\nit is on its way. = ."}, {"text/html", "", "", "", "<b>Hi</b>"}},
		},
		{"nothing", func(m *sdk.Message) { m.Plain = "" }, "text/plain", []leaf{{"text/plain", "", "", "", ""}}},
		{
			"attachment and inline part",
			func(m *sdk.Message) {
				m.Plain, m.HTML = "x", `<img src="cid:logo@shop">`
				m.Attachments = []sdk.Attachment{
					{Name: "发票.pdf", ContentType: "application/pdf", Data: []byte("%PDF")},
					{Name: "logo.png", ContentType: "image/png", ContentID: "logo@shop", Data: []byte{0x89, 0}},
				}
			},
			"mixed(related(alternative(text/plain text/html) image/png) application/pdf)",
			[]leaf{
				{"text/plain", "", "", "", "x"},
				{"text/html", "", "", "", `<img src="cid:logo@shop">`},
				{"image/png", "inline", "logo.png", "<logo@shop>", "\x89\x00"},
				{"application/pdf", "attachment", "发票.pdf", "", "%PDF"},
			},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := message("Hello,\nit is on its way. = .")
			test.edit(m)
			l, err := compose(sender(t), m, time.Unix(1, 0))
			if err != nil {
				t.Fatal(err)
			}
			parsed, body := read(t, l.raw)
			got, tree := leaves(t, textproto.MIMEHeader(parsed.Header), bytes.NewReader(body))
			if tree != test.tree {
				t.Errorf("parts are %s, want %s", tree, test.tree)
			}
			for i := range min(len(got), len(test.want)) {
				// A body may end by one line break of its own.
				got[i].content = strings.TrimSuffix(got[i].content, "\r\n")
				if got[i] != test.want[i] {
					t.Errorf("part %d is %+v, want %+v", i, got[i], test.want[i])
				}
			}
			if len(got) != len(test.want) {
				t.Errorf("%d parts, want %d", len(got), len(test.want))
			}
		})
	}
}

func TestComposeRefusesWhatNoRepeatCanMend(t *testing.T) {
	tests := []struct {
		name string
		edit func(*sdk.Message)
		code string
	}{
		{"recipient", func(m *sdk.Message) { m.Recipient = "nobody" }, "invalid_recipient"},
		{"recipient with line break", func(m *sdk.Message) { m.Recipient = "a@b.cd\r\nX: y" }, "invalid_recipient"},
		{"subject with line break", func(m *sdk.Message) { m.Subject = "Hi\r\nBcc: eve@example.com" }, "invalid_subject"},
		{"subject with bare LF", func(m *sdk.Message) { m.Subject = "Hi\nBcc: eve@example.com" }, "invalid_subject"},
		{"subject that cannot be folded", func(m *sdk.Message) { m.Subject = strings.Repeat("a", 1000) }, "invalid_subject"},
		{"attachment name without end", func(m *sdk.Message) { m.Attachments = []sdk.Attachment{{Name: strings.Repeat("a", 1000)}} }, "invalid_attachment"},
		{"subject with NUL", func(m *sdk.Message) { m.Subject = "Hi\x00" }, "invalid_subject"},
		{"header with line break", func(m *sdk.Message) { m.Attributes = map[string]string{"header.X-A": "a\r\nBcc: e@e.ee"} }, "invalid_header"},
		{"header name with line break", func(m *sdk.Message) { m.Attributes = map[string]string{"header.X-A: b\r\nBcc": "e@e.ee"} }, "invalid_header"},
		{"header of the connector", func(m *sdk.Message) { m.Attributes = map[string]string{"header.from": "e@e.ee"} }, "invalid_header"},
		{"header Bcc", func(m *sdk.Message) { m.Attributes = map[string]string{"header.Bcc": "e@e.ee"} }, "invalid_header"},
		{"header of the gateway", func(m *sdk.Message) { m.Attributes = map[string]string{"header.x-pigeonry-id": "1"} }, "invalid_header"},
		{"header without name", func(m *sdk.Message) { m.Attributes = map[string]string{"header.": "1"} }, "invalid_header"},
		{"reply_to", func(m *sdk.Message) { m.Attributes = map[string]string{"reply_to": "nobody"} }, "invalid_header"},
		{"text that is no UTF-8", func(m *sdk.Message) { m.Plain = "\xff" }, "invalid_content"},
		{"attachment name with line break", func(m *sdk.Message) { m.Attachments = []sdk.Attachment{{Name: "a\r\nX: y"}} }, "invalid_attachment"},
		{"attachment type", func(m *sdk.Message) { m.Attachments = []sdk.Attachment{{Name: "a", ContentType: "pdf"}} }, "invalid_attachment"},
		{"attachment type with line break", func(m *sdk.Message) { m.Attachments = []sdk.Attachment{{Name: "a", ContentType: "a/b\r\nX: y"}} }, "invalid_attachment"},
		{"content id", func(m *sdk.Message) { m.Attachments = []sdk.Attachment{{Name: "a", ContentID: "a>b"}} }, "invalid_attachment"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := message("hi")
			test.edit(m)
			_, err := compose(sender(t), m, time.Unix(1, 0))
			got, ok := errors.AsType[*sdk.DeliveryError](err)
			if !ok || got.Outcome != sdk.OutcomeRejected || got.Code != test.code || got.Fault != sdk.FaultMessage {
				t.Errorf("got %+v, want rejected as %s", err, test.code)
			}
		})
	}
}

// FuzzCompose looks for a way to smuggle a header in: whatever a message holds, the mail has the
// headers it should have and no others.
func FuzzCompose(f *testing.F) {
	f.Add("ann@example.com", "Hi", "text", "X-A", "value", "a.txt", "text/plain", "id@x")
	f.Add("ann@example.com\r\nX: y", "Hi\r\nBcc: e@e.ee", "\r\n.\r\n", "X-A\r\nBcc", "v\r\nBcc: e", "a\r\n\r\n", "a/b; c=\"\r\nd\"", "")
	f.Add("用户@例子.测试", "=?utf-8?q?=0d=0aBcc:?=", "--=", "List-Id", "\u0085", "\"", "a/b;name=x", "<>")
	known := map[string]bool{
		"From": true, "To": true, "Reply-To": true, "Subject": true, "Date": true, "Message-Id": true, "Mime-Version": true,
		"X-Pigeonry-Id": true, "X-Pigeonry-Attempt": true, "Content-Type": true, "Content-Transfer-Encoding": true,
	}
	f.Fuzz(func(t *testing.T, to, subject, text, header, value, file, contentType, contentID string) {
		m := message(text)
		m.Recipient, m.Subject = to, subject
		m.Attributes = map[string]string{"header." + header: value}
		m.Attachments = []sdk.Attachment{{Name: file, ContentType: contentType, ContentID: contentID, Data: []byte(text)}}
		l, err := compose(sender(t), m, time.Unix(1, 0))
		if err != nil {
			if sdk.OutcomeOf(err) != sdk.OutcomeRejected {
				t.Fatalf("%v is no refusal", err)
			}
			return
		}
		parsed, body := read(t, l.raw)
		for name, values := range parsed.Header {
			if (!known[name] && name != textproto.CanonicalMIMEHeaderKey(header)) || len(values) != 1 {
				t.Fatalf("header %s: %q was smuggled in", name, values)
			}
		}
		got := strings.Fields(decoded(t, parsed.Header.Get("Subject")))
		if want := strings.Fields(subject); !strings.Contains(subject, "=?") && !slices.Equal(got, want) {
			t.Fatalf("subject %q became %q", want, got)
		}
		checkLines(t, l.raw)
		leaves(t, textproto.MIMEHeader(parsed.Header), bytes.NewReader(body))
	})
}
