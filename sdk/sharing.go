package sdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// shareWait is how long a process that a gateway has started waits for it to open the stream. An older gateway
	// never does: values are then kept in the process.
	shareWait = 2 * time.Second
	// shareLease is for how long the process itself asks nobody else to renew a value.
	shareLease = fetchTimeout
	// dropTimeout bounds the word that a value is not good.
	dropTimeout = 5 * time.Second
)

// share is a shared value as it is now, or is to be.
type share struct {
	value    []byte
	expires  time.Time
	revision int64
	renew    bool // the asker is to
}

type shareStream = grpc.BidiStreamingServer[channelv1.ShareRequest, channelv1.ShareResponse]

// sharing asks the gateway for values, or keeps them itself where there is no gateway to ask.
type sharing struct {
	attached broadcast

	mu       sync.Mutex
	expected bool // a gateway has started the process
	alone    bool // it does not open the stream
	asker    *asker
	local    map[string]*localShare
}

// localShare is a value that the process keeps.
type localShare struct {
	share
	leased time.Time
}

func newSharing() *sharing { return &sharing{} }

// expect says that a gateway will open the stream.
func (s *sharing) expect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expected = true
}

// look returns a value, or the word to renew it.
func (s *sharing) look(ctx context.Context, name string, ahead time.Duration) (share, error) {
	a, err := s.reach(ctx)
	if err != nil || a == nil {
		return s.lookHere(name, ahead, time.Now()), err
	}
	return a.ask(ctx, &channelv1.ShareResponse{
		Name: name, Question: &channelv1.ShareResponse_Look{Look: &channelv1.ShareLook{Ahead: durationpb.New(ahead)}},
	})
}

// keep hands on a new value. That it could not be is no error of who fetched it: it is good, and others fetch their own.
func (s *sharing) keep(ctx context.Context, name string, v share) {
	s.tell(ctx, func() { s.keepHere(name, v) }, &channelv1.ShareResponse{
		Name: name, Question: &channelv1.ShareResponse_Keep{Keep: &channelv1.ShareKeep{
			Value: v.value, ExpiresAt: timestamppb.New(v.expires), Revision: v.revision,
		}},
	})
}

// drop says that a value is not good, or could not be renewed.
func (s *sharing) drop(ctx context.Context, name string, revision int64) {
	s.tell(ctx, func() { s.dropHere(name, revision) }, &channelv1.ShareResponse{
		Name: name, Question: &channelv1.ShareResponse_Drop{Drop: &channelv1.ShareDrop{Revision: revision}},
	})
}

func (s *sharing) tell(ctx context.Context, here func(), question *channelv1.ShareResponse) {
	ctx, cancel := context.WithTimeout(ctx, dropTimeout)
	defer cancel()
	a, err := s.reach(ctx)
	if err != nil || a == nil {
		here()
		return
	}
	_, _ = a.ask(ctx, question) // see keep: the lease ends by itself
}

// reach returns who to ask, or nil where the process is on its own.
func (s *sharing) reach(ctx context.Context) (*asker, error) {
	ctx, cancel := context.WithTimeout(ctx, shareWait)
	defer cancel()
	for {
		changed := s.attached.wait()
		s.mu.Lock()
		a, alone, known := s.asker, s.alone || !s.expected, s.asker != nil
		s.mu.Unlock()
		if known || alone {
			return a, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				s.goAlone()
				return nil, nil
			}
			return nil, ctx.Err()
		}
	}
}

func (s *sharing) goAlone() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.alone = true
}

// attach makes a stream the one that questions go over.
func (s *sharing) attach(a *asker) {
	s.mu.Lock()
	former := s.asker
	s.asker, s.alone = a, false
	s.mu.Unlock()
	if former != nil {
		former.end(errors.New("another stream has taken over"))
	}
	s.attached.notify()
}

func (s *sharing) detach(a *asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asker == a {
		s.asker = nil
	}
}

func (s *sharing) lookHere(name string, ahead time.Duration, now time.Time) share {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.local == nil {
		s.local = map[string]*localShare{}
	}
	l := s.local[name]
	if l == nil {
		l = &localShare{}
		s.local[name] = l
	}
	if !now.Add(ahead).Before(l.expires) && !now.Before(l.leased) {
		l.revision++
		l.leased = now.Add(shareLease)
		told := l.share
		told.renew = true
		return told
	}
	return l.share
}

func (s *sharing) keepHere(name string, v share) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.local[name]; l != nil && l.revision == v.revision {
		l.value, l.expires, l.leased = v.value, v.expires, time.Time{}
	}
}

func (s *sharing) dropHere(name string, revision int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.local[name]; l != nil && l.revision == revision {
		l.expires, l.leased = time.Time{}, time.Time{}
	}
}

// asker asks questions over one stream.
type asker struct {
	stream shareStream
	ended  chan struct{}

	send sync.Mutex // one Send at a time

	mu      sync.Mutex
	lastID  int64
	waiting map[int64]chan *channelv1.ShareRequest
	err     error
}

// ask sends a question and waits for its answer.
func (a *asker) ask(ctx context.Context, question *channelv1.ShareResponse) (share, error) {
	answered := make(chan *channelv1.ShareRequest, 1)
	a.mu.Lock()
	a.lastID++
	question.Id = a.lastID
	a.waiting[question.GetId()] = answered
	a.mu.Unlock()
	defer func() {
		a.mu.Lock()
		delete(a.waiting, question.GetId())
		a.mu.Unlock()
	}()
	a.send.Lock()
	err := a.stream.Send(question)
	a.send.Unlock()
	if err != nil {
		return share{}, err //nolint:wrapcheck // a gRPC status
	}
	select {
	case answer := <-answered:
		if answer.GetError() != "" {
			return share{}, errors.New(answer.GetError())
		}
		return share{
			value: answer.GetValue(), expires: answer.GetExpiresAt().AsTime(), revision: answer.GetRevision(), renew: answer.GetRenew(),
		}, nil
	case <-a.ended:
		a.mu.Lock()
		defer a.mu.Unlock()
		return share{}, a.err
	case <-ctx.Done():
		return share{}, ctx.Err() //nolint:wrapcheck // the caller says what it was about
	}
}

// read hands answers to those who asked, until the stream ends.
func (a *asker) read() {
	for {
		answer, err := a.stream.Recv()
		if err != nil {
			a.end(err)
			return
		}
		a.mu.Lock()
		answered := a.waiting[answer.GetId()]
		delete(a.waiting, answer.GetId())
		a.mu.Unlock()
		if answered != nil {
			answered <- answer
		}
	}
}

func (a *asker) end(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.err = err
		close(a.ended)
	}
}

// Share asks the gateway what the plugin wants to know of shared values.
func (s *Server) Share(stream shareStream) error {
	if _, err := stream.Recv(); err != nil {
		return endOfStream(err)
	}
	a := &asker{stream: stream, ended: make(chan struct{}), waiting: map[int64]chan *channelv1.ShareRequest{}}
	go a.read() // ends with the stream, after us
	s.shares.attach(a)
	defer s.shares.detach(a)
	select {
	case <-a.ended:
		a.mu.Lock()
		defer a.mu.Unlock()
		return endOfStream(a.err)
	case <-s.drained:
		return status.Error(codes.Unavailable, "the plugin has drained")
	}
}
