package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail/smtp"
)

const (
	// probeTimeout bounds the question whether a connection that lay idle is still there.
	probeTimeout = 5 * time.Second
	// goodbyeTimeout bounds the end of a connection: nothing depends on it.
	goodbyeTimeout = time.Second
)

// session is one connection to the server, logged in. One goroutine uses it at a time.
type session struct {
	conn   net.Conn // below TLS: deadlines go here
	client *smtp.Client
	config *config

	// What the server announced.
	pipelining, utf8, announcesSize, dsn bool
	maxSize                              int64 // 0 for no bound

	sent      int // mails begun
	idleSince time.Time
}

// dial connects, secures the connection and logs in.
func dial(ctx context.Context, c *config) (*session, error) {
	ctx, cancel := context.WithTimeout(ctx, c.ConnectTimeout)
	defer cancel()
	address := net.JoinHostPort(c.Host, strconv.Itoa(c.Port))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fail(stageConnect, err)
	}
	s := &session{conn: conn, config: c}
	release := s.bound(ctx, c.ConnectTimeout)
	defer release()
	if err := s.open(ctx); err != nil {
		_ = conn.Close() // what matters is why it could not be opened
		return nil, err
	}
	return s, nil
}

// bound ends all waiting on the connection at a timeout, at the context's deadline, or when the
// context ends. The caller calls release once, before the next bound: after it, the context has no
// more hold on the connection.
func (s *session) bound(ctx context.Context, timeout time.Duration) (release func()) {
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	_ = s.conn.SetDeadline(deadline) // fails only on a closed connection, which the next use finds out
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(done)
		_ = s.conn.SetDeadline(time.Unix(1, 0))
	})
	return func() {
		if !stop() {
			<-done
		}
	}
}

// open greets, secures and logs in.
func (s *session) open(ctx context.Context) error {
	mode, conn := s.config.tlsMode(), s.conn
	if mode == tlsImplicit {
		secured := tls.Client(s.conn, s.config.tlsConfig())
		if err := secured.HandshakeContext(ctx); err != nil {
			return tlsFailure(err)
		}
		conn = secured
	}
	client, err := smtp.NewClient(conn, s.config.Host)
	if err != nil {
		return fail(stageGreet, err)
	}
	s.client = client
	if err := client.Hello(s.helo()); err != nil {
		return fail(stageGreet, err)
	}
	if err := s.startTLS(mode); err != nil {
		return err
	}
	if s.config.Username != "" {
		if err := s.login(); err != nil {
			return err
		}
	}
	s.pipelining, _ = client.Extension("PIPELINING")
	s.utf8, _ = client.Extension("SMTPUTF8")
	s.dsn, _ = client.Extension("DSN")
	var size string
	s.announcesSize, size = client.Extension("SIZE")
	s.maxSize, _ = strconv.ParseInt(size, 10, 64) // empty or odd: no bound is known
	return nil
}

// helo is how this machine calls itself: by its address where it has no name (RFC 5321 section 4.1.3).
func (s *session) helo() string {
	if s.config.Helo != "" {
		return s.config.Helo
	}
	host, _, err := net.SplitHostPort(s.conn.LocalAddr().String())
	ip := net.ParseIP(host)
	switch {
	case err != nil || ip == nil:
		return "localhost"
	case ip.To4() == nil:
		return "[IPv6:" + host + "]"
	default:
		return "[" + host + "]"
	}
}

// startTLS secures the connection if the mode asks for it and the server offers it.
func (s *session) startTLS(mode string) error {
	if mode == tlsNone || mode == tlsImplicit {
		return nil
	}
	offered, _ := s.client.Extension("STARTTLS")
	if !offered {
		if mode == tlsStartTLS {
			err := errors.New(`the server offers no STARTTLS, which tls = "starttls" asks for`)
			return &failure{stage: stageTLS, err: err, setup: true}
		}
		return nil
	}
	if err := s.client.StartTLS(s.config.tlsConfig()); err != nil {
		return tlsFailure(err)
	}
	return nil
}

// tlsFailure tells a certificate that nobody vouches for, which waits for people, from a network
// that failed.
func tlsFailure(err error) error {
	f := fail(stageTLS, err)
	if _, bad := errors.AsType[*tls.CertificateVerificationError](err); bad {
		f.setup = true
		f.err = fmt.Errorf("%w; see tls_ca and tls_server_name", err)
	}
	return f
}

// login uses the configured mechanism.
func (s *session) login() error {
	_, offered := s.client.Extension("AUTH")
	_, secure := s.client.TLSConnectionState()
	auth, err := s.config.mechanism(strings.Fields(offered), secure)
	if err != nil {
		return &failure{stage: stageLogin, err: err, setup: true}
	}
	if err := s.client.Auth(auth); err != nil {
		return fail(stageLogin, err)
	}
	return nil
}

// alive asks whether a connection that lay idle is still of use.
func (s *session) alive(ctx context.Context) bool {
	release := s.bound(ctx, probeTimeout)
	defer release()
	return s.client.Noop() == nil
}

// send hands over one mail and returns the server's answer.
func (s *session) send(ctx context.Context, l *letter) (string, error) {
	if s.maxSize > 0 && int64(len(l.raw)) > s.maxSize {
		return "", unfit("message_too_large", fmt.Sprintf("the server takes %d bytes, the mail has %d", s.maxSize, len(l.raw)))
	}
	if l.utf8 && !s.utf8 {
		return "", unfit("invalid_recipient", "the server takes no address beyond ASCII (SMTPUTF8)")
	}
	s.sent++
	if err := s.envelope(ctx, l); err != nil {
		return "", err
	}
	return s.content(ctx, l)
}

// content sends the mail itself and awaits the answer that ends it.
func (s *session) content(ctx context.Context, l *letter) (string, error) {
	release := s.bound(ctx, 2*s.config.Timeout)
	defer release()
	text := s.client.Text
	content := text.DotWriter()
	_, err := content.Write(l.raw)
	// The dot goes out with Close. If that fails, its last byte was never handed to the system.
	if err = errors.Join(err, content.Close()); err != nil {
		return "", fail(stageContent, err)
	}
	code, answer, err := text.ReadResponse(2) // any of them is success (RFC 5321 section 4.2.1)
	if err != nil {
		f := fail(stageAnswer, err)
		f.hangUp = code < 400 // nobody knows what it waits for
		return "", f
	}
	return answer, nil
}

// command is one line of the envelope and the answer it wants.
type command struct {
	stage  stage
	line   string
	expect int // code, or its first digits
}

// envelope sends MAIL, RCPT and DATA: in one go where the server takes that (RFC 2920).
func (s *session) envelope(ctx context.Context, l *letter) error {
	release := s.bound(ctx, s.config.Timeout)
	defer release()
	mail := "MAIL FROM:<" + l.from + ">"
	if s.announcesSize {
		mail += " SIZE=" + strconv.Itoa(len(l.raw))
	}
	if l.utf8 {
		mail += " SMTPUTF8"
	}
	rcpt := "RCPT TO:<" + l.to + ">"
	if s.dsn {
		m, r := s.config.notices(l)
		mail, rcpt = mail+m, rcpt+r
	}
	commands := []command{{stageMail, mail, 250}, {stageRcpt, rcpt, 25}, {stageData, "DATA", 354}}
	if s.pipelining {
		return s.pipeline(commands)
	}
	for _, c := range commands {
		if err := s.client.Text.PrintfLine("%s", c.line); err != nil {
			return fail(c.stage, err)
		}
		if _, _, err := s.client.Text.ReadResponse(c.expect); err != nil {
			return fail(c.stage, err)
		}
	}
	return nil
}

// notices are the parameters of MAIL and RCPT that ask for notifications (RFC 3461 section 4).
func (c *config) notices(l *letter) (mail, rcpt string) {
	if c.DSN != dsnFailure && c.DSN != dsnSuccess {
		return "", ""
	}
	mail, rcpt = " RET=HDRS", " NOTIFY=FAILURE,DELAY"
	if len(l.envelopeID) <= maxEnvelopeID {
		mail += " ENVID=" + l.envelopeID
	}
	if c.DSN == dsnSuccess {
		rcpt = " NOTIFY=SUCCESS,FAILURE,DELAY"
	}
	return mail, rcpt
}

// maxEnvelopeID is the bound of RFC 3461 section 4.4.
const maxEnvelopeID = 100

// pipeline sends all commands at once and reads their answers. The first refusal counts; those that
// follow are its consequences.
func (s *session) pipeline(commands []command) error {
	text := s.client.Text
	for _, c := range commands {
		_, _ = text.W.WriteString(c.line + "\r\n") // bufio keeps the error for Flush
	}
	if err := text.W.Flush(); err != nil {
		return fail(stageMail, err)
	}
	var refused *failure
	for _, c := range commands {
		_, _, err := text.ReadResponse(c.expect)
		f := fail(c.stage, err)
		switch {
		case err == nil && refused != nil && c.stage == stageData:
			// The server waits for a mail though it refused the envelope: hanging up is the one way
			// to send nothing.
			refused.hangUp = true
		case err != nil && refused == nil:
			refused = f
		}
		if err != nil && f.broken() {
			break
		}
	}
	if refused != nil {
		return refused
	}
	return nil
}

// reset makes a connection ready for the next mail after a refusal.
func (s *session) reset(ctx context.Context) bool {
	release := s.bound(ctx, probeTimeout)
	defer release()
	return s.client.Reset() == nil
}

// close says goodbye and does not wait long for an answer.
func (s *session) close() {
	_ = s.conn.SetDeadline(time.Now().Add(goodbyeTimeout))
	_ = s.client.Quit()
	_ = s.conn.Close()
}
