package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

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
	dir  string
	port int
	ca   authority
}

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
	values := map[string]any{"Dir": p.dir, "Port": p.port, "UID": 65534, "GID": 65534}
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
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for range 1000 {
		files, err := filepath.Glob(filepath.Join(p.dir, "mail", user, "new", "*"))
		if err != nil {
			t.Fatal(err)
		}
		if len(files) > 0 {
			raw, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			return raw
		}
		<-again.C
	}
	t.Fatalf("no mail for %s", user)
	return nil
}

func TestPostfix(t *testing.T) {
	p := startPostfix(t)
	t.Run("delivers", p.testDelivery)
	t.Run("refuses", p.testRefusals)
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
