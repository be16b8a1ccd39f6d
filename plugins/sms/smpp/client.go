package smpp

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"
)

// Client says how to reach an SMSC and what to do with what it sends.
type Client struct {
	// Addr is host:port of the SMSC.
	Addr string
	// TLS, when set, encrypts the connection. An empty ServerName is taken from Addr.
	TLS *tls.Config
	// Bind is the mode and the credentials.
	Bind Bind
	// Deliver takes a deliver_sm, or a data_sm in the same form. Only StatusOK makes the SMSC
	// forget the message; StatusTemporaryAppError makes it repeat it. ctx ends with the session.
	// When nil, deliveries are answered StatusTemporaryAppError.
	Deliver func(ctx context.Context, s *Session, m *ShortMessage) Status
	// Options are the limits and times.
	Options Options
}

// Dial connects and binds; ctx bounds both. A refused bind is a *StatusError, a connection that
// could not be made the error of net. The session lives on after ctx, until it is closed.
func Dial(ctx context.Context, c Client) (*Session, error) {
	conn, err := c.connect(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", c.Addr, err)
	}
	s, err := Open(ctx, conn, c)
	if err != nil {
		return nil, fmt.Errorf("bind to %s: %w", c.Addr, err)
	}
	return s, nil
}

func (c Client) connect(ctx context.Context) (net.Conn, error) {
	if c.TLS == nil {
		return (&net.Dialer{}).DialContext(ctx, "tcp", c.Addr)
	}
	return (&tls.Dialer{Config: c.TLS}).DialContext(ctx, "tcp", c.Addr)
}

// Open binds over a connection made before; Addr and TLS are not used. It closes conn when the
// bind fails.
func Open(ctx context.Context, conn net.Conn, c Client) (*Session, error) {
	options := c.Options.withDefaults()
	reader := NewReader(conn, options.MaxPDU)
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	peer, err := handshake(conn, reader, &c.Bind)
	if !stop() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		if cause := context.Cause(ctx); cause != nil {
			return nil, cause
		}
		return nil, err
	}
	s := newSession(endpoint{
		conn: conn, reader: reader, bind: c.Bind, peer: peer, options: options,
		busy: StatusTemporaryAppError, serve: c.serve,
	})
	s.start()
	return s, nil
}

// handshake sends the bind and waits for its answer; what else the SMSC sends before is skipped.
func handshake(conn net.Conn, reader *Reader, bind *Bind) (peer string, err error) {
	const sequence = 1
	command := bind.Mode.command()
	frame, err := PDU{Command: command, Sequence: sequence, Body: bind}.Append(nil)
	if err != nil {
		return "", err
	}
	if _, err := conn.Write(frame); err != nil {
		return "", err
	}
	for {
		p, err := reader.Next()
		if err != nil {
			return "", fmt.Errorf("await %s: %w", command.Response(), err)
		}
		if p.Sequence != sequence || !p.Command.IsResponse() {
			continue
		}
		if _, err := checkAnswer(command, p); err != nil {
			return "", err
		}
		answer, err := bodyOf[*BindResp](p)
		if err != nil {
			return "", err
		}
		return answer.SystemID, nil
	}
}

func (c Client) serve(ctx context.Context, s *Session, p PDU) (Body, Status) {
	var m *ShortMessage
	switch body := p.Body.(type) {
	case *ShortMessage:
		m = body
	case *Data:
		m = body.ShortMessage()
	}
	if m == nil || p.Command == SubmitSM {
		return nil, StatusInvCmdID
	}
	if c.Deliver == nil {
		return &MessageResp{}, StatusTemporaryAppError
	}
	return &MessageResp{}, c.Deliver(ctx, s, m)
}
