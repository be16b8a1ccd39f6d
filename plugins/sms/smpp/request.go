package smpp

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// request is one request of this side until its answer.
type request struct {
	command Command
	stage   atomic.Int32
	answer  chan PDU // buffered: the reader never waits for the requester
}

// Stages of a request. Whoever moves it out of stageQueued, the writer or a requester that gives
// up, decides whether it was sent.
const (
	stageQueued int32 = iota
	stageWritten
	stageUnsent
)

// Request sends one request and waits for its answer. It is the general form of Submit, Deliver
// and Query. The error wraps ErrNotSent, ErrNoResponse or is a *StatusError.
func (s *Session) Request(ctx context.Context, command Command, body Body) (PDU, error) {
	if err := s.window.take(ctx, s.done); err != nil {
		return PDU{}, notSent(command, s.reason(err))
	}
	defer s.window.give()
	if s.unbinding.Load() {
		return PDU{}, notSent(command, s.reason(ErrClosed))
	}
	return s.roundTrip(ctx, command, body)
}

// roundTrip does a request outside the window, as enquire_link and unbind go.
func (s *Session) roundTrip(ctx context.Context, command Command, body Body) (PDU, error) {
	r := &request{command: command, answer: make(chan PDU, 1)}
	sequence := s.register(r)
	defer s.forget(sequence)
	frame, err := PDU{Command: command, Sequence: sequence, Body: body}.Append(nil)
	if err != nil {
		return PDU{}, fmt.Errorf("%s: %w: %w", command, ErrNotSent, err)
	}
	if err := s.enqueue(ctx, outgoing{frame: frame, request: r}); err != nil {
		return PDU{}, notSent(command, err)
	}
	return s.await(ctx, r)
}

func (s *Session) await(ctx context.Context, r *request) (PDU, error) {
	timer := time.NewTimer(s.options.ResponseTimeout)
	defer timer.Stop()
	var cause error
	select {
	case p := <-r.answer:
		return checkAnswer(r.command, p)
	case <-timer.C:
		cause = fmt.Errorf("timeout after %s", s.options.ResponseTimeout)
		s.suspect() // Is the peer there at all?
	case <-ctx.Done():
		cause = context.Cause(ctx)
	case <-s.done:
		cause = s.Err()
	}
	select {
	case p := <-r.answer: // It came at the same moment.
		return checkAnswer(r.command, p)
	default:
	}
	if r.stage.CompareAndSwap(stageQueued, stageUnsent) || r.stage.Load() == stageUnsent {
		return PDU{}, notSent(r.command, cause)
	}
	return PDU{}, fmt.Errorf("%s: %w: %w", r.command, ErrNoResponse, cause)
}

func checkAnswer(command Command, p PDU) (PDU, error) {
	if p.Status != StatusOK {
		return p, &StatusError{Command: command, Status: p.Status}
	}
	if p.Command != command.Response() {
		return p, fmt.Errorf("%s: %w: the peer answered %s", command, ErrNoResponse, p.Command)
	}
	return p, nil
}

// ask is Request for answers with a body of type B. An answer that could not be decoded has none.
func ask[B Body](ctx context.Context, s *Session, command Command, body Body) (answer B, err error) {
	p, err := s.Request(ctx, command, body)
	if err != nil {
		return answer, err
	}
	return bodyOf[B](p)
}

func bodyOf[B Body](p PDU) (body B, err error) {
	body, ok := p.Body.(B)
	if !ok {
		return body, fmt.Errorf("%w: %s cannot be decoded", ErrNoResponse, p.Command)
	}
	return body, nil
}

func notSent(command Command, cause error) error {
	return fmt.Errorf("%s: %w: %w", command, ErrNotSent, cause)
}

// register gives the request a sequence number that no other one under way has. They run from 1 to
// 0x7FFFFFFF and start over (section 3.2).
func (s *Session) register(r *request) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		s.sequence = s.sequence%maxSequence + 1
		if _, taken := s.requests[s.sequence]; !taken {
			s.requests[s.sequence] = r
			return s.sequence
		}
	}
}

func (s *Session) forget(sequence uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.requests, sequence)
}

// answered hands a response to its request. One that nobody waits for came too late and is dropped.
func (s *Session) answered(p PDU) {
	s.mu.Lock()
	r := s.requests[p.Sequence]
	delete(s.requests, p.Sequence)
	s.mu.Unlock()
	if r != nil {
		r.answer <- p
	}
}

// reason is the session's end when it has ended, else err.
func (s *Session) reason(err error) error {
	if cause := s.Err(); cause != nil {
		return cause
	}
	return err
}
