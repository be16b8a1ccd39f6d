package sdk

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// stopReceiveTimeout bounds the wait for a Receive whose ctx has ended.
	stopReceiveTimeout = 5 * time.Second
	// Pauses between a failed Receive and the next one, with full jitter.
	receivePause    = 200 * time.Millisecond
	maxReceivePause = 30 * time.Second
)

type receiveStream = grpc.BidiStreamingServer[channelv1.ReceiveRequest, channelv1.ReceiveResponse]

// Receive streams events to the gateway and takes its acknowledgements. The first stream starts the
// Receivers of all connectors. They keep running when a stream breaks, and the next stream gets what
// was not acknowledged; the gateway ends them by closing its side (half-close) or by draining.
func (s *Server) Receive(stream receiveStream) error {
	if _, err := stream.Recv(); err != nil {
		return endOfStream(err)
	}
	l := s.inbox.attach()
	defer s.inbox.detach(l)
	acks := make(chan error, 1) // buffered: the reader ends with the stream, after us
	go func() { acks <- s.readAcks(stream, l) }()
	if !s.gate.closed() {
		for _, c := range s.currentConnectors() {
			s.startReceiver(c)
		}
	}
	for {
		for d := s.inbox.next(l); d != nil; d = s.inbox.next(l) {
			if err := stream.Send(d); err != nil {
				return err //nolint:wrapcheck // a gRPC status
			}
		}
		select {
		case <-l.wake:
		case <-s.drained:
			return nil // Receive has ended for good
		case <-l.replaced:
			return status.Error(codes.Aborted, "another Receive stream has taken over")
		case err := <-acks:
			if errors.Is(err, io.EOF) {
				s.inbox.stopListening(l)
				s.stopReceivers()
			}
			return endOfStream(err)
		}
	}
}

func (s *Server) readAcks(stream receiveStream, l *listener) error {
	for {
		req, err := stream.Recv()
		if err != nil {
			return err //nolint:wrapcheck // a gRPC status or io.EOF
		}
		s.inbox.ack(l, req.GetAck())
	}
}

func endOfStream(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// receiving is a running Receive.
type receiving struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// startReceiver runs the connector's Receive unless it has none, runs already, nobody listens or the
// connector is on its way out.
func (s *Server) startReceiver(c *connector) {
	receiver, ok := c.sender.(Receiver)
	if !ok || !s.inbox.isListening() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.retired || c.receiver != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.context(s.ctx, c.id, c.health))
	r := &receiving{cancel: cancel, done: make(chan struct{})}
	c.receiver = r
	s.background.Go(func() {
		defer close(r.done)
		defer cancel()
		s.receiveForever(ctx, c, receiver)
	})
}

// errReceiveEnded: Receive runs until its ctx ends, so whoever returns earlier has lost what it received from.
var errReceiveEnded = errors.New("Receive returned without an error before its ctx had ended")

// receiveForever calls Receive again whenever it returns, with growing pauses.
func (s *Server) receiveForever(ctx context.Context, c *connector, receiver Receiver) {
	emit := func(ctx context.Context, events Events) error {
		return s.inbox.emit(ctx, c.id, protoEvents(events, s.redact.clean))
	}
	pause := receivePause
	for ctx.Err() == nil {
		began := time.Now()
		err := s.guard("Receive", func() error { return receiver.Receive(ctx, emit) })
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			err = errReceiveEnded
		}
		text := s.redact.clean(err.Error())
		s.log.Warn("receive", "connector", c.id, "error", text)
		c.health.setReceiver(condition{Degraded, "receiving failed: " + abbreviate(text, maxErrorText)})
		if time.Since(began) > maxReceivePause {
			pause = receivePause // it had been well for a while
		}
		if !sleep(ctx, rand.N(pause)+time.Millisecond) {
			return
		}
		pause = min(2*pause, maxReceivePause)
		c.health.setReceiver(condition{state: Serving})
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// stopReceivers ends the Receive of every connector.
func (s *Server) stopReceivers() {
	for _, c := range s.currentConnectors() {
		c.stopReceiver(s.ctx)
	}
}
