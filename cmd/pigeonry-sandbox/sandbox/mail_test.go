package sandbox_test

import (
	"fmt"
	"net/smtp"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// sendMail sends with the standard library's client.
func sendMail(s *sandbox.Sandbox, to, raw string) error {
	return smtp.SendMail(s.Addresses().SMTP, nil, "shop@example.com", []string{to},
		[]byte(strings.ReplaceAll(raw, "\n", "\r\n")))
}

func TestMailIsDecodedForTheInbox(t *testing.T) {
	const html = `<html><head><title>no</title><style>p{}</style></head><body><p>Hello &amp; welcome</p><p>你好</p></body></html>`
	tests := []struct {
		name, raw           string
		subject, text, from string
		html                string
		attachments         int
	}{
		{
			name:    "plain",
			raw:     "From: shop@example.com\nSubject: Order\n\nIt is on its way.\n",
			subject: "Order", text: "It is on its way.", from: "shop@example.com",
		},
		{
			name: "encoded words and quoted-printable",
			raw: "From: =?UTF-8?q?B=C3=BCcher?= <shop@example.com>\nSubject: =?UTF-8?b?5L2g5aW9?=\n" +
				"Content-Type: text/plain; charset=UTF-8\nContent-Transfer-Encoding: quoted-printable\n\n=E4=BD=A0=E5=A5=BD\n",
			subject: "你好", text: "你好", from: "Bücher <shop@example.com>",
		},
		{
			name: "other charset",
			raw: "From: a@example.com\nSubject: =?GB2312?B?xOO6ww==?=\nContent-Type: text/plain; charset=gb2312\n" +
				"Content-Transfer-Encoding: base64\n\nxOO6ww==\n",
			subject: "你好", text: "你好", from: "a@example.com",
		},
		{
			name:    "HTML alone shows its words",
			raw:     "From: a@example.com\nSubject: x\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n" + html + "\n",
			subject: "x", text: "Hello & welcome 你好", html: html, from: "a@example.com",
		},
		{
			name: "alternative with attachment",
			raw: "From: a@example.com\nSubject: x\nContent-Type: multipart/mixed; boundary=out\n\n" +
				"--out\nContent-Type: multipart/alternative; boundary=in\n\n" +
				"--in\nContent-Type: text/plain\n\nplain\n--in\nContent-Type: text/html\n\n<b>rich</b>\n--in--\n" +
				"--out\nContent-Type: text/plain; name=a.txt\nContent-Disposition: attachment; filename=a.txt\n\nfile\n--out--\n",
			subject: "x", text: "plain", html: "<b>rich</b>", attachments: 1, from: "a@example.com",
		},
	}
	s := start(t, sandbox.Options{})
	for i, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			to := fmt.Sprintf("user%d@example.com", i)
			if err := sendMail(s, to, test.raw); err != nil {
				t.Fatal(err)
			}
			got := await(t, s, sandbox.Filter{Channel: "email", To: to}, 1)[0]
			if got.Subject != test.subject || got.Text != test.text || got.HTML != test.html || got.From != test.from ||
				len(got.Attachments) != test.attachments {
				t.Errorf("inbox has %+v", got)
			}
		})
	}
}

func TestMailThatIsNoMailIsRefused(t *testing.T) {
	s := start(t, sandbox.Options{})
	err := sendMail(s, "a@example.com", "no header at all\n")
	if err == nil || !strings.HasPrefix(err.Error(), "554") {
		t.Fatalf("got %v, want a 554", err)
	}
}

func TestMailFaults(t *testing.T) {
	tests := []struct {
		fault   sandbox.Fault
		answer  string // how the error begins; "" for none
		outcome sandbox.Outcome
		inbox   int
	}{
		{sandbox.Fault{}, "", sandbox.OutcomeDelivered, 1},
		{sandbox.Fault{ErrorRate: 1}, "451 4.3.0", sandbox.OutcomeFailed, 0},
		{sandbox.Fault{ErrorRate: 1, ErrorKind: sandbox.ErrorPermanent}, "550 5.1.1", sandbox.OutcomeRefused, 0},
		{sandbox.Fault{Throttle: -1}, "450 4.7.1", sandbox.OutcomeThrottled, 0},
		{sandbox.Fault{AcceptThenDrop: 1}, "", sandbox.OutcomeDropped, 0},
		{sandbox.Fault{Unanswered: 1}, "EOF", sandbox.OutcomeUnanswered, 1},
	}
	for _, test := range tests {
		t.Run(string(test.outcome), func(t *testing.T) {
			s := start(t, sandbox.Options{})
			test.fault.Channel = sandbox.ChannelEmail
			if err := s.SetFault(test.fault); err != nil {
				t.Fatal(err)
			}
			said := ""
			if err := sendMail(s, "a@example.com", "Message-Id: <m1@x>\nX-Pigeonry-Id: 7\nX-Pigeonry-Attempt: 2\n\nhi\n"); err != nil {
				said = strings.ReplaceAll(err.Error(), `"`, "")
			}
			if !strings.HasPrefix(said, test.answer) || (said != "") != (test.answer != "") {
				t.Errorf("sender was told %q, want %q", said, test.answer)
			}
			e := entries(t, s)
			if len(e) != 1 || e[0].Outcome != test.outcome || e[0].Idempotency != "m1@x" || e[0].Reference != "7" || e[0].Attempt != 2 {
				t.Errorf("ledger has %+v", e)
			}
			if n := len(s.Messages(sandbox.Filter{})); n != test.inbox {
				t.Errorf("inbox has %d messages, want %d", n, test.inbox)
			}
		})
	}
}
