package dispatch

import (
	"math/rand/v2"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// share is what one connector is to carry of an envelope.
type share struct {
	connector *connector
	messages  []core.Message
}

const (
	// leastPostponed keeps a message for a connector that is out from being looked at over and over.
	leastPostponed = 500 * time.Millisecond
	// absentPostponed is the wait of a message whose connector is not configured any more.
	absentPostponed = 30 * time.Second
)

// plan is what becomes of the messages of an envelope.
type plan struct {
	shares   []share
	waiting  []store.Postponement // their connector cannot be used now
	orphaned []core.RecordID      // the connector that they asked for has been gone for too long
}

// route gives each message a connector. Messages of which the connector cannot be used now are put off,
// without an attempt.
func (d *Dispatcher) route(ch *channel, messages []core.Message) plan {
	now := d.o.Now()
	candidates := usable(d.of(ch.name), now)
	var p plan
	index := map[*connector]int{}
	for i := range messages {
		m := &messages[i]
		c, until := d.choose(ch, m, candidates, now)
		switch {
		case c != nil:
			n, ok := index[c]
			if !ok {
				n = len(p.shares)
				index[c] = n
				p.shares = append(p.shares, share{connector: c})
			}
			p.shares[n].messages = append(p.shares[n].messages, *m)
		case until.IsZero():
			p.orphaned = append(p.orphaned, m.ID)
		default:
			p.waiting = append(p.waiting, store.Postponement{Record: m.ID, Until: until})
		}
	}
	return p
}

// choose returns the connector for a message, or nil and the time to look again, which is zero where
// there is nothing to wait for.
func (d *Dispatcher) choose(ch *channel, m *core.Message, candidates []weighted, now time.Time) (*connector, time.Time) {
	if m.Pinned == "" {
		if c := pick(candidates); c != nil {
			return c, time.Time{}
		}
		return nil, again(d.soonest(ch, now), now)
	}
	c, ok := d.connector(m.Pinned)
	if !ok && now.Sub(m.CreatedAt) > d.o.MaxAge {
		return nil, time.Time{}
	}
	if !ok {
		return nil, now.Add(absentPostponed)
	}
	if at := c.availableAt(now); at.After(now) {
		return nil, again(at, now)
	}
	return c, time.Time{}
}

// soonest is when the first connector of the channel may be worth a try.
func (d *Dispatcher) soonest(ch *channel, now time.Time) time.Time {
	at := now.Add(absentPostponed)
	for _, c := range d.of(ch.name) {
		if t := c.availableAt(now); t.Before(at) {
			at = t
		}
	}
	return at
}

// again spreads the messages that wait for the same moment.
func again(at, now time.Time) time.Time {
	return later(at, now.Add(leastPostponed)).Add(rand.N(leastPostponed))
}

type weighted struct {
	connector *connector
	weight    int
}

// usable returns the connectors of the lowest order that has any that can be used now.
func usable(connectors []*connector, now time.Time) []weighted {
	var best []weighted
	order := 0
	for _, c := range connectors {
		if !c.available(now) {
			continue
		}
		p, _ := c.view()
		switch {
		case len(best) == 0 || p.Order < order:
			best, order = []weighted{{c, p.Weight}}, p.Order
		case p.Order == order:
			best = append(best, weighted{c, p.Weight})
		}
	}
	return best
}

func pick(candidates []weighted) *connector {
	if len(candidates) == 1 {
		return candidates[0].connector
	}
	total := 0
	for _, c := range candidates {
		total += c.weight
	}
	if total == 0 {
		return nil
	}
	at := rand.IntN(total)
	for _, c := range candidates {
		if at -= c.weight; at < 0 {
			return c.connector
		}
	}
	return nil
}
