package memory

import (
	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// lane holds the waiting envelopes of one lane.
type lane struct {
	fifo     fifo
	returned returned // served before fifo

	envelopes, messages int // waiting
	unacked             int // envelopes
	asked               int // messages of the publish that is looked at
	credit              int // see channel.next
}

// channel is the four lanes of a channel and those who wait for them. The queue's mutex guards it.
type channel struct {
	name          string
	lanes         [4]lane
	subscriptions []*subscription
	waiters       []*waiter // in the order of their coming; there are none while an envelope waits
}

// publish appends an envelope to its lane, or hands it to who waits longest.
func (c *channel) publish(e *core.Envelope) {
	l := &c.lanes[e.Lane]
	l.fifo.push(e)
	l.envelopes++
	l.messages += len(e.Records)
	c.serve()
}

// giveBack puts an envelope before those of its lane that were published later.
func (c *channel) giveBack(e core.Envelope) {
	l := &c.lanes[e.Lane]
	l.returned.push(e)
	l.envelopes++
	l.messages += len(e.Records)
}

// serve hands envelopes out while there are both an envelope and somebody who waits.
func (c *channel) serve() {
	for len(c.waiters) > 0 {
		e, ok := c.next()
		if !ok {
			return
		}
		w := c.waiters[0]
		c.waiters[0] = nil
		c.waiters = c.waiters[1:]
		w.ready <- w.subscription.take(e)
	}
}

// next takes an envelope from the lane whose turn it is, by smooth weighted round robin: each lane that
// waits earns its weight, the richest is served and pays what all have earned. So turns are in
// proportion to the weights and evenly spread, and the poorest lane's turn surely comes.
func (c *channel) next() (core.Envelope, bool) {
	best, total := -1, 0
	for i := range c.lanes {
		l := &c.lanes[i]
		if l.envelopes == 0 {
			l.credit = 0 // what does not wait neither saves nor owes
			continue
		}
		weight := core.Lane(i).Weight()
		total += weight
		l.credit += weight
		if best < 0 || l.credit > c.lanes[best].credit {
			best = i
		}
	}
	if best < 0 {
		return core.Envelope{}, false
	}
	c.lanes[best].credit -= total
	return c.pop(core.Lane(best)), true
}

// pop takes the first envelope of a lane that has one.
func (c *channel) pop(which core.Lane) core.Envelope {
	l := &c.lanes[which]
	var e core.Envelope
	if len(l.returned) > 0 {
		e = l.returned.pop()
	} else {
		e = core.Envelope{Channel: c.name, Lane: which}
		e.ID, e.Records = l.fifo.pop()
	}
	l.envelopes--
	l.messages -= len(e.Records)
	l.unacked++
	return e
}

// stats counts one lane.
func (c *channel) stats(which core.Lane) queue.LaneStats {
	l := &c.lanes[which]
	return queue.LaneStats{
		Channel: c.name, Lane: which,
		Envelopes: l.envelopes, Messages: l.messages, Unacked: l.unacked,
	}
}
