package dispatch

import (
	"math/rand/v2"
	"slices"
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
	// absentPostponed is the wait of a message whose connector is not configured any more, or that none takes.
	absentPostponed = 30 * time.Second
	// dampPostponed is the wait of a message that is to go to another connector, which must not get all of them at once.
	dampPostponed = 2 * time.Second
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
	r := d.newRouter(ch)
	var p plan
	index := map[*connector]int{}
	for i := range messages {
		m := &messages[i]
		c, until := r.choose(m)
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

// option is a connector as it is while an envelope is routed.
type option struct {
	connector *connector
	policy    Policy
	at        time.Time // when it may be worth a try
	diverted  float64   // the share of its messages that may go to others, see damper
}

// router chooses among the connectors of a channel.
type router struct {
	d       *Dispatcher
	now     time.Time
	options []option // by order
	free    *allowance
}

func (d *Dispatcher) newRouter(ch *channel) router {
	now := d.o.Now()
	r := router{d: d, now: now, free: &ch.free}
	for _, c := range d.of(ch.name) {
		policy, _ := c.view()
		at := c.availableAt(now)
		r.options = append(r.options, option{connector: c, policy: policy, at: at, diverted: c.divert(!at.After(now), now)})
	}
	slices.SortFunc(r.options, func(a, b option) int { return a.policy.Order - b.policy.Order })
	return r
}

func (r *router) ready(o *option) bool { return !o.at.After(r.now) }

// choose returns the connector for a message, or nil and the time to look again, which is zero where
// there is nothing to wait for.
func (r *router) choose(m *core.Message) (*connector, time.Time) {
	if m.Pinned != "" {
		return r.only(m, m.Pinned)
	}
	// What may have been sent stays where it was: that provider alone can drop the repeat, or tell of it.
	if m.Attempt > 0 && m.Outcome == core.OutcomeUncertain && m.Connector != "" {
		if c, until := r.only(m, m.Connector); c != nil || !until.IsZero() {
			return c, until
		}
	}
	takers := r.takers(m)
	if len(takers) == 0 {
		return nil, r.absent(m)
	}
	first := pick(firstOrder(takers))
	if first == nil {
		return nil, again(soonest(takers, r.now), r.now)
	}
	failed := m.Attempt > 0 && m.Connector == first.connector.id && surelyFailed(m.Outcome)
	if r.ready(first) && !failed {
		return first.connector, time.Time{}
	}
	return r.divert(m, first, takers)
}

// surelyFailed says whether an attempt that ended so was not sent, and is to be made elsewhere. A provider that asked to slow down is
// waited for.
func surelyFailed(o core.Outcome) bool {
	return o == core.OutcomeRetryable || o == core.OutcomeRejected
}

// only is the way of a message that may go to one connector alone.
func (r *router) only(m *core.Message, id core.ConnectorID) (*connector, time.Time) {
	c, ok := r.d.connector(id)
	if !ok {
		return nil, r.absent(m)
	}
	if at := c.availableAt(r.now); at.After(r.now) {
		return nil, again(at, r.now)
	}
	return c, time.Time{}
}

// absent is when to look again for a connector that is not there; zero if it has been gone for too long.
func (r *router) absent(m *core.Message) time.Time {
	if r.now.Sub(m.CreatedAt) > r.d.o.MaxAge {
		return time.Time{}
	}
	return r.now.Add(absentPostponed)
}

// takers are the connectors that take a message, by order.
func (r *router) takers(m *core.Message) []option {
	takes := func(o option) bool { return o.policy.Match.takes(m, o.connector.id, r.d.o.Facts) }
	if !slices.ContainsFunc(r.options, func(o option) bool { return !takes(o) }) {
		return r.options
	}
	return slices.DeleteFunc(slices.Clone(r.options), func(o option) bool { return !takes(o) })
}

// divert sends a message to another connector than the one that it should go to: that cannot be used, or has surely not sent
// it. Only a part of the messages may, until the others have shown that they can carry the load.
func (r *router) divert(m *core.Message, from *option, takers []option) (*connector, time.Time) {
	others := slices.DeleteFunc(slices.Clone(takers), func(o option) bool {
		return o.connector == from.connector || !r.ready(&o) || o.policy.Weight == 0
	})
	switch {
	case len(others) > 0 && r.mayDivert(m, from):
		return pick(firstOrder(others)).connector, time.Time{}
	case r.ready(from):
		return from.connector, time.Time{}
	case len(others) > 0:
		return nil, again(earlier(from.at, r.now.Add(dampPostponed)), r.now)
	default:
		return nil, again(soonest(takers, r.now), r.now)
	}
}

// mayDivert lets urgent messages pass, a few a second of the others, and then the share that has grown meanwhile.
func (r *router) mayDivert(m *core.Message, from *option) bool {
	return m.Lane() == core.LaneUrgent || place(m.ID) < from.diverted || r.free.take(r.now)
}

// place is where a message stands between 0 and 1, always at the same.
func place(id core.RecordID) float64 {
	const golden = 0x9E3779B97F4A7C15 // spreads ids that follow each other (Fibonacci hashing)
	return float64(uint64(id)*golden>>11) / (1 << 53)
}

// soonest is when the first of the connectors may be worth a try.
func soonest(options []option, now time.Time) time.Time {
	at := now.Add(absentPostponed)
	for _, o := range options {
		at = earlier(at, o.at)
	}
	return at
}

// again spreads the messages that wait for the same moment.
func again(at, now time.Time) time.Time {
	return later(at, now.Add(leastPostponed)).Add(rand.N(leastPostponed))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// firstOrder returns those of the lowest order that have a weight, of options by order.
func firstOrder(options []option) []option {
	start := slices.IndexFunc(options, func(o option) bool { return o.policy.Weight > 0 })
	if start < 0 {
		return nil
	}
	order := options[start].policy.Order
	end := start
	for end < len(options) && options[end].policy.Order == order {
		end++
	}
	return options[start:end]
}

// pick throws dice by the weights; nil if there is nothing to choose from.
func pick(options []option) *option {
	total := 0
	for i := range options {
		total += options[i].policy.Weight
	}
	if total == 0 {
		return nil
	}
	at := rand.IntN(total)
	for i := range options {
		if at -= options[i].policy.Weight; at < 0 {
			return &options[i]
		}
	}
	return nil
}
