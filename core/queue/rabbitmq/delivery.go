package rabbitmq

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// countHeader tells how often a quorum queue has handed an envelope out in vain.
const countHeader = "x-delivery-count"

// patient is how many vain deliveries an envelope may have before it is published anew instead of handed
// back: half the limit, so that the other half is left for connections that are lost.
const patient = deliveryLimit / 2

// delivery is an envelope that the broker has handed out. It belongs to one AMQP channel, so its tag can
// never meet an envelope of a later connection.
type delivery struct {
	intake   *intake
	consumer *consumer
	tag      uint64
	vain     int // earlier deliveries that the broker counts
	body     []byte
	envelope core.Envelope
	done     bool // acknowledged or given back; guarded by the subscription's mutex
}

// read makes a delivery of what came for a consumer.
func (in *intake) read(c *consumer, raw *amqp.Delivery) (*delivery, error) {
	e, err := decode(raw.Body)
	if err != nil {
		return nil, err
	}
	if e.Channel != in.subscription.channel || e.Lane != c.lane {
		return nil, fmt.Errorf("it is for lane %s of channel %q", e.Lane, e.Channel)
	}
	return &delivery{
		intake: in, consumer: c, tag: raw.DeliveryTag, vain: vain(raw.Headers), body: raw.Body, envelope: e,
	}, nil
}

// vain reads the broker's count, which is absent in classic queues and in the first delivery. Its type on
// the wire is the broker's choice.
func vain(headers amqp.Table) int {
	switch n := headers[countHeader].(type) {
	case int64:
		return int(n)
	case int32:
		return int(n)
	case int16:
		return int(n)
	case byte:
		return int(n)
	default:
		return 0
	}
}

// settle ends the holding of an envelope. It says whether there is something to tell the broker: only the
// first call of either kind does anything, and what a lost connection or a closed subscription held is the
// broker's again.
func (d *delivery) settle() (tell bool, err error) {
	s := d.intake.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.done {
		return false, nil
	}
	d.done = true
	d.consumer.unacked--
	d.intake.lanes[d.consumer.lane].unacked--
	switch {
	case s.closed:
		return false, queue.ErrClosed
	case s.intake != d.intake || d.intake.session.isDown():
		return false, core.Errorf(core.KindUnavailable, "the connection to RabbitMQ at %s that brought the envelope is lost",
			d.intake.session.topology.address)
	}
	return true, nil
}

// ack takes the envelope out for good. The broker does not confirm it: if the connection is lost just then,
// the envelope comes again.
func (d *delivery) ack(context.Context) error {
	tell, err := d.settle()
	if !tell {
		return err
	}
	return d.intake.session.explain(d.intake.ch.Ack(d.tag, false))
}

// giveBack lets the broker hand the envelope out again, to whomever. On a connection that is lost it has
// done so already.
func (d *delivery) giveBack(ctx context.Context) error {
	tell, err := d.settle()
	if core.KindOf(err) == core.KindUnavailable {
		return nil
	}
	if !tell {
		return err
	}
	return d.requeue(ctx)
}

// release gives back what was fetched ahead and never received.
func (d *delivery) release(ctx context.Context) {
	tell, _ := d.settle()
	if !tell {
		return
	}
	if err := d.requeue(ctx); err != nil {
		s := d.intake.subscription
		s.queue.logger.WarnContext(ctx, "rabbitmq: cannot give an envelope back; it comes again with the next connection",
			"channel", s.channel, "envelope", d.envelope.ID, "error", err)
	}
}

// requeue puts the envelope back to the head of its lane, in one step. A quorum queue counts that, and
// would take an envelope for poison that waits for a slow provider again and again: after some times it is
// published anew, which begins another count, and goes to the end of its lane. Its old self is acknowledged
// once the new one is confirmed; a crash between the two makes a double, which the claim absorbs.
func (d *delivery) requeue(ctx context.Context) error {
	s := d.intake.session
	if d.vain < patient {
		return s.explain(d.intake.ch.Nack(d.tag, false, true))
	}
	q := d.intake.subscription.queue
	l := letter{channel: d.envelope.Channel, key: q.topology.lane(d.envelope.Channel, d.envelope.Lane), body: d.body}
	if err := q.deliver(ctx, []letter{l}); err != nil {
		// No way back to the broker now that is not counted: it stays here.
		q.logger.DebugContext(ctx, "rabbitmq: cannot publish an envelope anew; keeping it", "channel", l.channel, "error", err)
		return d.again()
	}
	return s.explain(d.intake.ch.Ack(d.tag, false))
}

// again lets the subscription's own receivers have the envelope once more.
func (d *delivery) again() error {
	e, err := decode(d.body) // the receiver may have changed its copy
	if err != nil {
		return err
	}
	anew := *d
	anew.envelope, anew.done = e, false
	d.intake.retake(&anew)
	return nil
}
