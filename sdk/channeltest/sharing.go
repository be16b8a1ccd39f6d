package channeltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// Bounds of a shared value, as the contract has them.
const (
	maxSharedName  = 200
	maxSharedValue = 16 << 10
	maxSharedLife  = 31 * 24 * time.Hour
	// sharedLease is for how long one asker alone is told to renew a value.
	sharedLease = 35 * time.Second
)

// sharedValues are what plugins share, kept in memory in place of a gateway's store. They outlive the processes.
type sharedValues struct {
	mu     sync.Mutex
	values map[string]*sharedValue
}

type sharedValue struct {
	value    []byte
	expires  time.Time
	leased   time.Time // until then nobody else is told to renew it
	revision int64
}

// answer does what a plugin asks for. The error says what is wrong with the question.
func (s *sharedValues) answer(question *channelv1.ShareResponse, now time.Time) (*channelv1.ShareRequest, error) {
	if err := checkQuestion(question, now); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.values == nil {
		s.values = make(map[string]*sharedValue)
	}
	v := s.values[question.GetName()]
	if v == nil {
		v = &sharedValue{}
		s.values[question.GetName()] = v
	}
	renew := false
	switch q := question.GetQuestion().(type) {
	case *channelv1.ShareResponse_Look:
		renew = v.look(now, q.Look.GetAhead().AsDuration())
	case *channelv1.ShareResponse_Keep:
		if q.Keep.GetRevision() == v.revision {
			v.value, v.expires, v.leased = q.Keep.GetValue(), q.Keep.GetExpiresAt().AsTime(), time.Time{}
		}
	case *channelv1.ShareResponse_Drop:
		if q.Drop.GetRevision() == v.revision {
			v.expires, v.leased = time.Time{}, time.Time{}
		}
	}
	out := &channelv1.ShareRequest{Id: question.GetId(), Value: v.value, Revision: v.revision, Renew: renew}
	if !v.expires.IsZero() {
		out.ExpiresAt = timestamppb.New(v.expires)
	}
	return out, nil
}

// look says whether the asker is to renew the value.
func (v *sharedValue) look(now time.Time, ahead time.Duration) bool {
	if now.Add(ahead).Before(v.expires) || now.Before(v.leased) {
		return false
	}
	v.revision++
	v.leased = now.Add(sharedLease)
	return true
}

func checkQuestion(question *channelv1.ShareResponse, now time.Time) error {
	if n := len(question.GetName()); n == 0 || n > maxSharedName {
		return fmt.Errorf("a shared value has a name of 1 to %d bytes, this one has %d", maxSharedName, n)
	}
	if question.GetQuestion() == nil {
		return fmt.Errorf("the question about %q asks nothing: want look, keep or drop", question.GetName())
	}
	k := question.GetKeep()
	switch n := len(k.GetValue()); {
	case k == nil:
		return nil
	case n == 0 || n > maxSharedValue:
		return fmt.Errorf("the shared value %q has %d bytes: want 1 to %d", question.GetName(), n, maxSharedValue)
	case k.GetExpiresAt().AsTime().After(now.Add(maxSharedLife)):
		return fmt.Errorf("the shared value %q ends at %s: want within 31 days", question.GetName(), k.GetExpiresAt().AsTime().Format(time.RFC3339))
	}
	return nil
}

// sharing is the stream over which one process asks for shared values.
type sharing struct {
	stream channelv1.ChannelService_ShareClient
	sess   *session
	ended  chan error // how the stream ended; nil: well

	mu      sync.Mutex // gRPC wants one send at a time, the closing included
	closed  bool
	wrongly error // the first question that was none
}

// openShare opens the stream, as the gateway does before it configures a connector, and answers until the stream or
// the session ends. What is wrong with it is the case's to judge that looks at it.
func (sess *session) openShare(ctx context.Context) error {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stream, err := sess.Share(ctx)
	if err != nil {
		cancel()
		return sess.saw(err)
	}
	sh := &sharing{stream: stream, sess: sess, ended: make(chan error, 1)}
	sess.sharing = sh
	answering := make(chan struct{})
	closeSession := sess.close
	sess.close = sync.OnceFunc(func() {
		cancel()
		<-answering
		closeSession()
	})
	_ = sh.send(&channelv1.ShareRequest{}) // its failure shows in Recv
	go func() {
		defer close(answering)
		sh.ended <- sh.run()
	}()
	return nil
}

// run answers one question after the other until the stream ends; a proper end is no error.
func (sh *sharing) run() error {
	for {
		question, err := sh.stream.Recv()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err //nolint:wrapcheck // its code is looked at
		}
		// A secret in it would be readable in the gateway's store.
		sh.sess.subject.output.add("shared value", string(question.GetKeep().GetValue())+"\n")
		answer, err := sh.sess.subject.shared.answer(question, time.Now())
		if err != nil {
			sh.blame(err)
			answer = &channelv1.ShareRequest{Id: question.GetId(), Error: err.Error()}
		}
		if err := sh.send(answer); err != nil {
			return err
		}
	}
}

func (sh *sharing) send(answer *channelv1.ShareRequest) error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.closed {
		return nil
	}
	return sh.stream.Send(answer) //nolint:wrapcheck // run says how the stream ended
}

func (sh *sharing) close() error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.closed = true
	return sh.stream.CloseSend() //nolint:wrapcheck // the caller says of what
}

func (sh *sharing) blame(err error) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if sh.wrongly == nil {
		sh.wrongly = err
	}
}

// fault is what was wrong with the plugin's questions.
func (sh *sharing) fault() error {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.wrongly
}
