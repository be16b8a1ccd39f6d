package rabbitmq

import (
	"crypto/rand"
	"errors"
	"slices"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// maxAhead bounds what one lane may hold and fetch ahead.
	maxAhead = 4096
	// Receivers that take as many as the consumer may have, turns times over, within so short a time
	// wait for the broker rather than for their work: fetchTime is about what should be fetched ahead.
	turns     = 4
	fetchTime = turns * 100 * time.Millisecond
)

// intake is what a subscription has in one connection: an AMQP channel with consumers on four lanes. The
// broker hands a consumer so many envelopes that are not acknowledged and no more. These bounds follow the
// receivers: a lane gets a further consumer when all its envelopes are with receivers, or when they take
// them faster than the broker brings more. (A larger consumer in place of the old one would keep the order
// better, but a quorum queue may hold an envelope back that was on its way to a consumer that ends.) The
// AMQP channel's own calls are keep's alone; the rest is guarded by the subscription's mutex.
type intake struct {
	subscription *subscription
	session      *session
	ch           *amqp.Channel
	closes       chan *amqp.Error
	cancels      chan string   // consumers that the broker has ended
	hungry       chan struct{} // a receive waits that more consumers might serve

	lanes  [4]lane
	parked bool // nobody receives; what still comes goes back

	pumps sync.WaitGroup
}

// lane is one lane's part of an intake.
type lane struct {
	queue     string
	consumers []*consumer
	buffer    []*delivery // fetched ahead, in the broker's order
	unacked   int         // buffered or received
	credit    int         // see intake.next
	received  int         // since the last review
	taken     int         // received since began
	began     time.Time
	fast      bool // receivers wait for the broker
}

// consumer is one that the broker hands a lane's envelopes to.
type consumer struct {
	tag            string
	lane           core.Lane
	bound, unacked int
}

// bound is how many envelopes the broker may hand to the lane's consumers.
func (l *lane) bound() (n int) {
	for _, c := range l.consumers {
		n += c.bound
	}
	return n
}

// full says whether the broker hands the lane no more before something is acknowledged.
func (l *lane) full() bool {
	return !slices.ContainsFunc(l.consumers, func(c *consumer) bool { return c.unacked < c.bound })
}

// short says whether a larger bound would serve those who receive.
func (l *lane) short() bool {
	return l.bound() < maxAhead && (l.fast || l.full() && len(l.buffer) == 0)
}

// open declares the lanes and begins to consume them.
func (s *subscription) open(session *session) (*intake, error) {
	if err := session.ensure(s.channel); err != nil {
		return nil, err
	}
	ch, err := session.conn.Channel()
	if err != nil {
		return nil, err
	}
	in := &intake{
		subscription: s, session: session, ch: ch, hungry: make(chan struct{}, 1),
		closes: ch.NotifyClose(make(chan *amqp.Error, 1)), cancels: ch.NotifyCancel(make(chan string, 16)),
	}
	for _, l := range core.Lanes() {
		in.lanes[l].queue = session.topology.lane(s.channel, l)
	}
	if err := in.feed(); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

// close ends the AMQP channel, whose envelopes the broker takes back, and the pumps.
func (in *intake) close() {
	done := make(chan struct{})
	end := func() {
		defer close(done)
		_ = in.ch.Close() // one that is lost is closed already
		in.pumps.Wait()
	}
	if !in.session.spawn(end) {
		end() // at once, as the connection is closed
	}
	select {
	case <-done:
	case <-time.After(farewellTime): // it ends with the connection, which somebody else waits for
	}
}

// keep feeds the receivers until the AMQP channel or the subscription ends.
func (in *intake) keep() {
	s := in.subscription
	tick := time.NewTicker(reviewEvery)
	defer tick.Stop()
	for {
		var err error
		select {
		case <-s.ctx.Done():
			return
		case e := <-in.closes:
			err = errors.New("the broker closed the channel")
			if e != nil {
				err = e
			}
		case <-in.cancels: // closes tells if it is the end of all
			in.session.forget()
			err = errors.New("a queue is gone")
		case <-in.hungry:
			err = in.feed()
		case <-tick.C:
			err = in.review()
		}
		if err != nil && !in.session.isDown() {
			s.queue.logger.WarnContext(s.ctx, "rabbitmq: begins anew to take envelopes", "channel", s.channel, "error", err)
		}
		if err != nil {
			return
		}
	}
}

// hunger asks for more consumers where they are needed.
func (in *intake) hunger() {
	if !slices.ContainsFunc(in.lanes[:], func(l lane) bool { return l.short() }) {
		return
	}
	select {
	case in.hungry <- struct{}{}:
	default: // asked for already
	}
}

// feed doubles the bound of each lane that needs it.
func (in *intake) feed() error {
	s := in.subscription
	var add []*consumer
	s.mu.Lock()
	in.parked = false
	for i := range in.lanes {
		if l := &in.lanes[i]; l.short() {
			which := core.Lane(i)
			c := &consumer{tag: rand.Text(), lane: which, bound: max(l.bound(), s.first(which))}
			l.consumers, l.fast = append(l.consumers, c), false
			add = append(add, c)
		}
	}
	s.mu.Unlock()
	for _, c := range add {
		if err := in.consume(c); err != nil {
			return err
		}
	}
	return nil
}

// first is the bound that a lane begins with. In proportion to the weights, as receivers take that many.
func (s *subscription) first(l core.Lane) int { return s.queue.prefetch * l.Weight() }

// consume begins a consumer.
func (in *intake) consume(c *consumer) error {
	if err := in.ch.Qos(c.bound, 0, false); err != nil { // for the consumers that begin after it
		return err
	}
	deliveries, err := in.ch.Consume(in.lanes[c.lane].queue, c.tag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	in.pumps.Go(func() { in.pump(c, deliveries) })
	return nil
}

// pump takes what the broker hands to a consumer, until the consumer or the AMQP channel ends.
func (in *intake) pump(c *consumer, deliveries <-chan amqp.Delivery) {
	s := in.subscription
	for raw := range deliveries {
		d, err := in.read(c, &raw)
		if err != nil {
			s.queue.logger.ErrorContext(s.ctx, "rabbitmq: an envelope cannot be read; it goes to the dead letters",
				"queue", in.lanes[c.lane].queue, "dead_letters", s.queue.topology.dead(), "error", err)
			_ = raw.Reject(false) // it comes again if that fails
			continue
		}
		if !in.offer(d) {
			d.release(s.ctx)
		}
	}
}

// offer puts a delivery where receivers find it. It says no when nobody receives.
func (in *intake) offer(d *delivery) bool {
	s := in.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &in.lanes[d.consumer.lane]
	d.consumer.unacked++
	l.unacked++
	if in.parked {
		return false
	}
	l.insert(d)
	s.wake()
	return true
}

// retake puts a delivery back that the broker could not take, even while nobody receives.
func (in *intake) retake(d *delivery) {
	s := in.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	l := &in.lanes[d.consumer.lane]
	d.consumer.unacked++
	l.unacked++
	l.insert(d)
	s.wake()
}

// insert keeps the broker's order, which the tags tell: each consumer has a pump of its own.
func (l *lane) insert(d *delivery) {
	i := len(l.buffer)
	for i > 0 && l.buffer[i-1].tag > d.tag {
		i--
	}
	l.buffer = slices.Insert(l.buffer, i, d)
}

// next takes a delivery from the lane whose turn it is, by smooth weighted round robin: each lane that
// waits earns its weight, the richest is served and pays what all have earned.
func (in *intake) next() *delivery {
	best, total := -1, 0
	for i := range in.lanes {
		l := &in.lanes[i]
		if len(l.buffer) == 0 {
			l.credit = 0 // what does not wait neither saves nor owes
			continue
		}
		weight := core.Lane(i).Weight()
		total += weight
		l.credit += weight
		if best < 0 || l.credit > in.lanes[best].credit {
			best = i
		}
	}
	if best < 0 {
		return nil
	}
	in.lanes[best].credit -= total
	return in.take(&in.lanes[best])
}

// take takes the first delivery of a lane that has one.
func (in *intake) take(l *lane) *delivery {
	d := l.buffer[0]
	l.buffer[0] = nil
	l.buffer = l.buffer[1:]
	l.received++
	if l.taken++; l.taken >= turns*max(l.bound(), 1) {
		now := time.Now()
		l.fast = now.Sub(l.began) < fetchTime
		l.taken, l.began = 0, now
		if l.fast {
			in.hunger()
		}
	}
	return d
}

// review gives back what nobody has asked for since the last one: other gateways may have hands free. A lane
// that has more ahead than was received since then is left with its first consumer.
func (in *intake) review() error {
	surplus, idle := in.appraise()
	for _, tag := range surplus {
		if err := in.ch.Cancel(tag, false); err != nil {
			return err
		}
	}
	if idle {
		in.park()
	}
	return nil
}

// appraise takes the consumers that are too many off their lanes, and finds whether nobody receives.
func (in *intake) appraise() (surplus []string, idle bool) {
	s := in.subscription
	s.mu.Lock()
	defer s.mu.Unlock()
	idle = !s.asked && slices.ContainsFunc(in.lanes[:], func(l lane) bool { return len(l.buffer) > 0 })
	s.asked = s.waiting > 0
	for i := range in.lanes {
		l := &in.lanes[i]
		if idle {
			surplus = l.dismiss(surplus, 0)
		} else if len(l.buffer) > max(l.received, s.first(core.Lane(i))) {
			surplus = l.dismiss(surplus, 1)
		}
		l.received = 0
	}
	return surplus, idle
}

// dismiss takes all consumers but the first few off the lane, and adds their tags to a list. What they have
// brought stays good.
func (l *lane) dismiss(tags []string, leave int) []string {
	leave = min(leave, len(l.consumers))
	for _, c := range l.consumers[leave:] {
		tags = append(tags, c.tag)
	}
	l.consumers = l.consumers[:leave]
	return tags
}

// park gives back what is fetched ahead, unless somebody has begun to receive meanwhile. The next receive
// feeds again.
func (in *intake) park() {
	s := in.subscription
	var back []*delivery
	s.mu.Lock()
	if !s.asked {
		in.parked = true
		for i := range in.lanes {
			back = append(back, in.lanes[i].buffer...)
			in.lanes[i].buffer = nil
		}
	}
	s.mu.Unlock()
	for _, d := range back {
		d.release(s.ctx)
	}
}
