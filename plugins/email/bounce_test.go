package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/plugins/email/report"
	"github.com/pigeonry/pigeonry/sdk"
)

func withBounces(address string, secret sdk.Secret) func(*config) {
	return func(c *config) { c.BounceAddress, c.BounceSecret = address, secret }
}

func TestReturnPaths(t *testing.T) {
	tests := []struct {
		address, secret, attempt string
		want                     string // of the envelope; "*" for a signed one
	}{
		{"", "", "12345.2", "shop@example.com"},
		{"bounce+{attempt}@example.com", "", "12345.2", "bounce+12345.2@example.com"},
		{"{attempt}@bounce.bücher.example", "", "12345.2", "12345.2@bounce.xn--bcher-kva.example"},
		{"b-{attempt}-x@example.com", "", "9007199254740991.99999", "b-9007199254740991.99999-x@example.com"},
		{"bounce+{attempt}@example.com", "a secret of the test", "12345.2", "*"},
		{"b-{attempt}-x@example.com", "a secret of the test", "9007199254740991.99999", "*"},
		{"bounce+{attempt}@example.com", "a secret of the test", "Odd Id", "*"},
		{"bounce+{attempt}@example.com", "", "Odd Id", "bounce+x4f6464204964@example.com"},
		{"bounce+{attempt}@example.com", "", strings.Repeat("x", 40), "shop@example.com"}, // has no room
	}
	for _, test := range tests {
		c := connect(t, 25, withBounces(test.address, sdk.Secret(test.secret)))
		m := message("hi")
		m.AttemptID = test.attempt
		l, err := c.letter(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		if l.from != test.want && test.want != "*" {
			t.Errorf("%s sends attempt %s from %s, want %s", test.address, test.attempt, l.from, test.want)
		}
		if test.address == "" || l.from == "shop@example.com" {
			continue
		}
		want := test.attempt
		if test.secret == "" { // anybody can write it
			want = ""
		}
		for _, from := range []string{l.from, strings.ToUpper(l.from)} { // servers change the case
			if got := c.identity.returnPath.attemptOf(from); got != want {
				t.Errorf("%s reads as attempt %q, want %q", from, got, want)
			}
		}
	}
}

func TestForgedReturnPaths(t *testing.T) {
	signed := connect(t, 25, withBounces("bounce+{attempt}@example.com", "a secret of the test")).identity.returnPath
	plain := connect(t, 25, withBounces("bounce+{attempt}@example.com", "")).identity.returnPath
	fixed := connect(t, 25).identity.returnPath
	tag := strings.TrimSuffix(strings.TrimPrefix(signed.of("12345.2"), "bounce+12345.2"), "@example.com")
	tests := []struct {
		path    *returnPath
		address string
	}{
		{&signed, "bounce+12345.2@example.com"},
		{&signed, "bounce+12345.3" + tag + "@example.com"},
		{&signed, "bounce+12345.2" + tag[:len(tag)-1] + "@example.com"},
		{&signed, "bounce+12345.2-@example.com"},
		{&signed, "bounce+12345.2" + tag + "@example.org"},
		{&signed, "bounce+12345" + tag + "@example.com"},
		{&signed, "bounce+@example.com"},
		{&signed, "bounce@example.com"},
		{&signed, "b@example.com"},
		{&signed, "bounce+x@example.com"},
		{&signed, "bounce+xzz" + tag + "@example.com"},
		{&signed, "bounce+x31323334352e32" + tag + "@example.com"}, // 12345.2 in a dress
		{&signed, "bounce"},
		{&plain, "bounce+12345.2@example.com"},
		{&plain, "bounce+12345.2" + tag + "@example.com"},
		{&fixed, "shop@example.com"},
	}
	for _, test := range tests {
		if got := test.path.attemptOf(test.address); got != "" {
			t.Errorf("%s reads as attempt %s", test.address, got)
		}
	}
	if got := signed.attemptOf(signed.of("12345.2")); got != "12345.2" {
		t.Errorf("a sound address reads as %q", got)
	}
}

func TestBounceConfig(t *testing.T) {
	tests := map[string]string{ // address: field that is wrong
		"bounce+{attempt}@example.com": "",
		"bounce@example.com":           "bounce_address",
		"bounce@{attempt}.example.com": "bounce_address",
		"nobody":                       "bounce_address",
		"{attempt}":                    "bounce_address",
		strings.Repeat("b", 60) + "{attempt}@example.com": "bounce_address",
	}
	for address, field := range tests {
		c := valid()
		c.BounceAddress = address
		wrong, _ := errors.AsType[*sdk.ConfigError](validate(c))
		if (wrong == nil) != (field == "") || wrong != nil && wrong.Path != field {
			t.Errorf("%s gives %v, want an error of %q", address, wrong, field)
		}
	}
	c := valid()
	c.BounceAddress, c.EnvelopeFrom = "bounce+{attempt}@example.com", "bounces@example.com"
	if wrong, ok := errors.AsType[*sdk.ConfigError](validate(c)); !ok || wrong.Path != "bounce_address" {
		t.Errorf("two addresses give %v", wrong)
	}
}

// dsn is a notification about a mail of ours.
func dsn(to, action, status, diagnostic, original string) string {
	return "From: MAILER-DAEMON@mx.example.net\r\nTo: " + to + "\r\nDate: Fri, 27 Nov 2026 10:00:00 +0000\r\n" +
		"Content-Type: multipart/report; report-type=delivery-status; boundary=b1\r\n\r\n" +
		"--b1\r\n\r\nsorry\r\n--b1\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; mx.example.net\r\n\r\n" +
		"Final-Recipient: rfc822; ann@example.org\r\nAction: " + action + "\r\nStatus: " + status + "\r\n" +
		"Diagnostic-Code: smtp; " + diagnostic + "\r\nRemote-MTA: dns; mx.example.org\r\n\r\n" +
		"--b1\r\nContent-Type: text/rfc822-headers\r\n\r\n" + original + "\r\n--b1--\r\n"
}

const ours = "Message-ID: <msg_0Abc@example.com>\r\nX-Pigeonry-Id: 12345\r\nX-Pigeonry-Attempt: 2\r\n"

func TestBouncesBecomeReceipts(t *testing.T) {
	tests := []struct {
		action, status, diagnostic string
		want                       sdk.ReceiptStatus
		code, provider             string
		fault                      sdk.Fault
	}{
		{"failed", "5.1.1", "550 5.1.1 <ann@example.org>: no such user", sdk.Undelivered, codeInvalidRecipient, "550 5.1.1", sdk.FaultMessage},
		{"failed", "5.0.0", "550-5.1.1 The account does not exist", sdk.Undelivered, codeInvalidRecipient, "550 5.1.1", sdk.FaultMessage},
		{"failed", "5.0.0", "550 user unknown", sdk.Undelivered, codeInvalidRecipient, "550 5.0.0", sdk.FaultMessage},
		{"failed", "5.2.1", "550 mailbox disabled", sdk.Undelivered, codeInvalidRecipient, "550 5.2.1", sdk.FaultMessage},
		{"failed", "5.2.2", "552 5.2.2 over quota", sdk.Undelivered, codeMailboxFull, "552 5.2.2", sdk.FaultMessage},
		{"failed", "5.3.4", "552 5.3.4 too big", sdk.Undelivered, codeTooLarge, "552 5.3.4", sdk.FaultMessage},
		{"failed", "5.7.1", "554 5.7.1 spam", sdk.Undelivered, codeContentRejected, "554 5.7.1", sdk.FaultMessage},
		{"failed", "5.1.8", "553 5.1.8 bad sender domain", sdk.Undelivered, codeSenderRejected, "553 5.1.8", sdk.FaultConfig},
		{"failed", "4.4.1", "connection timed out", sdk.Undelivered, codeUnreachable, "4.4.1", sdk.FaultMessage},
		{"failed", "5.4.4", "unable to route", sdk.Undelivered, codeUnreachable, "5.4.4", sdk.FaultMessage},
		{"failed", "5.0.0", "because", sdk.Undelivered, codeUndelivered, "5.0.0", sdk.FaultMessage},
		{"failed", "", "", sdk.Undelivered, codeUndelivered, "", sdk.FaultMessage},
		{"delayed", "4.4.1", "451 busy", sdk.Progress, codeDeferred, "451 4.4.1", sdk.FaultProvider},
		{"delivered", "2.0.0", "250 ok", sdk.Delivered, "", "", 0},
		{"relayed", "2.0.0", "250 ok", sdk.Progress, "", "", 0},
		{"expanded", "2.0.0", "250 ok", sdk.Progress, "", "", 0},
	}
	c := connect(t, 25)
	for _, test := range tests {
		events, why := c.read([]byte(dsn("shop@example.com", test.action, test.status, test.diagnostic, ours)))
		if len(events.Receipts) != 1 || len(events.Inbound) != 0 {
			t.Fatalf("%s %s gives %+v: %s", test.action, test.diagnostic, events, why)
		}
		got := events.Receipts[0]
		if got.Status != test.want || got.ProviderID != "msg_0Abc@example.com" || got.AttemptID != "" || got.Recipient != "ann@example.org" ||
			!got.At.Equal(time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)) {
			t.Errorf("%s %s gives %+v", test.action, test.diagnostic, got)
		}
		failed, _ := errors.AsType[*sdk.DeliveryError](got.Err)
		if test.code == "" {
			if failed != nil {
				t.Errorf("%s has the error %v", test.action, failed)
			}
			continue
		}
		if failed == nil || failed.Code != test.code || failed.ProviderCode != test.provider || failed.Fault != test.fault {
			t.Errorf("%s %s %s gives %+v, want %s %q", test.action, test.status, test.diagnostic, failed, test.code, test.provider)
		}
	}
	if events, _ := c.read([]byte(dsn("shop@example.com", "vanished", "5.0.0", "", ours))); !events.Empty() {
		t.Errorf("an action that is none gives %+v", events)
	}
}

// TestWhoseBounce finds the mail by what is hard to make up, and by nothing else.
func TestWhoseBounce(t *testing.T) {
	signed := connect(t, 25, withBounces("bounce+{attempt}@example.com", "a secret of the test"))
	plain := connect(t, 25, withBounces("bounce+{attempt}@example.com", ""))
	fixed := connect(t, 25)
	address := signed.identity.returnPath.of("12345.2")
	const foreign = "Message-ID: <msg_0Abc@example.org>\r\nX-Pigeonry-Id: 12345\r\nX-Pigeonry-Attempt: 2\r\n"
	tests := []struct {
		name                string
		c                   *connector
		to, original        string
		attempt, providerID string
	}{
		{"signed address", signed, address, ours, "12345.2", "msg_0Abc@example.com"},
		{"signed address alone", signed, address, "Subject: Hi\r\n", "12345.2", ""},
		{"signed address in the mail that came back", signed, "bounces@example.com", "Return-Path: <" + address + ">\r\n", "12345.2", ""},
		{"address without signature", signed, "bounce+12345.2@example.com", foreign, "", ""},
		{"Message-ID alone", signed, "bounce@example.com", ours, "", "msg_0Abc@example.com"},
		{"Message-ID in another case", fixed, "shop@example.com", strings.Replace(ours, "example.com", "EXAMPLE.com", 1), "", "msg_0Abc@EXAMPLE.com"},
		{"address that nobody signs", plain, "bounce+12345.2@example.com", "", "", ""},
		{"address that nobody signs, and a Message-ID", plain, "bounce+12345.2@example.com", ours, "", "msg_0Abc@example.com"},
		{"a mail of others", fixed, "shop@example.com", foreign, "", ""},
		{"nothing", fixed, "shop@example.com", "", "", ""},
		{"no end of a Message-ID", fixed, "shop@example.com", "Message-ID: <" + strings.Repeat("x", 300) + "@example.com>\r\n", "", ""},
	}
	for _, test := range tests {
		events, _ := test.c.read([]byte(dsn(test.to, "failed", "5.1.1", "550 no", test.original)))
		if test.attempt == "" && test.providerID == "" {
			if !events.Empty() {
				t.Errorf("%s gives %+v", test.name, events)
			}
			continue
		}
		if len(events.Receipts) != 1 || events.Receipts[0].AttemptID != test.attempt || events.Receipts[0].ProviderID != test.providerID {
			t.Errorf("%s gives %+v, want attempt %q and id %q", test.name, events, test.attempt, test.providerID)
		}
	}
}

// TestSameBounceTwice tells repeats of one event from another attempt's, and from what happened before.
func TestSameBounceTwice(t *testing.T) {
	c := connect(t, 25)
	key := func(action, original string) string {
		t.Helper()
		events, why := c.read([]byte(dsn("shop@example.com", action, "5.1.1", "550 no", original)))
		if len(events.Receipts) != 1 {
			t.Fatal(why)
		}
		return events.Receipts[0].DedupeKey
	}
	first, again := key("failed", ours), key("failed", "Subject: Hi\r\n"+ours)
	other, late := key("failed", strings.Replace(ours, "Attempt: 2", "Attempt: 3", 1)), key("delayed", ours)
	if first != again || first == other || first == late {
		t.Errorf("keys are %q, %q, %q, %q", first, again, other, late)
	}
}

const feedback = "From: fbl@provider.example\r\nTo: fbl@example.com\r\nDate: Fri, 27 Nov 2026 10:00:00 +0000\r\n" +
	"Content-Type: multipart/report; report-type=feedback-report; boundary=b1\r\n\r\n" +
	"--b1\r\n\r\na complaint\r\n--b1\r\nContent-Type: message/feedback-report\r\n\r\n" +
	"Feedback-Type: TYPE\r\nUser-Agent: Loop/1.0\r\nVersion: 1\r\nSource-IP: 192.0.2.1\r\nOriginal-Mail-From: <bounce+12345.2@example.com>\r\nRCPT\r\n" +
	"--b1\r\nContent-Type: message/rfc822\r\n\r\n" + ours + "To: Ann <ann@example.org>\r\n\r\nHi\r\n--b1--\r\n"

// What a complaint says of who complained is not believed: whoever got one mail could write it.
func TestComplaints(t *testing.T) {
	c := connect(t, 25, withBounces("bounce+{attempt}@example.com", "a secret of the test"))
	signed := c.identity.returnPath.of("12345.2")
	for from, attempt := range map[string]string{signed: "12345.2", "bounce+12345.2@example.com": ""} {
		raw := strings.NewReplacer("TYPE", "abuse", "RCPT\r\n", "Original-Rcpt-To: <eve@example.org>\r\n\r\n", "bounce+12345.2@example.com", from).Replace(feedback)
		message, _, _ := strings.Cut(attempt, ".")
		events, why := c.read([]byte(raw))
		if len(events.Receipts) != 1 || len(events.Inbound) != 1 {
			t.Fatalf("%+v: %s", events, why)
		}
		r, in := events.Receipts[0], events.Inbound[0]
		failed, _ := errors.AsType[*sdk.DeliveryError](r.Err)
		if r.Status != sdk.Delivered || failed == nil || failed.Code != codeComplaint || r.AttemptID != attempt ||
			r.ProviderID != "msg_0Abc@example.com" || r.Recipient != "" {
			t.Errorf("receipt is %+v", r)
		}
		if in.From != "" || in.ReplyToProviderID != r.ProviderID || in.To != "shop@example.com" || in.Text != "complaint" || in.Attributes["event"] != "complaint" ||
			in.Attributes["feedback_type"] != "abuse" || in.Attributes["attempt_id"] != attempt || in.Attributes["message_id"] != message ||
			in.Attributes["source_ip"] != "192.0.2.1" || in.DedupeKey != r.DedupeKey {
			t.Errorf("inbound is %+v", in)
		}
	}
	if events, _ := c.read([]byte(strings.NewReplacer("TYPE", "not-spam", "RCPT\r\n", "\r\n").Replace(feedback))); !events.Empty() {
		t.Errorf("what is no complaint gives %+v", events)
	}
}

// FuzzEvents looks for a report that crashes, or that speaks of an attempt without knowing its signature.
func FuzzEvents(f *testing.F) {
	f.Add([]byte(dsn("bounce+12345.2@example.com", "failed", "5.1.1", "550 5.1.1 no", ours)))
	f.Add([]byte(strings.NewReplacer("TYPE", "abuse", "RCPT\r\n", "\r\n").Replace(feedback)))
	files, err := filepath.Glob("report/testdata/*.eml")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	c := valid()
	withBounces("bounce+{attempt}@example.com", "a secret of the test")(&c)
	id, err := newIdentity(c)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := report.Parse(raw)
		if err != nil {
			return
		}
		events := id.events(r)
		for i := range events.Receipts {
			if got := events.Receipts[i]; got.AttemptID != "" || !strings.HasSuffix(strings.ToLower(got.ProviderID), "@example.com") || got.DedupeKey == "" {
				t.Fatalf("receipt %+v", got)
			}
		}
	})
}
