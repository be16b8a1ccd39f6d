package rabbitmq

import (
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
)

// Type is the kind of the queues on the broker.
type Type string

// The types of queues.
const (
	// Quorum queues are kept by a majority of the brokers, on disk before a publish is confirmed.
	Quorum Type = "quorum"
	// Classic queues are kept by one broker. They cost less; what they lose is published again from the store.
	Classic Type = "classic"
)

// deliveryLimit is how often a quorum queue hands an envelope out before it takes it for poison. The
// broker counts what returns and what a lost connection gives back.
const deliveryLimit = 20

// topology names and declares what the gateways have on the broker.
type topology struct {
	prefix  string
	kind    Type
	address string // of the broker, for errors
}

func (t *topology) exchange() string     { return t.prefix + "pigeonry.dispatch" }
func (t *topology) dead() string         { return t.prefix + "pigeonry.dead" }
func (t *topology) marker() string       { return t.prefix + "pigeonry.generation" }
func (t *topology) ai() string           { return t.prefix + "ai.process" }
func (t *topology) notification() string { return t.prefix + "notification" }

func (t *topology) lane(channel string, lane core.Lane) string {
	return t.prefix + "message.send." + channel + "." + lane.String()
}

// maxName is the length of a name that the protocol can carry.
const maxName = 255

// check refuses a channel that no queue can be named after.
func (t *topology) check(channel string) error {
	if n := len(t.lane(channel, core.LaneUrgent)); n > maxName || channel == "" {
		return fmt.Errorf("channel %q cannot be part of a queue's name: it must have 1 to %d bytes", channel, maxName-n+len(channel))
	}
	return nil
}

// declare makes what every gateway needs before the first channel is known.
func (t *topology) declare(ch *amqp.Channel) error {
	if err := t.declareExchange(ch, t.exchange(), amqp.ExchangeDirect); err != nil {
		return err
	}
	// Whatever the routing key was, what is dead comes into the one queue.
	if err := t.declareExchange(ch, t.dead(), amqp.ExchangeFanout); err != nil {
		return err
	}
	plain := amqp.Table{amqp.QueueTypeArg: string(t.kind)}
	if err := t.declareQueue(ch, t.dead(), t.dead(), plain); err != nil {
		return err
	}
	for _, name := range []string{t.ai(), t.notification()} {
		if err := t.declareQueue(ch, name, t.exchange(), t.arguments()); err != nil {
			return err
		}
	}
	return t.declareQueue(ch, t.marker(), t.exchange(), plain)
}

// declareChannel makes the lanes of a channel, all four at once, so that their statistics can be asked for.
func (t *topology) declareChannel(ch *amqp.Channel, channel string) error {
	for _, l := range core.Lanes() {
		if err := t.declareQueue(ch, t.lane(channel, l), t.exchange(), t.arguments()); err != nil {
			return err
		}
	}
	return nil
}

// arguments are those of every queue that carries work. They never change: a broker refuses a queue that
// exists with others.
func (t *topology) arguments() amqp.Table {
	a := amqp.Table{amqp.QueueTypeArg: string(t.kind), "x-dead-letter-exchange": t.dead()}
	if t.kind == Quorum {
		a["x-delivery-limit"] = deliveryLimit
	}
	return a
}

func (t *topology) declareExchange(ch *amqp.Channel, name, kind string) error {
	err := ch.ExchangeDeclare(name, kind, true, false, false, false, nil)
	return t.refusal("exchange", name, err)
}

func (t *topology) declareQueue(ch *amqp.Channel, name, exchange string, args amqp.Table) error {
	_, err := ch.QueueDeclare(name, true, false, false, false, args)
	if err == nil {
		err = ch.QueueBind(name, name, exchange, false, nil)
	}
	return t.refusal("queue", name, err)
}

// refusal says what the broker refused, where, and how to mend it.
func (t *topology) refusal(what, name string, err error) error {
	switch code(err) {
	case 0:
		if err == nil {
			return nil
		}
	case amqp.PreconditionFailed:
		return fmt.Errorf("declare %s %q at %s: it exists with other arguments (%w); delete the %s once it is empty, or, "+
			"if x-queue-type differs, set type = %q in the queue block, which is what it is",
			what, name, t.address, err, what, t.other())
	case amqp.AccessRefused:
		return fmt.Errorf("declare %s %q at %s: the user may not (%w); grant it configure, write and read: "+
			"rabbitmqctl set_permissions", what, name, t.address, err)
	}
	return fmt.Errorf("declare %s %q at %s: %w", what, name, t.address, err)
}

// other is the type that is not configured.
func (t *topology) other() Type {
	if t.kind == Quorum {
		return Classic
	}
	return Quorum
}
