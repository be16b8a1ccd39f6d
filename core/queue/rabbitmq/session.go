package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

const (
	// farewellTime is how long the broker has to answer to the end of a connection.
	farewellTime = 2 * time.Second
	// refusalAge is how long a channel whose lanes the broker refused is not asked for again.
	refusalAge = 2 * time.Second
)

// session is one connection from login to loss. What happens in it never touches the next one.
type session struct {
	conn     *amqp.Connection
	topology *topology
	down     chan struct{} // closed when the connection is lost or closed
	jobs     chan *job     // for the publishers, if the session has any

	reading chan struct{} // holds a token while the generation is read

	mu         sync.Mutex
	ended      bool // no more tasks
	cause      error
	alarm      string                 // why the broker blocks publishers; empty: it does not
	blocked    chan struct{}          // closed while it does
	declared   map[string]declaration // by channel; "" is what every gateway needs
	generation string                 // empty: to be read

	declaring sync.Mutex // one declaration at a time

	tasks sync.WaitGroup
}

// declaration is what the broker said to the lanes of a channel.
type declaration struct {
	at      time.Time
	refusal error // nil: they are there
}

// holds says whether there is no need to declare again.
func (d declaration) holds() bool {
	return !d.at.IsZero() && (d.refusal == nil || time.Since(d.at) < refusalAge)
}

// newSession watches a fresh connection and declares what every gateway needs.
func newSession(conn *amqp.Connection, t *topology) (*session, error) {
	s := &session{
		conn: conn, topology: t, down: make(chan struct{}), jobs: make(chan *job), reading: make(chan struct{}, 1),
		blocked: make(chan struct{}), declared: map[string]declaration{},
	}
	closes := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocks := conn.NotifyBlocked(make(chan amqp.Blocking, 16))
	s.tasks.Go(func() { s.watch(closes, blocks) })
	if err := s.ensure(""); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// watch notes alarms until the connection ends.
func (s *session) watch(closes <-chan *amqp.Error, blocks <-chan amqp.Blocking) {
	for {
		select {
		case b, ok := <-blocks:
			if !ok {
				blocks = nil
				continue
			}
			s.setAlarm(b)
		case e := <-closes:
			s.mu.Lock()
			s.cause = errors.New("it was closed")
			if e != nil {
				s.cause = e
			}
			s.mu.Unlock()
			close(s.down)
			return
		}
	}
}

func (s *session) setAlarm(b amqp.Blocking) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case b.Active && s.alarm == "":
		s.alarm = "for a reason that it does not tell"
		if b.Reason != "" {
			s.alarm = b.Reason
		}
		close(s.blocked)
	case !b.Active && s.alarm != "":
		s.alarm, s.blocked = "", make(chan struct{})
	}
}

// accepts returns an error while the broker takes no publishes, and a channel that is closed when it stops to.
func (s *session) accepts() (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alarm == "" {
		return s.blocked, nil
	}
	return nil, core.Errorf(core.KindUnavailable, "RabbitMQ at %s takes no envelopes now: %s; free memory or disk there",
		s.topology.address, s.alarm)
}

// lost is the error for whoever needs the session after its end.
func (s *session) lost() error { return unavailable(s.topology.address, s.reason()) }

// reason is why the session ended.
func (s *session) reason() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cause
}

// explain tells the loss of the connection from what the broker said.
func (s *session) explain(err error) error {
	if err != nil && (s.isDown() || errors.Is(err, amqp.ErrClosed)) {
		return s.lost()
	}
	return err
}

// unavailable says that there is no connection, and why.
func unavailable(address string, cause error) error {
	e := core.Errorf(core.KindUnavailable, "no connection to RabbitMQ at %s; trying again", address)
	e.Cause = cause
	return e
}

// isDown says whether the session is over.
func (s *session) isDown() bool {
	select {
	case <-s.down:
		return true
	default:
		return false
	}
}

// spawn runs a task that close waits for. It says whether it does: no task begins after close.
func (s *session) spawn(task func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false
	}
	s.tasks.Go(task)
	return true
}

// do runs a dialogue with the broker on an AMQP channel of its own. When ctx ends first the caller goes, and
// the dialogue ends by itself or with the connection: the library cannot interrupt it.
func (s *session) do(ctx context.Context, what string, dialogue func(*amqp.Channel) error) error {
	done := make(chan error, 1)
	if !s.spawn(func() { done <- s.onChannel(dialogue) }) {
		return fmt.Errorf("%s: %w", what, s.lost())
	}
	select {
	case err := <-done:
		if err != nil {
			return fmt.Errorf("%s: %w", what, s.explain(err))
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s: %w", what, ctx.Err())
	}
}

func (s *session) onChannel(dialogue func(*amqp.Channel) error) error {
	ch, err := s.conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close() //nolint:errcheck // one that is in error is closed already
	return dialogue(ch)
}

// ensure declares the lanes of a channel, once in a session, and what every gateway needs. It returns a
// queue.ChannelError if the broker refuses the lanes: those of other channels can be used all the same.
func (s *session) ensure(channel string) error {
	s.declaring.Lock()
	defer s.declaring.Unlock()
	for _, c := range []string{"", channel} {
		s.mu.Lock()
		last := s.declared[c]
		s.mu.Unlock()
		err := last.refusal
		if !last.holds() {
			err = s.declare(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// declare asks the broker for the lanes of a channel, or for what every gateway needs, and notes what it says.
func (s *session) declare(channel string) error {
	err := s.onChannel(func(ch *amqp.Channel) error {
		if channel == "" {
			return s.topology.declare(ch)
		}
		return s.topology.declareChannel(ch, channel)
	})
	if channel != "" && refused(err) {
		err = &queue.ChannelError{Channel: channel, Err: err}
	} else if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.declared[channel] = declaration{at: time.Now(), refusal: err}
	return err
}

// forget makes the next publish, subscription and look at the generation begin from nothing: somebody has
// deleted something.
func (s *session) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.declared)
	s.generation = ""
}

// close ends the connection and what runs in it.
func (s *session) close() {
	s.mu.Lock()
	s.ended = true
	s.mu.Unlock()
	_ = s.conn.CloseDeadline(time.Now().Add(farewellTime)) // a lost one is closed already
	s.tasks.Wait()
}
