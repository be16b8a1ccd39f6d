package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/pigeonry/pigeonry/plugins/email/report"
	"github.com/pigeonry/pigeonry/sdk"
)

// The tests of this file deliver to servers that this project did not write. Where one is missing
// its test is left out by name; with CI=true that is a failure.

// leaveOut ends a test whose peer is missing.
func leaveOut(t *testing.T, peer, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: %s", peer, reason)
	}
	t.Skipf("left out: delivery to %s, as %s", peer, reason)
}

// rich is a mail with everything in it.
func rich(to string) *sdk.Message {
	m := message("Hello,\n.a line that begins with a dot\n您的订单已发货 🕊\n")
	m.Recipient = to
	m.HTML = `<p>您的订单已发货</p><img src="cid:logo@shop">`
	m.Attachments = []sdk.Attachment{
		{Name: "发票.txt", ContentType: "text/plain", Data: bytes.Repeat([]byte("0123456789\r\n"), 1000)},
		{Name: "logo.png", ContentType: "image/png", ContentID: "logo@shop", Data: []byte{0x89, 'P', 'N', 'G', 0}},
	}
	return m
}

// checkRich reads a rich mail back as the peer kept it.
func checkRich(t *testing.T, raw []byte) {
	t.Helper()
	m, body := read(t, raw)
	if got := decoded(t, m.Header.Get("Subject")); got != "Your order 订单" {
		t.Errorf("subject is %q", got)
	}
	if got := m.Header.Get("Message-Id"); got != "<msg_0Abc@example.com>" {
		t.Errorf("Message-ID is %q", got)
	}
	parts, tree := leaves(t, textproto.MIMEHeader(m.Header), bytes.NewReader(body))
	if tree != "mixed(related(alternative(text/plain text/html) image/png) text/plain)" || len(parts) != 4 {
		t.Fatalf("parts are %s", tree)
	}
	want := rich("")
	if got := strings.ReplaceAll(parts[0].content, "\r\n", "\n"); got != want.Plain {
		t.Errorf("text is %q, want %q", got, want.Plain)
	}
	if parts[1].content != want.HTML {
		t.Errorf("HTML is %q", parts[1].content)
	}
	if parts[2].content != string(want.Attachments[1].Data) || parts[3].content != string(want.Attachments[0].Data) {
		t.Errorf("files are %d and %d bytes", len(parts[2].content), len(parts[3].content))
	}
}

// aiosmtpdMail is a line of aiosmtpd_sink.py.
type aiosmtpdMail struct {
	Port     int
	MailFrom string   `json:"mail_from"`
	RcptTos  []string `json:"rcpt_tos"`
	UTF8     bool     `json:"smtp_utf8"`
	TLS      bool
	User     string
	Content  []byte
}

// startAiosmtpd returns its port and what reads its next line.
func startAiosmtpd(t *testing.T, args ...string) (port int, next func() aiosmtpdMail) {
	t.Helper()
	const python = "/usr/bin/python3" // the system's: another has no Debian packages
	if err := exec.Command(python, "-c", "import aiosmtpd").Run(); err != nil {
		leaveOut(t, "aiosmtpd", "the Debian package python3-aiosmtpd is not installed")
	}
	command := exec.Command(python, append([]string{"testdata/aiosmtpd_sink.py", "0"}, args...)...)
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var problems bytes.Buffer
	command.Stderr = &problems
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill() // fails only if it has ended by itself
		_ = command.Wait()         // reports the kill
		if t.Failed() {
			t.Logf("aiosmtpd says: %s", problems.String())
		}
	})
	lines := bufio.NewReader(out)
	next = func() (m aiosmtpdMail) {
		t.Helper()
		line, err := lines.ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(line, &m)
		}
		if err != nil {
			t.Fatalf("read from aiosmtpd: %v, %s", err, problems.String())
		}
		return m
	}
	return next().Port, next
}

func TestDeliversToAiosmtpd(t *testing.T) {
	port, next := startAiosmtpd(t)
	c := connect(t, port)
	if err := c.Check(t.Context()); err != nil {
		t.Fatalf("check: %v", err)
	}
	for _, to := range []string{"ann@example.com", "用户@例子.测试"} {
		if _, err := c.Send(t.Context(), rich(to)); err != nil {
			t.Fatal(err)
		}
		got := next()
		envelope, _ := parseMailbox(to)
		if got.MailFrom != "shop@example.com" || len(got.RcptTos) != 1 || got.RcptTos[0] != envelope || got.UTF8 != (to != envelope) {
			t.Errorf("envelope is %+v, want %s", got, envelope)
		}
		checkRich(t, got.Content)
	}
	_, err := c.Send(t.Context(), rich("nobody@example.com"))
	if got, _ := errors.AsType[*sdk.DeliveryError](err); got == nil || got.Code != codeInvalidRecipient || got.ProviderCode != "550 5.1.1" {
		t.Errorf("refused recipient gives %v", err)
	}
	if _, err := c.Send(t.Context(), rich("bob@example.com")); err != nil {
		t.Errorf("after a refusal: %v", err)
	}
}

func TestLogsInToAiosmtpd(t *testing.T) {
	ca, dir := newAuthority(t), t.TempDir()
	cert, key := writeFile(t, dir, "cert.pem", ca.certPEM), writeFile(t, dir, "key.pem", ca.keyPEM)
	port, next := startAiosmtpd(t, cert, key, "shop", "hunter2")
	for _, auth := range []string{authAuto, "plain", "login"} {
		login := func(c *config) {
			c.TLS, c.TLSCA, c.Auth, c.Username, c.Password = tlsStartTLS, ca.pem, auth, "shop", "hunter2"
		}
		if _, err := connect(t, port, login).Send(t.Context(), rich("ann@example.com")); err != nil {
			t.Fatalf("%s: %v", auth, err)
		}
		if got := next(); !got.TLS || got.User != "shop" {
			t.Errorf("%s: the mail came as %q, TLS %v", auth, got.User, got.TLS)
		}
		wrong := func(c *config) { c.Password = "other" }
		err := connect(t, port, login, wrong).Check(t.Context())
		if got, _ := errors.AsType[*sdk.DeliveryError](err); got == nil || got.Code != codeAuthFailed || got.Fault != sdk.FaultConfig {
			t.Errorf("%s: wrong password gives %v", auth, err)
		}
	}
}

func writeFile(t *testing.T, dir, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// postfix is a private instance: everything it has lies in a directory of the test.
type postfix struct {
	dir    string
	port   int
	ca     authority
	reject *script // the server of reject.test
}

// rejecting is a server that knows no user, as another mail server talks to it.
const rejecting = "220 mx.reject.test ESMTP\nC: EHLO\n250 mx.reject.test\nC: MAIL\n250 2.1.0 ok\nC: RCPT\n550 5.1.1 no such user"

func startPostfix(t *testing.T) postfix {
	t.Helper()
	if _, err := exec.LookPath("postfix"); err != nil {
		leaveOut(t, "Postfix", "the Debian package postfix is not installed")
	}
	if os.Getuid() != 0 {
		leaveOut(t, "Postfix", "only root may start one")
	}
	p := postfix{dir: publicDir(t), ca: newAuthority(t)}
	p.port = freePort(t)
	p.reject = play(t, slices.Repeat([]string{rejecting}, 10)...)
	values := map[string]any{"Dir": p.dir, "Port": p.port, "RejectPort": p.reject.port, "UID": 65534, "GID": 65534}
	for _, sub := range []string{"config", "queue", "data", "log", "mail"} {
		if err := os.Mkdir(filepath.Join(p.dir, sub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	chown(t, "postfix", filepath.Join(p.dir, "data"))
	chown(t, "nobody", filepath.Join(p.dir, "mail"))
	writeFile(t, p.dir, "cert.pem", p.ca.certPEM)
	writeFile(t, p.dir, "key.pem", p.ca.keyPEM)
	for _, name := range []string{"main.cf", "master.cf"} {
		var out bytes.Buffer
		if err := template.Must(template.ParseFiles("testdata/postfix_"+name)).Execute(&out, values); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(p.dir, "config", name), out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p.run(t)
	return p
}

// freePort finds a port of 127.0.0.1 that nobody listens on.
func freePort(t *testing.T) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

// publicDir makes a directory that Postfix's own users may enter.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pigeonry-postfix-") //nolint:usetesting // the test's own is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

func chown(t *testing.T, user, path string) {
	t.Helper()
	if out, err := exec.Command("chown", user, path).CombinedOutput(); err != nil {
		t.Fatalf("chown %s: %v %s", path, err, out)
	}
}

// run starts the instance in the foreground and stops it at the end of the test.
func (p postfix) run(t *testing.T) {
	t.Helper()
	settings := filepath.Join(p.dir, "config")
	command := exec.Command("postfix", "-c", settings, "start-fg")
	var out bytes.Buffer
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = exec.Command("postfix", "-c", settings, "stop").Run() // this instance alone; fails if it has ended
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			_ = command.Process.Kill()
			<-ended
		}
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(p.dir, "log", "mail.log"))
			t.Logf("Postfix says: %s\n%s", out.String(), logged)
		}
	})
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	probe := connect(t, p.port, func(c *config) { c.ConnectTimeout = 5 * time.Second })
	for range 300 {
		if probe.Check(t.Context()) == nil {
			return
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Postfix ended: %v", err)
		case <-again.C:
		}
	}
	t.Fatal("Postfix does not answer")
}

// mailbox waits for the first mail in a maildir.
func (p postfix) mailbox(t *testing.T, user string) []byte {
	t.Helper()
	return p.mailboxes(t, user, 1)[0]
}

// mailboxes waits for so many mails in a maildir.
func (p postfix) mailboxes(t *testing.T, user string, want int) [][]byte {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range 1000 {
		files, err := filepath.Glob(filepath.Join(p.dir, "mail", user, "new", "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) < want {
			<-again.C
			continue
		}
		var mails [][]byte
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			mails = append(mails, raw)
		}
		return mails
	}
	t.Fatalf("no %d mails for %s", want, user)
	return nil
}

func TestPostfix(t *testing.T) {
	p := startPostfix(t)
	t.Run("delivers", p.testDelivery)
	t.Run("refuses", p.testRefusals)
	t.Run("notifies", p.testNotifications)
	t.Run("Dovecot shows the notifications", p.testDovecot)
}

func (p postfix) testDelivery(t *testing.T) {
	secured := func(c *config) { c.TLS, c.TLSCA = tlsStartTLS, p.ca.pem }
	for user, edit := range map[string]func(*config){"ann": func(*config) {}, "bob": secured} {
		if _, err := connect(t, p.port, edit).Send(t.Context(), rich(user+"@example.test")); err != nil {
			t.Fatalf("%s: %v", user, err)
		}
		raw := p.mailbox(t, user)
		checkRich(t, raw)
		m, _ := read(t, raw)
		if got := m.Header.Get("Delivered-To"); got != user+"@example.test" {
			t.Errorf("delivered to %q", got)
		}
		if overTLS := strings.Contains(m.Header.Get("Received"), "with ESMTPS"); overTLS != (user == "bob") {
			t.Errorf("%s came by %q", user, m.Header.Get("Received"))
		}
	}
}

func (p postfix) testRefusals(t *testing.T) {
	c := connect(t, p.port)
	large := rich("ann@example.test")
	large.Attachments[0].Data = bytes.Repeat([]byte("x"), 300_000)
	tests := []struct {
		name    string
		message *sdk.Message
		code    string
		fault   sdk.Fault
	}{
		{"unknown user", rich("nobody@example.test"), codeInvalidRecipient, sdk.FaultMessage},
		{"foreign domain", rich("ann@example.org"), codeRelayDenied, sdk.FaultConfig},
		{"too large", large, codeTooLarge, sdk.FaultMessage},
	}
	for _, test := range tests {
		_, err := c.Send(t.Context(), test.message)
		got, _ := errors.AsType[*sdk.DeliveryError](err)
		if got == nil || got.Outcome != sdk.OutcomeRejected || got.Code != test.code || got.Fault != test.fault {
			t.Errorf("%s gives %+v, want rejected as %s", test.name, got, test.code)
		}
	}
	if _, err := c.Send(t.Context(), rich("ann@example.test")); err != nil {
		t.Errorf("after the refusals: %v", err)
	}
}

// bouncing is a connector whose mails come back to an address of their own.
func (p postfix) bouncing(t *testing.T, edits ...func(*config)) *connector {
	t.Helper()
	return connect(t, p.port, append([]func(*config){func(c *config) {
		c.From, c.DSN = "Shop <shop@example.test>", dsnSuccess
		c.BounceAddress, c.BounceSecret = "bounce+{attempt}@example.test", "a secret of the test"
	}}, edits...)...)
}

// send sends a mail of an attempt.
func send(t *testing.T, c *connector, to, attemptID string) {
	t.Helper()
	m := rich(to)
	m.AttemptID, m.IdempotencyKey = attemptID, "msg_"+attemptID
	if _, err := c.Send(t.Context(), m); err != nil {
		t.Fatalf("%s: %v", to, err)
	}
}

// testNotifications reads what Postfix writes about mails that another server refused, that cannot be delivered, and
// that arrived.
func (p postfix) testNotifications(t *testing.T) {
	c := p.bouncing(t)
	expect := func(status sdk.ReceiptStatus, code, provider string) sdk.DeliveryReceipt {
		return sdk.DeliveryReceipt{Status: status, Err: sdk.Permanent(nil, sdk.Code(code), sdk.ProviderCode(provider))}
	}
	want := map[string]sdk.DeliveryReceipt{ // by attempt and status; an alias expands first
		"101.1 2": expect(sdk.Undelivered, codeInvalidRecipient, "550 5.1.1"),
		"101.1 4": {Status: sdk.Progress},
		"102.1 2": expect(sdk.Undelivered, codeUnreachable, "5.4.4"),
		"102.1 4": {Status: sdk.Progress},
		"103.1 1": {Status: sdk.Delivered},
	}
	send(t, c, "gone@example.test", "101.1")
	send(t, c, "late@example.test", "102.1")
	send(t, c, "ann@example.test", "103.1")
	for _, raw := range p.mailboxes(t, "bounce", len(want)) {
		events, why := c.read(raw)
		if len(events.Receipts) != 1 {
			t.Fatalf("%s:\n%s", why, raw)
		}
		got := events.Receipts[0]
		key := fmt.Sprintf("%s %d", got.AttemptID, got.Status)
		expected, ok := want[key]
		delete(want, key)
		if !ok || got.ProviderID != "msg_"+got.AttemptID+"@example.test" || got.At.IsZero() {
			t.Errorf("receipt is %+v of\n%s", got, raw)
		}
		failed, _ := errors.AsType[*sdk.DeliveryError](got.Err)
		expectedErr, _ := errors.AsType[*sdk.DeliveryError](expected.Err)
		if (failed == nil) != (expectedErr == nil) || failed != nil && (failed.Code != expectedErr.Code || failed.ProviderCode != expectedErr.ProviderCode) {
			t.Errorf("%s has the error %+v, want %+v", key, failed, expectedErr)
		}
		r, err := report.Parse(raw)
		if err != nil || r.EnvelopeID != c.identity.returnPath.mark(got.AttemptID) {
			t.Errorf("envelope id is %q, %v", r.EnvelopeID, err)
		}
	}
	if len(want) > 0 {
		t.Errorf("no notification of %v", slices.Collect(maps.Keys(want)))
	}
}

// testDovecot reads the mailbox that Postfix's notifications lie in through Dovecot.
func (p postfix) testDovecot(t *testing.T) {
	port, tlsPort := p.startDovecot(t)
	mailbox := func(port int, tls string) func(*config) {
		return func(c *config) {
			c.Mailbox = &mailboxConfig{
				Host: "127.0.0.1", Port: port, TLS: tls, TLSCA: p.ca.pem, Username: "bounce", Password: dovecotPassword,
				Folder: "INBOX", MoveTo: "Reports", PollInterval: time.Minute, Timeout: 10 * time.Second,
			}
		}
	}
	failures := func(c *config) { c.DSN = dsnFailure }
	moved := 0
	for i, way := range []func(*config){mailbox(tlsPort, tlsImplicit), mailbox(port, tlsStartTLS)} {
		c := p.bouncing(t, way, failures)
		if err := c.Check(t.Context()); err != nil {
			t.Fatalf("check: %v", err)
		}
		r := receive(t, c)
		if i == 0 { // those of testNotifications
			for moved < 5 {
				moved += len(r.next(t).Receipts)
				r.store <- nil
			}
			p.awaitMails(t, "bounce/.Reports/cur", moved)
		}
		// One that comes while the connection waits: Dovecot tells of it.
		id := fmt.Sprintf("20%d.1", i)
		send(t, c, "gone@example.test", id)
		events := r.next(t)
		if len(events.Receipts) != 1 || events.Receipts[0].AttemptID != id || events.Receipts[0].Status != sdk.Undelivered {
			t.Errorf("received %+v", events)
		}
		r.store <- nil
		moved++
		p.awaitMails(t, "bounce/.Reports/cur", moved)
		r.cancel()
		r.ended <- <-r.ended
	}
	p.awaitMails(t, "bounce/new", 0)
	wrong := p.bouncing(t, mailbox(tlsPort, tlsImplicit), func(c *config) { c.Mailbox.Password = "another password" })
	if err := wrong.Receive(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "login") {
		t.Errorf("a wrong password gives %v", err)
	}
}

// awaitMails waits until a folder below the maildirs has so many files.
func (p postfix) awaitMails(t *testing.T, folder string, want int) {
	t.Helper()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	var files []string
	for range 500 {
		files, _ = filepath.Glob(filepath.Join(p.dir, "mail", folder, "*"))
		if len(files) == want {
			return
		}
		<-again.C
	}
	t.Fatalf("%s has %q, want %d", folder, files, want)
}

const dovecotPassword = "hunter2-of-the-mailbox"

// startDovecot starts a private instance over the mailboxes of this Postfix.
func (p postfix) startDovecot(t *testing.T) (port, tlsPort int) {
	t.Helper()
	if _, err := exec.LookPath("dovecot"); err != nil {
		leaveOut(t, "Dovecot", "the Debian package dovecot-imapd is not installed")
	}
	port, tlsPort = freePort(t), freePort(t)
	var settings bytes.Buffer
	values := map[string]any{"Dir": p.dir, "Port": port, "TLSPort": tlsPort, "UID": 65534, "GID": 65534, "Password": dovecotPassword}
	if err := template.Must(template.ParseFiles("testdata/dovecot.conf")).Execute(&settings, values); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	command := exec.Command("dovecot", "-F", "-c", writeFile(t, p.dir, "dovecot.conf", settings.Bytes()))
	command.Stdout, command.Stderr = &out, &out
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	t.Cleanup(func() {
		_ = command.Process.Signal(os.Interrupt) // its own children end with it
		select {
		case <-ended:
		case <-time.After(15 * time.Second):
			_ = command.Process.Kill()
			<-ended
		}
		if t.Failed() {
			logged, _ := os.ReadFile(filepath.Join(p.dir, "dovecot.log"))
			t.Logf("Dovecot says: %s\n%s", out.String(), logged)
		}
	})
	again := time.NewTicker(50 * time.Millisecond)
	defer again.Stop()
	for range 300 {
		if conn, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(tlsPort))); err == nil {
			_ = conn.Close()
			return port, tlsPort
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("Dovecot ended: %v", err)
		case <-again.C:
		}
	}
	t.Fatal("Dovecot does not answer")
	return 0, 0
}

// TestPythonReads hands a whole mail to Python's email package, which tells of everything that is not as the standards
// have it.
func TestPythonReads(t *testing.T) {
	const python = "/usr/bin/python3"
	if err := exec.Command(python, "-c", "import email").Run(); err != nil {
		leaveOut(t, "Python", "/usr/bin/python3 is not installed")
	}
	id, m := listMail(t, newKeyring(t))
	m.Attributes = map[string]string{"header.X-Campaign": "Frühling 春", "reply_to": "Hilfe für Sie <help@bücher.example>"}
	l, err := compose(id, m, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(python, "testdata/parse_mail.py")
	command.Stdin = bytes.NewReader(l.raw)
	out, err := command.Output()
	if err != nil {
		t.Fatalf("python: %v", err)
	}
	var got struct {
		Headers map[string]string
		Parts   []struct {
			Type, Disposition, Name, ID, Text string
			Size                              int
			Defects                           []string
		}
		Defects []string
	}
	if err := json.Unmarshal(out, &got); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	for name, want := range map[string]string{
		"Subject": "Your order 订单", "X-Campaign": "Frühling 春", "Reply-To": "Hilfe für Sie <help@xn--bcher-kva.example>",
		"List-Id": "Shop <news.example.com>", "Feedback-Id": "spring:shop:news:1", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
		"From": "Shop <shop@example.com>", "Date": "Tue, 14 Nov 2023 22:13:20 +0000",
	} {
		if value := got.Headers[name]; value != want && name != "Date" || name == "Date" && value == "" {
			t.Errorf("Python reads %s as %q, want %q", name, value, want)
		}
	}
	types := ""
	for _, part := range got.Parts {
		types += part.Type + " " + part.Disposition + " " + part.Name + ";"
		got.Defects = append(got.Defects, part.Defects...)
	}
	if types != "text/plain  ;text/html  ;image/png inline logo.png;text/plain attachment 发票.txt;" || len(got.Defects) > 0 {
		t.Errorf("Python reads the parts %s, and finds wrong: %q", types, got.Defects)
	}
	if text := got.Parts[0].Text; strings.ReplaceAll(text, "\r\n", "\n") != m.Plain || got.Parts[3].Size != len(m.Attachments[0].Data) {
		t.Errorf("Python reads the text %q", text)
	}
}
