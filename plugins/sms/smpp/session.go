package smpp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Options are the limits and times of a session. The zero value of each field means its default.
type Options struct {
	// Window is how many requests of this side may await their answer at once. Default 10.
	Window int
	// ResponseTimeout is how long an answer may take. Default 10 s.
	ResponseTimeout time.Duration
	// EnquireLink is after how much silence of the peer enquire_link is sent. Default 30 s;
	// negative: never.
	EnquireLink time.Duration
	// MaxPDU is the longest PDU taken, in octets. Default DefaultMaxPDU.
	MaxPDU int
	// MaxHandlers is how many requests of the peer may be in their handlers at once. Those above
	// are answered StatusThrottled by a server, StatusTemporaryAppError by a client: the peer
	// repeats them. Default 256.
	MaxHandlers int
}

func (o Options) withDefaults() Options {
	if o.Window <= 0 {
		o.Window = 10
	}
	if o.ResponseTimeout <= 0 {
		o.ResponseTimeout = 10 * time.Second
	}
	if o.EnquireLink == 0 {
		o.EnquireLink = 30 * time.Second
	}
	if o.MaxHandlers <= 0 {
		o.MaxHandlers = 256
	}
	return o
}

// Session is one bound connection, of either side. Its methods are safe for concurrent use.
//
// Four goroutines work for it until Close: one reads, one writes, one watches the link, one awaits
// the end; and one more for each request of the peer that is in its handler, at most
// Options.MaxHandlers.
type Session struct {
	endpoint

	window   window
	out      chan outgoing
	handlers chan struct{} // a slot for each handler running
	nudge    chan struct{} // asks the watch to enquire now
	heard    atomic.Int64  // when the peer last sent anything, in ns after began
	began    time.Time

	mu       sync.Mutex
	sequence uint32
	requests map[uint32]*request
	err      error // why the session ended

	done      chan struct{}
	unbinding atomic.Bool // no new request begins
	parting   atomic.Bool // we have sent unbind: the peer may close
	wg        sync.WaitGroup
}

// outgoing is one frame on its way to the writer.
type outgoing struct {
	frame   []byte
	request *request // nil for responses
	last    error    // when set, the session ends for this reason once the frame is written
}

// endpoint is what client and server give a new session.
type endpoint struct {
	conn    net.Conn
	reader  *Reader // may hold octets read behind the bind
	bind    Bind
	peer    string
	options Options
	busy    Status // answer to requests above Options.MaxHandlers
	// serve answers one request of the peer. A nil body, for a command that has one, means that
	// the command is not served.
	serve func(ctx context.Context, s *Session, p PDU) (Body, Status)
}

// newSession makes the session of a bound connection. It does nothing until start.
func newSession(e endpoint) *Session {
	return &Session{
		endpoint: e,
		window:   window{size: e.options.Window},
		out:      make(chan outgoing, 64),
		handlers: make(chan struct{}, e.options.MaxHandlers),
		nudge:    make(chan struct{}, 1),
		began:    time.Now(),
		requests: make(map[uint32]*request),
		done:     make(chan struct{}),
	}
}

// start runs the session, unless it has ended already: whoever closes it waits for what runs by then. The context it makes
// ends with the session.
func (s *Session) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	s.wg.Go(func() {
		<-s.done
		cancel()
	})
	s.wg.Go(func() { s.readLoop(ctx) })
	s.wg.Go(s.writeLoop)
	s.wg.Go(func() { s.watchLoop(ctx) })
}

// SystemID is the name that the client bound with.
func (s *Session) SystemID() string { return s.bind.SystemID }

// Peer is the system_id that the SMSC gave itself; empty on the side of the server.
func (s *Session) Peer() string { return s.peer }

// Mode tells what the bind allows.
func (s *Session) Mode() Mode { return s.bind.Mode }

// RemoteAddr is the network address of the peer.
func (s *Session) RemoteAddr() net.Addr { return s.conn.RemoteAddr() }

// Done is closed when the session has ended; Err then tells why.
func (s *Session) Done() <-chan struct{} { return s.done }

// Err is nil while the session lives, then why it ended: ErrClosed, ErrPeerUnbound, ErrLinkDead,
// io.EOF, or what broke the connection.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Load is how many requests of this side are under way or wait for a slot of the window.
func (s *Session) Load() int { return s.window.load() }

// SetWindow changes Options.Window, at least 1, of the running session. A smaller window takes
// effect as requests finish.
func (s *Session) SetWindow(n int) { s.window.resize(n) }

// Submit sends submit_sm and gives the message id of the SMSC. See Request for the errors.
func (s *Session) Submit(ctx context.Context, m *ShortMessage) (id string, err error) {
	if s.bind.Mode == Receiver {
		return "", notSent(SubmitSM, ErrWrongMode)
	}
	answer, err := ask[*MessageResp](ctx, s, SubmitSM, m)
	if err != nil {
		return "", err
	}
	return answer.MessageID, nil
}

// Deliver sends deliver_sm and waits until the client took it. A client that could not store it
// answers StatusTemporaryAppError, and the SMSC should repeat it later.
func (s *Session) Deliver(ctx context.Context, m *ShortMessage) error {
	if s.bind.Mode == Transmitter {
		return notSent(DeliverSM, ErrWrongMode)
	}
	_, err := s.Request(ctx, DeliverSM, m)
	return err
}

// Query sends query_sm.
func (s *Session) Query(ctx context.Context, q *Query) (*QueryResp, error) {
	if s.bind.Mode == Receiver {
		return nil, notSent(QuerySM, ErrWrongMode)
	}
	return ask[*QueryResp](ctx, s, QuerySM, q)
}

// EnquireLink asks whether the peer is there and waits for its answer.
func (s *Session) EnquireLink(ctx context.Context) error {
	_, err := s.roundTrip(ctx, EnquireLink, nil)
	return err
}

// Unbind ends the session in good order: no new request begins, those under way get their answers,
// then unbind is sent and answered, then the connection is closed. When ctx ends before, the rest is
// left out and its error returned. The session is closed in every case.
func (s *Session) Unbind(ctx context.Context) error {
	s.unbinding.Store(true)
	defer s.Close()
	if err := s.drain(ctx); err != nil {
		return fmt.Errorf("unbind: await answers: %w", err)
	}
	s.parting.Store(true)
	if _, err := s.roundTrip(ctx, Unbind, nil); err != nil && s.Err() == nil {
		return fmt.Errorf("unbind: %w", err)
	}
	return nil
}

// drain waits until nothing is under way, or the session has ended. A window of one slot makes the
// slot free only when all requests before are done.
func (s *Session) drain(ctx context.Context) error {
	s.window.resize(1)
	for s.window.load() > 0 && s.Err() == nil {
		err := s.window.take(ctx, s.done)
		if err == nil {
			s.window.give()
		} else if s.Err() == nil {
			return err
		}
	}
	return nil
}

// Close ends the session at once and waits for its goroutines, handlers included. Requests under
// way end with ErrNoResponse, or ErrNotSent if they had not begun. It must not be called
// from a handler: see Abort.
func (s *Session) Close() {
	s.end(ErrClosed)
	s.wg.Wait()
}

// Abort ends the session at once and waits for nothing.
func (s *Session) Abort() { s.end(ErrClosed) }

// end closes the connection; only the first reason counts.
func (s *Session) end(reason error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return
	}
	s.err = reason
	close(s.done)
	s.conn.Close()
}

func (s *Session) readLoop(ctx context.Context) {
	for {
		p, err := s.reader.Next()
		var malformed *DecodeError
		var frame *FrameError
		switch {
		case err == nil, errors.As(err, &malformed):
			s.heard.Store(int64(time.Since(s.began)))
			if p.Command == Unbind {
				s.unbinding.Store(true)
				s.respond(PDU{Command: UnbindResp, Sequence: p.Sequence}, ErrPeerUnbound)
				return // Nothing may follow but the end, which the writer sets.
			}
			s.receive(ctx, p, malformed)
		case errors.As(err, &frame):
			nack := PDU{Command: GenericNack, Status: StatusInvCmdLen}
			s.respond(nack, fmt.Errorf("read: %w", err))
			return
		default:
			s.end(s.readError(err))
			return
		}
	}
}

func (s *Session) readError(err error) error {
	switch {
	case s.parting.Load():
		return ErrClosed
	case errors.Is(err, io.EOF):
		return io.EOF
	}
	return fmt.Errorf("read: %w", err)
}

// receive takes one PDU: an answer goes to its request, link management is answered at once, other
// requests go to a handler of their own. It never waits for a handler.
func (s *Session) receive(ctx context.Context, p PDU, malformed *DecodeError) {
	answer := PDU{Command: p.Command.Response(), Sequence: p.Sequence}
	switch {
	case p.Command.IsResponse():
		s.answered(p)
	case malformed != nil:
		answer.Status, answer.Body = malformed.Status, newBody(answer.Command)
		s.respond(answer, nil)
	case p.Command == EnquireLink:
		s.respond(answer, nil)
	default:
		s.dispatch(ctx, p)
	}
}

// dispatch runs the handler of one request of the peer.
func (s *Session) dispatch(ctx context.Context, p PDU) {
	answer := PDU{Command: p.Command.Response(), Sequence: p.Sequence}
	select {
	case s.handlers <- struct{}{}:
	default:
		answer.Status, answer.Body = s.busy, newBody(answer.Command)
		s.respond(answer, nil)
		return
	}
	s.wg.Go(func() {
		defer func() { <-s.handlers }()
		body, status := s.serve(ctx, s, p)
		if status == NoAnswer {
			return
		}
		if body == nil && newBody(answer.Command) != nil { // Nobody serves this command.
			answer.Command = GenericNack
		}
		answer.Status, answer.Body = status, body
		s.respond(answer, nil)
	})
}

// respond hands a response to the writer. last ends the session once it is written.
func (s *Session) respond(p PDU, last error) {
	frame, err := p.Append(nil)
	if err != nil { // A handler's fault, e.g. a message id of 100 octets.
		p.Status, p.Body = StatusSysErr, newBody(p.Command)
		frame, _ = p.Append(nil)
	}
	_ = s.enqueue(context.Background(), outgoing{frame: frame, last: last})
}

func (s *Session) enqueue(ctx context.Context, o outgoing) error {
	select {
	case <-s.done:
		return s.Err()
	default:
	}
	select {
	case s.out <- o:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.done:
		return s.Err()
	}
}
