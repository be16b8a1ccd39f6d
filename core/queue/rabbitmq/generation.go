package rabbitmq

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	// lockPause is the wait for another gateway that reads the generation at the same time.
	lockPause = 20 * time.Millisecond
	// lockTime bounds these waits together.
	lockTime = 10 * time.Second
)

// Generation is the text of a message that lies in a queue of its own, where the first gateway on an empty
// broker has put it: it lives and dies with the broker's content, over restarts of both. It is read once in
// a connection, as a broker cannot lose its content and keep its connections.
func (q *Queue) Generation(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, lockTime)
	defer cancel()
	s, err := q.outgoing.current()
	if err != nil {
		return "", fmt.Errorf("read the generation: %w", err)
	}
	select {
	case s.reading <- struct{}{}:
		defer func() { <-s.reading }()
	case <-ctx.Done():
		return "", fmt.Errorf("read the generation: %w", ctx.Err())
	}
	return s.readGeneration(ctx)
}

func (s *session) readGeneration(ctx context.Context) (string, error) {
	s.mu.Lock()
	known := s.generation
	s.mu.Unlock()
	if known != "" {
		return known, nil
	}
	if _, err := s.accepts(); err != nil { // it needs a publish
		return "", fmt.Errorf("read the generation: %w", err)
	}
	for ctx.Err() == nil {
		var text string
		err := s.do(ctx, "read the generation", func(ch *amqp.Channel) (err error) {
			if err = s.ensure(""); err == nil {
				text, err = s.exchangeMarker(ctx, ch)
			}
			return err
		})
		if err == nil {
			s.mu.Lock()
			s.generation = text
			s.mu.Unlock()
			return text, nil
		}
		if code(err) != amqp.ResourceLocked {
			return "", err
		}
		sleep(ctx, lockPause)
	}
	return "", fmt.Errorf("read the generation, which another gateway is reading: %w", ctx.Err())
}

// exchangeMarker takes the marker and puts its like in its place. To give it back instead would count
// towards a delivery limit, which RabbitMQ 4 sets on every quorum queue. An exclusive queue is the lock: it
// goes with the connection that declared it, whatever becomes of the gateway. ResourceLocked says that
// another one has it.
func (s *session) exchangeMarker(ctx context.Context, ch *amqp.Channel) (string, error) {
	marker := s.topology.marker()
	lock := marker + ".lock"
	if _, err := ch.QueueDeclare(lock, false, false, true, false, amqp.Table{amqp.QueueTypeArg: string(Classic)}); err != nil {
		return "", err
	}
	defer ch.QueueDelete(lock, false, false, false) //nolint:errcheck // it goes with the connection at the latest
	text, last, err := takeMarkers(ch, marker)
	if err != nil {
		return "", err
	}
	if text == "" {
		text = rand.Text()
	}
	if err := s.putMarker(ctx, ch, marker, text); err != nil || last == 0 {
		return text, err
	}
	return text, ch.Ack(last, true)
}

// takeMarkers returns the oldest marker and the delivery tag of the last. There may be several, of one text
// or two, if a gateway died over this; they become one again.
func takeMarkers(ch *amqp.Channel, marker string) (text string, last uint64, err error) {
	for {
		m, found, err := ch.Get(marker, false)
		if err != nil || !found {
			return text, last, err
		}
		if last == 0 {
			text = string(m.Body)
		}
		last = m.DeliveryTag
	}
}

func (s *session) putMarker(ctx context.Context, ch *amqp.Channel, marker, text string) error {
	if err := ch.Confirm(false); err != nil {
		return err
	}
	c, err := ch.PublishWithDeferredConfirm(s.topology.exchange(), marker, true, false, amqp.Publishing{
		ContentType: "text/plain", DeliveryMode: amqp.Persistent, Body: []byte(text),
	})
	if err != nil {
		return err
	}
	acked, err := c.WaitContext(ctx)
	if err == nil && !acked {
		err = errors.New("the broker did not take the marker")
	}
	return err
}
