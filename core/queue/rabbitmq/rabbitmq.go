// Package rabbitmq keeps the dispatch index on a RabbitMQ broker, 3.10 or newer, shared by any number of
// gateways: a durable queue for each lane of each channel, quorum by default.
//
// Publishing and consuming have a connection each, so that a broker that stops its publishers still hands
// out work. Both come back by themselves. What a lost connection leaves unknown is published again by the
// relay; what was held comes back from the broker; the claim absorbs the doubles.
//
// Goroutines: one for each link keeps its connection, one watches each connection, four publish, one keeps
// each subscription and one reads for each consumer. Close ends and awaits them all.
package rabbitmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// DefaultPrefetch is the default of Options.Prefetch.
const DefaultPrefetch = 2

// Options of a queue.
type Options struct {
	// URL of the broker: amqp://user:password@host:5672/vhost, or amqps:// for TLS. Its query may name
	// cacertfile, certfile, keyfile, heartbeat (seconds) and more, see amqp091-go's ParseURI.
	URL string
	// Type of the queues on the broker; default Quorum. All gateways of a broker must have the same.
	Type Type
	// Prefix goes before every name on the broker, for several installations on one vhost.
	Prefix string
	// Prefetch is how many envelopes of the low lane a subscription begins to fetch ahead; of the others as
	// many times that as they have weight. It fetches more while its receivers hold all of them, and gives
	// back what is not received. Default DefaultPrefetch.
	Prefetch int
	// Channels returns the channels whose lanes Open declares, and that Stats counts besides those that were published or
	// subscribed to here: a gateway that does neither sees their lanes, too. nil: none.
	Channels func() []string
	Logger   *slog.Logger // nil: slog.Default
}

// Queue is a queue.Queue. Several goroutines may use it.
type Queue struct {
	topology *topology
	prefetch int
	named    func() []string
	logger   *slog.Logger

	outgoing, incoming *link

	publishing sync.WaitGroup // Publish calls

	mu            sync.Mutex
	closed        bool
	channels      map[string]bool // published or subscribed to
	subscriptions map[*subscription]struct{}
	counted       counted
}

var _ queue.Queue = (*Queue)(nil)

// Open connects and declares. It does not wait for a broker that is not there, and it refuses one that has queues with
// other arguments: the error says what was attempted, at which address, and how to mend it. It never holds the URL's
// password.
func Open(ctx context.Context, o Options) (*Queue, error) {
	p, err := locate(o.URL)
	if err != nil {
		return nil, err
	}
	kind := cmp.Or(o.Type, Quorum)
	if kind != Quorum && kind != Classic {
		return nil, fmt.Errorf("the RabbitMQ queue type %q is neither %q nor %q", o.Type, Quorum, Classic)
	}
	if o.Channels == nil {
		o.Channels = func() []string { return nil }
	}
	q := &Queue{
		named:    o.Channels,
		topology: &topology{prefix: o.Prefix, kind: kind, address: p.name},
		prefetch: cmp.Or(max(o.Prefetch, 0), DefaultPrefetch),
		logger:   cmp.Or(o.Logger, slog.Default()),
		channels: map[string]bool{}, subscriptions: map[*subscription]struct{}{},
	}
	q.outgoing = q.link(p, "publish", (*session).startPublishers)
	q.incoming = q.link(p, "consume", func(*session) {})
	err = q.outgoing.start(ctx)
	if err == nil {
		err = q.declareNamed()
	}
	if err == nil {
		err = q.incoming.start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, q.Close())
	}
	return q, nil
}

// declareNamed declares the lanes of the channels that are known at the start, so that a queue that cannot be used is
// found before anything is accepted for it.
func (q *Queue) declareNamed() error {
	s, err := q.outgoing.current()
	if err != nil {
		return err
	}
	for _, channel := range q.named() {
		if err := s.ensure(channel); err != nil {
			return s.explain(err)
		}
	}
	return nil
}

// link makes a link whose sessions are prepared in the same way each time.
func (q *Queue) link(p place, role string, prepare func(*session)) *link {
	return &link{role: role, address: p.name, logger: q.logger, connect: func(ctx context.Context) (*session, error) {
		conn, err := dial(ctx, p, role)
		if err != nil {
			return nil, err
		}
		s, err := newSession(conn, q.topology)
		if err == nil {
			prepare(s)
		}
		return s, err
	}}
}

// begin counts a publish in. It says no after Close.
func (q *Queue) begin() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.publishing.Add(1)
	return true
}

// know notes a channel for Stats.
func (q *Queue) know(channel string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.channels[channel] = true
}

func (q *Queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// Subscribe begins to take envelopes of a channel. The subscription outlives ctx and lost connections.
func (q *Queue) Subscribe(ctx context.Context, channel string) (queue.Subscription, error) {
	what := fmt.Sprintf("subscribe to channel %q", channel)
	if err := cmp.Or(ctx.Err(), q.topology.check(channel)); err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	if q.isClosed() {
		return nil, queue.ErrClosed
	}
	session, err := q.incoming.current()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	s := newSubscription(q, channel)
	in, err := s.open(session)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, session.explain(err))
	}
	if !q.adopt(s) {
		in.close()
		return nil, queue.ErrClosed
	}
	s.start(in)
	return s, nil
}

// adopt makes a subscription one that Close ends. It says no if the queue is closed.
func (q *Queue) adopt(s *subscription) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return false
	}
	q.channels[s.channel] = true
	q.subscriptions[s] = struct{}{}
	s.keeping.Add(1)
	return true
}

// disown forgets a subscription that has ended.
func (q *Queue) disown(s *subscription) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.subscriptions, s)
}

// Close ends the subscriptions, whose envelopes the broker then hands to others, waits for publishes under
// way and leaves the broker. It takes a few seconds at most while the broker does not answer.
func (q *Queue) Close() error {
	q.mu.Lock()
	q.closed = true
	subscriptions := make([]*subscription, 0, len(q.subscriptions))
	for s := range q.subscriptions {
		subscriptions = append(subscriptions, s)
	}
	q.mu.Unlock()
	var closing sync.WaitGroup
	for _, s := range subscriptions {
		closing.Go(func() { _ = s.Close() })
	}
	closing.Wait()
	closing.Go(q.incoming.stop)
	q.publishing.Wait()
	q.outgoing.stop()
	closing.Wait()
	return nil
}

// Check returns an error while nothing can be published, or nothing taken although there are subscriptions: a
// connection is lost, the generation is not known, or the broker has a memory or disk alarm, of which it tells those who
// publish.
func (q *Queue) Check(ctx context.Context) error {
	s, err := q.outgoing.current()
	if err == nil {
		_, err = s.accepts()
	}
	if err == nil && q.subscribed() {
		_, err = q.incoming.current()
	}
	if err == nil {
		_, err = q.Generation(ctx)
	}
	if err != nil {
		return fmt.Errorf("check the queue: %w", err)
	}
	return nil
}

// subscribed says whether anybody takes envelopes here, or would.
func (q *Queue) subscribed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.subscriptions) > 0
}

// Dead counts the envelopes that the broker or this package has given up: too many deliveries, or a body
// that cannot be read. That there are any is worth an alarm.
func (q *Queue) Dead(ctx context.Context) (int, error) {
	s, err := q.outgoing.current()
	if err != nil {
		return 0, fmt.Errorf("count dead envelopes: %w", err)
	}
	n := &atomic.Int64{}
	err = s.do(ctx, "count dead envelopes", func(ch *amqp.Channel) error {
		dead, err := ch.QueueDeclarePassive(s.topology.dead(), true, false, false, false, nil)
		n.Store(int64(dead.Messages))
		return err
	})
	return int(n.Load()), err
}

// Revive publishes dead envelopes again, most of them at most, and returns how many: what is delivered too often may
// have been so because gateways died, not because of what it holds. What cannot be read, or is of a channel that cannot be
// published to, goes to the end of the dead.
func (q *Queue) Revive(ctx context.Context, most int) (int, error) {
	const what = "revive dead envelopes"
	s, err := q.outgoing.current()
	if err == nil {
		_, err = s.accepts()
	}
	if err != nil {
		return 0, fmt.Errorf("%s: %w", what, err)
	}
	n := &atomic.Int64{}
	err = s.do(ctx, what, func(ch *amqp.Channel) error {
		if err := ch.Confirm(false); err != nil {
			return err
		}
		dead, err := ch.QueueDeclarePassive(s.topology.dead(), true, false, false, false, nil)
		for range min(most, dead.Messages) {
			body, found, getErr := ch.Get(s.topology.dead(), false)
			if err = getErr; err != nil || !found {
				break
			}
			revived, moveErr := q.reviveOne(ctx, ch, &body)
			if err = moveErr; err != nil {
				break // the end of this AMQP channel gives it back
			}
			n.Add(int64(revived))
		}
		return err
	})
	return int(n.Load()), err
}

// reviveOne publishes a dead envelope, or puts it at the end of the dead: one that was only given back would be counted as
// delivered too often again, and be gone. It returns how many it published.
func (q *Queue) reviveOne(ctx context.Context, ch *amqp.Channel, body *amqp.Delivery) (int, error) {
	e, err := decode(body.Body)
	if err == nil {
		err = q.Publish(ctx, []core.Envelope{e})
	}
	if err == nil {
		return 1, body.Ack(false)
	}
	if ctx.Err() != nil || core.KindOf(err) == core.KindUnavailable {
		return 0, err
	}
	return 0, q.buryAgain(ctx, ch, body)
}

// buryAgain puts a body at the end of the dead.
func (q *Queue) buryAgain(ctx context.Context, ch *amqp.Channel, body *amqp.Delivery) error {
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, q.topology.dead(), "", false, false,
		amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body.Body})
	if err != nil {
		return err
	}
	if ok, err := confirmation.WaitContext(ctx); err != nil || !ok {
		return errors.Join(err, errors.New("the broker did not take a dead envelope back"))
	}
	return body.Ack(false)
}
