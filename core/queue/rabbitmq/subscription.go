package rabbitmq

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core/queue"
)

// reviewEvery is how often a subscription looks at what it has fetched ahead. Envelopes that nobody
// receives for so long are somebody else's.
const reviewEvery = time.Second

// subscription takes envelopes of one channel. It lives through lost connections with one intake after the
// other.
type subscription struct {
	queue   *Queue
	channel string

	ctx     context.Context //nolint:containedctx // ends with Close
	cancel  context.CancelFunc
	keeping sync.WaitGroup // keep

	mu      sync.Mutex
	closed  bool
	intake  *intake       // nil while there is no connection
	waiting int           // receives
	arrived chan struct{} // closed and replaced when a receive that waits should look again
	asked   bool          // somebody has received, or waited, since the last review
}

func newSubscription(q *Queue, channel string) *subscription {
	s := &subscription{queue: q, channel: channel, arrived: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Receive takes the next envelope, or waits for it, through lost connections too.
func (s *subscription) Receive(ctx context.Context) (queue.Received, error) {
	for {
		if err := ctx.Err(); err != nil {
			return queue.Received{}, fmt.Errorf("receive envelope: %w", err)
		}
		d, arrived, err := s.takeOrWait()
		if d != nil {
			return queue.Received{Envelope: d.envelope, Ack: d.ack, Return: d.giveBack}, nil
		}
		if err != nil {
			return queue.Received{}, err
		}
		select {
		case <-arrived:
		case <-ctx.Done():
		}
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}
}

// takeOrWait returns a delivery, or counts the caller as waiting and returns what tells it to look again.
func (s *subscription) takeOrWait() (*delivery, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, queue.ErrClosed
	}
	s.asked = true
	if s.intake != nil {
		if d := s.intake.next(); d != nil {
			return d, nil, nil
		}
		s.intake.hunger()
	}
	s.waiting++
	return nil, s.arrived, nil
}

// wake makes the receives that wait look again. It needs the mutex.
func (s *subscription) wake() {
	if s.waiting > 0 {
		close(s.arrived)
		s.arrived = make(chan struct{})
	}
}

// start begins to keep the subscription; the queue has counted it in.
func (s *subscription) start(in *intake) {
	s.attach(in)
	go func() {
		defer s.keeping.Done()
		s.keep(in)
	}()
}

// keep replaces an intake that is lost, until Close.
func (s *subscription) keep(in *intake) {
	for in != nil {
		in.keep()
		s.attach(nil)
		in.close()
		in = s.reopen()
	}
	s.queue.disown(s)
}

// attach makes an intake the one that is received from. What the last one held is the broker's again.
func (s *subscription) attach(in *intake) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intake = in
	s.wake()
}

// reopen returns a new intake as soon as there can be one, or nil after Close.
func (s *subscription) reopen() *intake {
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		session := s.queue.incoming.wait(s.ctx)
		if session == nil {
			return nil
		}
		in, err := s.open(session)
		if err == nil {
			s.attach(in)
			return in
		}
		if !session.isDown() {
			s.queue.logger.ErrorContext(s.ctx, "rabbitmq: cannot take envelopes; trying again", "channel", s.channel, "error", err)
		}
		sleep(s.ctx, pause)
	}
}

// unacked counts what was received or fetched ahead, by lane.
func (s *subscription) unacked() (n [4]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.intake != nil {
		for i := range s.intake.lanes {
			n[i] = s.intake.lanes[i].unacked
		}
	}
	return n
}

// Close ends those who wait in Receive. The broker hands what is held to others.
func (s *subscription) Close() error {
	s.mu.Lock()
	s.closed = true
	s.wake()
	s.mu.Unlock()
	s.cancel()
	s.keeping.Wait()
	return nil
}
