package main

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
)

// script is an SMTP server that plays one connection after the other as a test wrote it down.
//
// A line "C: text" waits for a line of the client that begins with the text; "C: ." reads a mail up
// to its dot; any other line is sent. "close" hangs up, "silence" says nothing more until the client
// has gone.
type script struct {
	port  int
	ended sync.WaitGroup
	t     testing.TB

	mu    sync.Mutex
	conns int
	mails int // read up to their dot
}

const greeting = "220 script\nC: EHLO\n"

func play(tb testing.TB, scenes ...string) *script {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	s := &script{t: tb, port: listener.Addr().(*net.TCPAddr).Port}
	s.ended.Go(func() {
		for _, scene := range scenes {
			conn, err := listener.Accept()
			if err != nil {
				return // the test is over before its script
			}
			s.count(&s.conns)
			s.ended.Go(func() { s.scene(conn, scene) })
		}
	})
	tb.Cleanup(func() {
		_ = listener.Close()
		s.ended.Wait()
	})
	return s
}

func (s *script) count(n *int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*n++
}

func (s *script) counts() (conns, mails int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns, s.mails
}

func (s *script) scene(conn net.Conn, scene string) {
	defer conn.Close()
	lines := bufio.NewReader(conn)
	for line := range strings.SplitSeq(strings.TrimSpace(scene), "\n") {
		want, wait := strings.CutPrefix(line, "C: ")
		switch {
		case line == "close":
			return
		case line == "silence":
			_, _ = lines.ReadString(0) // until the client hangs up
			return
		case !wait:
			_, _ = conn.Write([]byte(line + "\r\n"))
		case want == ".":
			if !readToDot(lines) {
				return
			}
			s.count(&s.mails)
		default:
			got, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			if !strings.HasPrefix(got, want) {
				s.t.Errorf("client says %q, want %q", got, want)
				return
			}
		}
	}
	if line, _ := lines.ReadString('\n'); strings.HasPrefix(line, "QUIT") {
		_, _ = conn.Write([]byte("221 bye\r\n"))
	}
}

func readToDot(lines *bufio.Reader) bool {
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			return true
		}
	}
}

// connect opens a connector to a server on a port of this machine.
func connect(tb testing.TB, port int, edits ...func(*config)) *connector {
	tb.Helper()
	c := config{
		Host: "127.0.0.1", Port: port, TLS: tlsNone, Auth: authAuto, From: "Shop <shop@example.com>",
		ConnectTimeout: 5 * time.Second, Timeout: 5 * time.Second,
		MaxConnections: 4, MessagesPerConnection: 100, IdleTimeout: time.Minute,
		MaxMailBytes: 25 << 20, MaxAttachmentBytes: 1 << 20, AttachmentTimeout: 5 * time.Second,
	}
	for _, edit := range edits {
		edit(&c)
	}
	if err := validate(c); err != nil {
		tb.Fatal(err)
	}
	opened, err := open(c, "")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = opened.Close() })
	return opened
}

const (
	envelopeLines = "C: MAIL FROM:<shop@example.com>\n250 2.1.0 ok\nC: RCPT TO:<ann@example.com>\n250 2.1.5 ok\nC: DATA\n354 go\n"
	wholeMail     = envelopeLines + "C: .\n250 2.0.0 taken\n"
)

func TestConversations(t *testing.T) {
	const hello = greeting + "250-script\n250 ENHANCEDSTATUSCODES\n"
	const pipelined = greeting + "250-script\n250-PIPELINING\n250 SIZE 1000000\nC: MAIL FROM:<shop@example.com> SIZE=\nC: RCPT\nC: DATA\n"
	tests := []struct {
		name    string
		scenes  []string
		outcome sdk.Outcome
		code    string
		mails   int
	}{
		{"taken", []string{hello + wholeMail}, sdk.OutcomeAccepted, "", 1},
		{"taken in a pipeline", []string{pipelined + "250 ok\n250 ok\n354 go\nC: .\n250 ok"}, sdk.OutcomeAccepted, "", 1},
		{"HELO alone", []string{"220 old\nC: EHLO\n502 what?\nC: HELO\n250 old\n" + wholeMail}, sdk.OutcomeAccepted, "", 1},
		{"greeting refused", []string{"554 5.7.1 not you\nclose"}, sdk.OutcomeRetryable, codeRefused, 0},
		{"busy at once", []string{"421 4.3.2 busy\nclose"}, sdk.OutcomeThrottled, codeThrottled, 0},
		{"no greeting", []string{"close"}, sdk.OutcomeRetryable, codeConnectionLost, 0},
		{"lost after MAIL", []string{hello + "C: MAIL\nclose"}, sdk.OutcomeRetryable, codeConnectionLost, 0},
		{"lost after RCPT", []string{hello + "C: MAIL\n250 ok\nC: RCPT\nclose"}, sdk.OutcomeRetryable, codeConnectionLost, 0},
		{"lost after DATA", []string{hello + "C: MAIL\n250 ok\nC: RCPT\n250 ok\nC: DATA\nclose"}, sdk.OutcomeRetryable, codeConnectionLost, 0},
		{"lost after the dot", []string{hello + envelopeLines + "C: .\nclose"}, sdk.OutcomeUncertain, codeConnectionLost, 1},
		{"no such user", []string{hello + "C: MAIL\n250 ok\nC: RCPT\n550 5.1.1 no\nC: RSET\n250 ok"}, sdk.OutcomeRejected, codeInvalidRecipient, 0},
		{"no such user in a pipeline", []string{pipelined + "250 ok\n550 5.1.1 no\n554 no recipients\nC: RSET\n250 ok"}, sdk.OutcomeRejected, codeInvalidRecipient, 0},
		{"a server that wants a mail for nobody", []string{pipelined + "250 ok\n550 5.1.1 no\n354 go\nclose"}, sdk.OutcomeRejected, codeInvalidRecipient, 0},
		{"closing in a pipeline", []string{pipelined + "421 4.7.0 too many errors\nclose"}, sdk.OutcomeThrottled, codeThrottled, 0},
		{"taken with another code", []string{hello + envelopeLines + "C: .\n251 2.0.0 passed on"}, sdk.OutcomeAccepted, "", 1},
		{"neither taken nor refused", []string{hello + envelopeLines + "C: .\n354 go on"}, sdk.OutcomeUncertain, codeBadAnswer, 1},
		{"content refused", []string{hello + envelopeLines + "C: .\n554 5.7.1 spam\nC: RSET\n250 ok"}, sdk.OutcomeRejected, codeContentRejected, 1},
		{"content deferred", []string{hello + envelopeLines + "C: .\n451 4.3.0 later\nC: RSET\n250 ok"}, sdk.OutcomeRetryable, codeDeferred, 1},
		{"too large for SIZE", []string{greeting + "250-script\n250 SIZE 10\n"}, sdk.OutcomeRejected, codeTooLarge, 0},
		{"answer that is none", []string{hello + "C: MAIL\nhello?\nclose"}, sdk.OutcomeRetryable, codeConnectionLost, 0},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := play(t, test.scenes...)
			receipt, err := connect(t, server.port).Send(t.Context(), message("hi"))
			if got := sdk.OutcomeOf(err); got != test.outcome {
				t.Errorf("outcome is %s (%v), want %s", got, err, test.outcome)
			}
			if failed, ok := errors.AsType[*sdk.DeliveryError](err); ok && failed.Code != test.code {
				t.Errorf("code is %s, want %s", failed.Code, test.code)
			}
			if err == nil && receipt.ProviderID() != "msg_0Abc@example.com" {
				t.Errorf("provider id is %q", receipt.ProviderID())
			}
			if _, mails := server.counts(); mails != test.mails {
				t.Errorf("server read %d mails, want %d", mails, test.mails)
			}
		})
	}
}

// TestAsksForNotifications looks at the parameters of RFC 3461 on the wire.
func TestAsksForNotifications(t *testing.T) {
	const offers, none = greeting + "250-script\n250 DSN\n", greeting + "250 script\n"
	const rest = "250 ok\nC: DATA\n354 go\nC: .\n250 ok"
	tests := []struct{ name, dsn, scene, attempt string }{
		{"off", "off", offers + "C: MAIL FROM:<shop@example.com>\r\n250 ok\nC: RCPT TO:<ann@example.com>\r\n" + rest, "12345.2"},
		{"failure", dsnFailure, offers + "C: MAIL FROM:<shop@example.com> RET=HDRS ENVID=12345.2\r\n250 ok\nC: RCPT TO:<ann@example.com> NOTIFY=FAILURE,DELAY\r\n" + rest, "12345.2"},
		{"success", dsnSuccess, offers + "C: MAIL FROM:<shop@example.com> RET=HDRS ENVID=12345.2\r\n250 ok\nC: RCPT TO:<ann@example.com> NOTIFY=SUCCESS,FAILURE,DELAY\r\n" + rest, "12345.2"},
		{"an id that is too long", dsnFailure, offers + "C: MAIL FROM:<shop@example.com> RET=HDRS\r\n250 ok\nC: RCPT TO:<ann@example.com> NOTIFY=FAILURE,DELAY\r\n" + rest, strings.Repeat("x", 60)},
		{"a server that offers none", dsnSuccess, none + "C: MAIL FROM:<shop@example.com>\r\n250 ok\nC: RCPT TO:<ann@example.com>\r\n" + rest, "12345.2"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			server := play(t, test.scene)
			m := message("hi")
			m.AttemptID = test.attempt
			if _, err := connect(t, server.port, func(c *config) { c.DSN = test.dsn }).Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestStaleConnectionIsReplacedWithinTheAttempt(t *testing.T) {
	const hello = greeting + "250 script\n"
	endings := map[string]string{
		"closed while idle":        "close",
		"closing at the next MAIL": "C: MAIL\n421 4.4.2 idle for too long\nclose",
		"lost before the dot":      "C: MAIL\n250 ok\nC: RCPT\n250 ok\nC: DATA\nclose",
	}
	for name, ending := range endings {
		t.Run(name, func(t *testing.T) {
			server := play(t, hello+wholeMail+ending, hello+wholeMail)
			c := connect(t, server.port)
			for i := range 2 {
				if _, err := c.Send(t.Context(), message("hi")); err != nil {
					t.Fatalf("mail %d: %v", i, err)
				}
			}
			if conns, mails := server.counts(); conns != 2 || mails != 2 {
				t.Errorf("%d connections took %d mails, want 2 and 2", conns, mails)
			}
		})
	}
}

func TestLostAnswerIsNeverRepeated(t *testing.T) {
	const hello = greeting + "250 script\n"
	server := play(t, hello+wholeMail+envelopeLines+"C: .\nclose", hello+wholeMail)
	c := connect(t, server.port)
	if _, err := c.Send(t.Context(), message("one")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Send(t.Context(), message("two")); sdk.OutcomeOf(err) != sdk.OutcomeUncertain {
		t.Errorf("outcome is %v, want uncertain", err)
	}
	if conns, mails := server.counts(); conns != 1 || mails != 2 {
		t.Errorf("%d connections took %d mails: the second was repeated", conns, mails)
	}
}

func TestDeadlines(t *testing.T) {
	const hello = greeting + "250 script\n"
	short := func(c *config) { c.Timeout = 50 * time.Millisecond; c.ConnectTimeout = 50 * time.Millisecond }
	tests := []struct {
		name    string
		scene   string
		cancel  bool // by the context, not by the config
		outcome sdk.Outcome
	}{
		{"silent server", "silence", false, sdk.OutcomeRetryable},
		{"silence after MAIL", hello + "C: MAIL\nsilence", false, sdk.OutcomeRetryable},
		{"silence after the dot", hello + envelopeLines + "C: .\nsilence", false, sdk.OutcomeUncertain},
		{"context ends after MAIL", hello + "C: MAIL\nsilence", true, sdk.OutcomeRetryable},
		{"context ends after the dot", hello + envelopeLines + "C: .\nsilence", true, sdk.OutcomeUncertain},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			ctx, edit := t.Context(), short
			if test.cancel {
				deadline, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
				ctx, edit = deadline, func(*config) {}
			}
			began := time.Now()
			_, err := connect(t, play(t, test.scene).port, edit).Send(ctx, message("hi"))
			if got := sdk.OutcomeOf(err); got != test.outcome {
				t.Errorf("outcome is %s (%v), want %s", got, err, test.outcome)
			}
			if waited := time.Since(began); waited > 3*time.Second {
				t.Errorf("waited %s", waited)
			}
		})
	}
}

func TestNobodyListens(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := listener.Addr().(*net.TCPAddr).Port
	_ = listener.Close()
	c := connect(t, port)
	_, err = c.Send(t.Context(), message("hi"))
	got, _ := errors.AsType[*sdk.DeliveryError](err)
	if got == nil || got.Outcome != sdk.OutcomeRetryable || got.Code != codeConnectFailed || got.Fault != sdk.FaultProvider {
		t.Errorf("got %+v, want retryable", got)
	}
	if err := c.Check(t.Context()); err == nil || !strings.Contains(err.Error(), strconv.Itoa(port)) {
		t.Errorf("check says %v, want the address", err)
	}
}
