package channeltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// The optional parts of the contract: what a plugin describes it must serve.

// closeTimeout is how long a plugin may take to end a stream that the gateway has closed.
const closeTimeout = 10 * time.Second

// able starts the plugin with a connector and skips the case if it does not describe the capability.
func (s *Subject) able(ctx context.Context, capability string, has func(*channelv1.Capabilities) bool) (*session, error) {
	sess, err := s.ready(ctx)
	if err != nil {
		return nil, err
	}
	if !has(sess.about.GetCapabilities()) {
		sess.close()
		return nil, skipf("the plugin does not describe the capability %s", capability)
	}
	return sess, nil
}

// unserved names the fault of a method that is described and not there.
func unserved(capability, method string, err error) error {
	if status.Code(err) == codes.Unimplemented {
		return fmt.Errorf("the plugin describes the capability %s and does not serve %s: %w", capability, method, err)
	}
	return nil
}

// strayRequests are what finds any address on the internet. None of them is a provider's.
func strayRequests() []*channelv1.HandleCallbackRequest {
	kind := func(contentType string) []*channelv1.Header {
		return []*channelv1.Header{{Name: "Content-Type", Values: []string{contentType}}}
	}
	return []*channelv1.HandleCallbackRequest{
		{Method: "POST", Path: "/", Headers: kind("application/json"), Body: []byte("\x00\xff{")},
		{Method: "POST", Path: "/channeltest", Headers: kind("application/json"), Body: []byte(`{"channeltest": [1, null]}`)},
		{Method: "POST", Path: "/", Headers: kind("application/x-www-form-urlencoded"), Body: []byte("channeltest=%zz&a")},
		{Method: "GET", Path: "/", Query: "channeltest=%zz"},
	}
}

func callback(ctx context.Context, s *Subject) error {
	sess, err := s.able(ctx, "callback", (*channelv1.Capabilities).GetCallback)
	if err != nil {
		return err
	}
	defer sess.close()
	for _, r := range strayRequests() {
		r.Connector, r.RemoteAddr, r.Url = sess.connector, "192.0.2.1:50000", sess.callbackURL()
		if err := sess.stray(ctx, r); err != nil {
			return fmt.Errorf("call HandleCallback with %s %s and %q, which no provider sends: %w", r.GetMethod(), r.GetPath(), r.GetBody(), err)
		}
	}
	return nil
}

// stray wants a request that nobody signed answered, and without effect.
func (sess *session) stray(ctx context.Context, r *channelv1.HandleCallbackRequest) error {
	answer, err := sess.HandleCallback(ctx, r)
	if err != nil {
		if missing := unserved("callback", "HandleCallback", err); missing != nil {
			return missing
		}
		return sess.saw(fmt.Errorf("want an answer, such as status 400 or 401: %w", err))
	}
	sess.heard(answer)
	if code := answer.GetStatus(); code != 0 && (code < 200 || code > 599) {
		return fmt.Errorf("the answer has the status %d", code)
	}
	if n := len(answer.GetEvents().GetReceipts()) + len(answer.GetEvents().GetInbound()); n > 0 {
		return fmt.Errorf("it brought %d events, the first of %v", n, answer.GetEvents())
	}
	return nil
}

func query(ctx context.Context, s *Subject) error {
	sess, err := s.able(ctx, "query", (*channelv1.Capabilities).GetQuery)
	if err != nil {
		return err
	}
	defer sess.close()
	never := sess.items(1)[0]
	answer, err := sess.Query(ctx, &channelv1.QueryRequest{Connector: sess.connector, Items: []*channelv1.QueryItem{{
		AttemptId: never.GetAttemptId(), MessageId: never.GetMessageId(), IdempotencyKey: never.GetIdempotencyKey(),
		Recipient: never.GetRecipient(), SentAt: timestamppb.New(time.Now().Add(-time.Minute)),
	}}})
	if err != nil {
		if missing := unserved("query", "Query", err); missing != nil {
			return missing
		}
		s.Note("the provider of the suite could not be asked: %v", sess.saw(err))
		return nil
	}
	sess.heard(answer)
	for i, r := range answer.GetResults() {
		switch {
		case r.GetAttemptId() != never.GetAttemptId() || i > 0:
			return fmt.Errorf("call Query about attempt %s: it answers about %s, or twice", never.GetAttemptId(), r.GetAttemptId())
		case r.GetOutcome() == channelv1.Outcome_OUTCOME_UNSPECIFIED:
			return fmt.Errorf("call Query about attempt %s: the result has no outcome", never.GetAttemptId())
		case r.GetOutcome() == channelv1.Outcome_OUTCOME_ACCEPTED:
			return fmt.Errorf("call Query about attempt %s, which was never made: it is accepted", never.GetAttemptId())
		}
	}
	return nil
}

func receive(ctx context.Context, s *Subject) error {
	sess, err := s.able(ctx, "receive", (*channelv1.Capabilities).GetReceive)
	if err != nil {
		return err
	}
	defer sess.close()
	for _, when := range []string{"the first time", "opened again"} {
		if err := sess.receiveOnce(ctx); err != nil {
			return fmt.Errorf("call Receive, %s: %w", when, err)
		}
	}
	return nil
}

// receiveOnce opens a stream, acknowledges what comes while a message is sent, and closes it.
func (sess *session) receiveOnce(ctx context.Context) error {
	stream, err := sess.Receive(ctx)
	if err != nil {
		return sess.saw(err)
	}
	events := &receiving{stream: stream, sess: sess}
	if err := events.acknowledge(0); err != nil {
		return sess.saw(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- events.run() }() // ends with the stream, at the latest with the session
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return err
	}
	return sess.closes(ended, events.close, "receive", "Receive")
}

// closes wants a stream that is open still, and that ends well once the gateway closes its side.
func (sess *session) closes(ended <-chan error, closeSide func() error, capability, method string) error {
	select {
	case err := <-ended:
		if missing := unserved(capability, method, err); missing != nil {
			return missing
		}
		return fmt.Errorf("the stream ended before the gateway closed it: %w", orEnd(err))
	default:
	}
	if err := closeSide(); err != nil {
		return sess.saw(err)
	}
	select {
	case err := <-ended:
		if missing := unserved(capability, method, err); missing != nil {
			return missing
		}
		if err != nil {
			return sess.saw(fmt.Errorf("the gateway closed its side, and the stream ended with an error: %w", err))
		}
		return nil
	case <-time.After(closeTimeout):
		return fmt.Errorf("the stream goes on %s after the gateway closed its side", closeTimeout)
	}
}

func orEnd(err error) error {
	if err == nil {
		return io.EOF
	}
	return err
}

// receiving is a Receive stream, whose events are acknowledged and go nowhere.
type receiving struct {
	stream channelv1.ChannelService_ReceiveClient
	sess   *session

	mu     sync.Mutex // gRPC wants one send at a time, the closing included
	closed bool
}

func (r *receiving) acknowledge(sequence int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil
	}
	return r.stream.Send(&channelv1.ReceiveRequest{Ack: sequence}) //nolint:wrapcheck // the caller says of what
}

func (r *receiving) close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	return r.stream.CloseSend() //nolint:wrapcheck // the caller says of what
}

// run reads until the stream ends; a proper end is no error.
func (r *receiving) run() error {
	for last := int64(0); ; {
		batch, err := r.stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err //nolint:wrapcheck // its code is looked at
		case batch.GetSequence() != last+1:
			return fmt.Errorf("a batch of events has the number %d after %d", batch.GetSequence(), last)
		case batch.GetConnector() != r.sess.connector:
			return fmt.Errorf("a batch of events is of the connector %q, which there is not", batch.GetConnector())
		}
		last = batch.GetSequence()
		r.sess.heard(batch)
		if err := r.acknowledge(last); err != nil {
			return err
		}
	}
}

// share proves that two processes of a plugin can share values through the gateway, as an old and a new version do.
func share(ctx context.Context, s *Subject) error {
	sess, err := s.able(ctx, "share", (*channelv1.Capabilities).GetShare)
	if err != nil {
		return err
	}
	defer sess.close()
	if err := sess.shares(ctx); err != nil {
		return err
	}
	successor, err := s.ready(ctx)
	if err != nil {
		return fmt.Errorf("a second process: %w", err)
	}
	defer successor.close()
	if err := successor.shares(ctx); err != nil {
		return fmt.Errorf("a second process: %w", err)
	}
	if err := successor.openShare(ctx); err != nil {
		return fmt.Errorf("call Share, opened again: %w", err)
	}
	return successor.shares(ctx)
}

// shares sends a message, for which the plugin may ask for a value, and closes the stream.
func (sess *session) shares(ctx context.Context) error {
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return err
	}
	if err := sess.closes(sess.sharing.ended, sess.sharing.close, "share", "Share"); err != nil {
		return fmt.Errorf("call Share: %w", err)
	}
	return sess.sharing.fault()
}
