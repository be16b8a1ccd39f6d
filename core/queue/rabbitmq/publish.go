package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

const (
	// publishers is how many Publish calls work at the same time; others wait for their turn.
	publishers = 4
	// window is how many envelopes of one call are under way without a confirm. It decides the speed, as a
	// quorum queue confirms what came together after one write to disk.
	window = 1000
	// publishTime bounds a Publish whose context does not.
	publishTime = 10 * time.Second
)

// job is what one Publish asks for. The publisher owns it; the caller may have gone.
type job struct {
	letters []letter
	done    chan error // has room for the one value it gets
}

// letter is an envelope, written and addressed.
type letter struct {
	channel, key string
	body         []byte
}

// Publish returns once the broker has confirmed every envelope, or with an error after which all are
// unknown. It publishes none, and returns a queue.ChannelError, if the lanes of one of their channels cannot be used. While there is no connection, or the broker has a memory or disk alarm, it fails at once with
// core.KindUnavailable. It waits until ctx ends, for ten seconds at most if ctx has no deadline.
func (q *Queue) Publish(ctx context.Context, envelopes []core.Envelope) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish envelopes: %w", err)
	}
	letters, err := q.write(envelopes)
	if err != nil {
		return err
	}
	if !q.begin() {
		return queue.ErrClosed
	}
	defer q.publishing.Done()
	for i := range envelopes {
		q.know(envelopes[i].Channel)
	}
	return q.deliver(ctx, letters)
}

// write checks and encodes: a publish with one bad envelope publishes none.
func (q *Queue) write(envelopes []core.Envelope) ([]letter, error) {
	letters := make([]letter, len(envelopes))
	for i := range envelopes {
		e := &envelopes[i]
		err := queue.Check(e)
		if err == nil {
			err = q.topology.check(e.Channel)
		}
		if err != nil {
			return nil, fmt.Errorf("publish envelope %d: %w", e.ID, err)
		}
		letters[i] = letter{channel: e.Channel, key: q.topology.lane(e.Channel, e.Lane), body: encode(e)}
	}
	return letters, nil
}

// deliver hands letters to a publisher and waits for what comes of it.
func (q *Queue) deliver(ctx context.Context, letters []letter) error {
	if len(letters) == 0 {
		return nil
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, publishTime)
		defer cancel()
	}
	s, err := q.outgoing.current()
	if err != nil {
		return fmt.Errorf("publish %d envelopes: %w", len(letters), err)
	}
	if err := s.publish(ctx, letters); err != nil {
		return fmt.Errorf("publish %d envelopes: %w", len(letters), err)
	}
	return nil
}

// publish waits for a publisher, and then for the confirms, as long as that makes sense.
func (s *session) publish(ctx context.Context, letters []letter) error {
	j := &job{letters: letters, done: make(chan error, 1)}
	blocked, err := s.accepts()
	if err != nil {
		return err
	}
	jobs := s.jobs
	for {
		select {
		case jobs <- j:
			jobs = nil
		case err := <-j.done:
			return s.explain(err)
		case <-blocked:
			if blocked, err = s.accepts(); err != nil { // nil: it is over already
				return err
			}
		case <-s.down:
			return fmt.Errorf("unknown whether the broker has them: %w", s.lost())
		case <-ctx.Done():
			return fmt.Errorf("no confirm in time, unknown whether the broker has them: %w", ctx.Err())
		}
	}
}

// startPublishers makes the session one that can publish.
func (s *session) startPublishers() {
	for range publishers {
		s.spawn(func() {
			p := publisher{session: s}
			for {
				select {
				case j := <-s.jobs:
					j.done <- p.run(j.letters)
				case <-s.down:
					return
				}
			}
		})
	}
}

// publisher works on one job at a time with an AMQP channel in confirm mode. The library's calls cannot be
// interrupted: one that hangs while the broker is blocked holds up the publisher, never a caller.
type publisher struct {
	session *session
	ch      *amqp.Channel
	returns chan amqp.Return // has room for a whole window; the library fills it before it confirms
}

// run publishes letters with up to a window of them under way, and waits for all.
func (p *publisher) run(letters []letter) error {
	if err := p.prepare(letters); err != nil {
		return err
	}
	var failed error
	confirms := make([]*amqp.DeferredConfirmation, 0, len(letters))
	for i := range letters {
		if i >= window {
			failed = cmp.Or(failed, p.confirmed(confirms[i-window]))
		}
		c, err := p.ch.PublishWithDeferredConfirm(p.session.topology.exchange(), letters[i].key, true, false, amqp.Publishing{
			ContentType: "application/vnd.pigeonry.envelope", DeliveryMode: amqp.Persistent, Body: letters[i].body,
		})
		if err != nil {
			return err
		}
		confirms = append(confirms, c)
	}
	for _, c := range confirms[max(0, len(confirms)-window):] {
		failed = cmp.Or(failed, p.confirmed(c))
	}
	return failed
}

// prepare declares the lanes that are new and opens the AMQP channel, if there is none or the broker closed it.
func (p *publisher) prepare(letters []letter) error {
	last := ""
	for i := range letters {
		if letters[i].channel != last {
			if err := p.session.ensure(letters[i].channel); err != nil {
				return err
			}
			last = letters[i].channel
		}
	}
	if p.ch != nil && !p.ch.IsClosed() {
		return nil
	}
	ch, err := p.session.conn.Channel()
	if err != nil {
		return err
	}
	if err := ch.Confirm(false); err != nil {
		return err
	}
	p.ch, p.returns = ch, ch.NotifyReturn(make(chan amqp.Return, window))
	return nil
}

// confirmed waits for the fate of one letter. The library ends the wait when the channel or the connection
// ends; down is there in case it does not.
func (p *publisher) confirmed(c *amqp.DeferredConfirmation) error {
	select {
	case <-c.Done():
	case <-p.session.down:
		return p.session.lost()
	}
	err := p.returned()
	if err == nil && !c.Acked() {
		p.session.forget() // perhaps the exchange is gone
		err = errors.New("the broker refused an envelope or closed the channel")
	}
	return err
}

// returned tells of letters that the broker confirmed although no queue took them: somebody has deleted it.
func (p *publisher) returned() (err error) {
	for {
		select {
		case r, ok := <-p.returns:
			if !ok {
				return err
			}
			p.session.forget()
			err = fmt.Errorf("queue %q is missing (%s); the next publish declares it again", r.RoutingKey, r.ReplyText)
		default:
			return err
		}
	}
}
