package smpp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Server is an SMSC: it accepts binds and hands what clients submit to its handlers. Set the fields
// before Serve and leave them alone afterwards.
type Server struct {
	// SystemID is the name given in bind responses, up to 15 octets.
	SystemID string
	// Authenticate decides about a bind: StatusOK lets it in, StatusInvPassword,
	// StatusInvSystemID, StatusAlreadyBound and StatusBindFailed refuse it. nil lets everyone in.
	Authenticate func(ctx context.Context, b Bind) Status
	// Submit takes a submit_sm, or a data_sm in the same form, and gives the message id, up to 64
	// octets. With any other status than StatusOK the id is not sent; with NoAnswer nothing is. ctx
	// ends with the session. Handlers run concurrently, up to Options.MaxHandlers a session.
	Submit func(ctx context.Context, s *Session, m *ShortMessage) (id string, status Status)
	// Query answers query_sm. nil: the command is not served.
	Query func(ctx context.Context, s *Session, q *Query) (*QueryResp, Status)
	// Bound is called when a session is ready, before any of its submits is handled; the session
	// can be used to Deliver from then on. It must not block. nil: nothing is called.
	Bound func(s *Session)
	// Unbound is called once a session has ended; s.Err tells why.
	Unbound func(s *Session)
	// BindTimeout is how long a connection may take to bind. Default 10 s.
	BindTimeout time.Duration
	// Options are the limits and times of the sessions.
	Options Options

	mu        sync.Mutex
	stopped   bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{}
	sessions  map[*Session]struct{}
	wg        sync.WaitGroup
}

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("smpp: server closed")

// Serve accepts connections until Shutdown or Close, then returns ErrServerClosed. It closes the
// listener. Several listeners, with TLS and without, may be served at once.
func (srv *Server) Serve(listener net.Listener) error {
	defer listener.Close()
	if !srv.enter(func() { srv.listeners[listener] = struct{}{} }) {
		return ErrServerClosed
	}
	for {
		conn, err := listener.Accept()
		if err != nil {
			if srv.isStopped() {
				return ErrServerClosed
			}
			return fmt.Errorf("accept: %w", err)
		}
		srv.ServeConn(conn)
	}
}

// ServeConn serves one connection in the background.
func (srv *Server) ServeConn(conn net.Conn) {
	ok := srv.enter(func() {
		srv.conns[conn] = struct{}{}
		srv.wg.Go(func() { srv.serveConn(conn) })
	})
	if !ok {
		conn.Close()
	}
}

// Sessions are the sessions bound now.
func (srv *Server) Sessions() []*Session {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	all := make([]*Session, 0, len(srv.sessions))
	for s := range srv.sessions {
		all = append(all, s)
	}
	return all
}

// Shutdown stops accepting, unbinds every session and waits for all; when ctx ends before, the rest
// is cut off and its error returned.
func (srv *Server) Shutdown(ctx context.Context) error {
	srv.stop()
	var unbinds sync.WaitGroup
	for _, s := range srv.Sessions() {
		unbinds.Go(func() { _ = s.Unbind(ctx) })
	}
	unbinds.Wait()
	err := context.Cause(ctx)
	srv.Close()
	return err
}

// Close cuts every connection off and waits until their handlers have returned.
func (srv *Server) Close() {
	srv.stop()
	srv.mu.Lock()
	for conn := range srv.conns {
		conn.Close()
	}
	srv.mu.Unlock()
	srv.wg.Wait()
}

// enter runs add under the lock unless the server has stopped.
func (srv *Server) enter(add func()) bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopped {
		return false
	}
	if srv.conns == nil {
		srv.listeners = make(map[net.Listener]struct{})
		srv.conns = make(map[net.Conn]struct{})
		srv.sessions = make(map[*Session]struct{})
	}
	add()
	return true
}

func (srv *Server) stop() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.stopped = true
	for l := range srv.listeners {
		l.Close()
	}
	clear(srv.listeners)
}

func (srv *Server) isStopped() bool {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	return srv.stopped
}

// serveConn binds a connection and stays until its session has ended.
func (srv *Server) serveConn(conn net.Conn) {
	defer func() {
		conn.Close()
		srv.mu.Lock()
		delete(srv.conns, conn)
		srv.mu.Unlock()
	}()
	options := srv.Options.withDefaults()
	reader := NewReader(conn, options.MaxPDU)
	bind, err := srv.awaitBind(conn, reader)
	if err != nil {
		return
	}
	s := newSession(endpoint{
		conn: conn, reader: reader, bind: bind, options: options,
		busy: StatusThrottled, serve: srv.serve,
	})
	if !srv.enter(func() { srv.sessions[s] = struct{}{} }) {
		return
	}
	if srv.Bound != nil {
		srv.Bound(s)
	}
	s.start()
	<-s.Done()
	s.Close()
	srv.mu.Lock()
	delete(srv.sessions, s)
	srv.mu.Unlock()
	if srv.Unbound != nil {
		srv.Unbound(s)
	}
}

// awaitBind reads until a bind is let in. Other requests before it are refused, section 2.2.
func (srv *Server) awaitBind(conn net.Conn, reader *Reader) (Bind, error) {
	timeout := srv.BindTimeout
	if timeout <= 0 {
		timeout = 10 * time.Second
	}
	if err := conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return Bind{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	for {
		p, err := reader.Next()
		if err != nil {
			return Bind{}, err
		}
		bind, ok := p.Body.(*Bind)
		if !ok {
			answer := PDU{Command: p.Command.Response(), Status: StatusInvBindStatus, Sequence: p.Sequence}
			if err := writePDU(conn, answer); err != nil {
				return Bind{}, err
			}
			continue
		}
		status := StatusOK
		if srv.Authenticate != nil {
			status = srv.Authenticate(ctx, *bind)
		}
		answer := PDU{
			Command: p.Command.Response(), Status: status, Sequence: p.Sequence,
			Body: &BindResp{SystemID: srv.SystemID},
		}
		if err := writePDU(conn, answer); err != nil {
			return Bind{}, err
		}
		if status != StatusOK {
			return Bind{}, &StatusError{Command: p.Command, Status: status}
		}
		return *bind, conn.SetDeadline(time.Time{})
	}
}

func writePDU(conn net.Conn, p PDU) error {
	frame, err := p.Append(nil)
	if err != nil {
		return err
	}
	_, err = conn.Write(frame)
	return err
}

func (srv *Server) serve(ctx context.Context, s *Session, p PDU) (Body, Status) {
	switch body := p.Body.(type) {
	case *ShortMessage:
		if p.Command == SubmitSM {
			return srv.submit(ctx, s, body)
		}
	case *Data:
		return srv.submit(ctx, s, body.ShortMessage())
	case *Query:
		if srv.Query != nil {
			answer, status := srv.Query(ctx, s, body)
			if answer == nil {
				answer = &QueryResp{}
			}
			return answer, status
		}
	case *Bind:
		return &BindResp{}, StatusAlreadyBound
	}
	return nil, StatusInvCmdID
}

func (srv *Server) submit(ctx context.Context, s *Session, m *ShortMessage) (Body, Status) {
	if s.Mode() == Receiver {
		return &MessageResp{}, StatusInvBindStatus
	}
	if srv.Submit == nil {
		return &MessageResp{}, StatusSysErr
	}
	id, status := srv.Submit(ctx, s, m)
	if status != StatusOK {
		return &MessageResp{}, status
	}
	return &MessageResp{MessageID: id}, status
}
