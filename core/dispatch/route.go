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
	// mostPostponed bounds that wait, and patienceShare is the part of its age that a message waits.
	mostPostponed = 5 * time.Second
	patienceShare = 8
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
	ch      *channel
	now     time.Time
	options []option // by order

	byAccount, byCountry bool                      // some connector takes only those of an account, or to a country
	accounts             map[core.AccountID]string // names; "" where one cannot be had now
}

func (d *Dispatcher) newRouter(ch *channel) router {
	now := d.o.Now()
	r := router{d: d, ch: ch, now: now}
	for _, c := range d.of(ch.name) {
		policy, _ := c.view()
		at := c.availableAt(now)
		r.options = append(r.options, option{connector: c, policy: policy, at: at, diverted: c.divert(!at.After(now), now)})
		r.byAccount = r.byAccount || len(policy.Match.Accounts) > 0
		r.byCountry = r.byCountry || len(policy.Match.Countries) > 0
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
	if m.Connector != "" && (m.Doubtful || m.Outcome == core.OutcomeUncertain) {
		if c, until := r.only(m, m.Connector); c != nil || !until.IsZero() {
			return c, until
		}
	}
	account, known := r.account(m.Account)
	if !known {
		return nil, r.now.Add(absentPostponed)
	}
	takers := r.takers(m, account)
	if len(takers) == 0 {
		return nil, r.absent(m, core.ConnectorID(r.ch.name))
	}
	r.d.found(core.ConnectorID(r.ch.name))
	first := pick(firstOrder(takers))
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
		return nil, r.absent(m, id)
	}
	r.d.found(id)
	if at := c.availableAt(r.now); at.After(r.now) {
		return nil, r.again(m, at)
	}
	return c, time.Time{}
}

// absent is when to look again for a connector that is not there, or for any that takes the message; zero if both have waited for
// too long.
func (r *router) absent(m *core.Message, id core.ConnectorID) time.Time {
	if r.now.Sub(later(m.CreatedAt, r.d.missed(id, r.now))) > r.d.o.MaxAge {
		return time.Time{}
	}
	return r.now.Add(absentPostponed)
}

// account returns the name of an account, once for all messages of the envelope; "" where no connector asks for it.
func (r *router) account(id core.AccountID) (name string, known bool) {
	if !r.byAccount {
		return "", true
	}
	if name, asked := r.accounts[id]; asked {
		return name, name != ""
	}
	if r.accounts == nil {
		r.accounts = map[core.AccountID]string{}
	}
	name, known = r.d.o.Facts.AccountName(id)
	r.accounts[id] = name
	return name, known
}

// takers are the connectors that take a message, by order.
func (r *router) takers(m *core.Message, account string) []option {
	country := ""
	if r.byCountry {
		country = r.d.o.Facts.Country(m.Recipient)
	}
	takes := func(o option) bool { return o.policy.Match.takes(m, o.connector.id, account, country) }
	if !slices.ContainsFunc(r.options, func(o option) bool { return !takes(o) }) {
		return r.options
	}
	return slices.DeleteFunc(slices.Clone(r.options), func(o option) bool { return !takes(o) })
}

// divert sends a message to another connector than the one that it should go to: that cannot be used, or has surely not sent
// it. Only a part of the messages may, until the others have shown that they can carry the load.
func (r *router) divert(m *core.Message, from *option, takers []option) (*connector, time.Time) {
	others := slices.DeleteFunc(slices.Clone(takers), func(o option) bool {
		return o.connector == from.connector || !r.ready(&o)
	})
	switch {
	case len(others) > 0 && r.mayDivert(m, from):
		return pick(firstOrder(others)).connector, time.Time{}
	case r.ready(from):
		return from.connector, time.Time{}
	case len(others) > 0:
		return nil, r.again(m, earlier(from.at, r.now.Add(dampPostponed)))
	default:
		return nil, r.again(m, soonest(takers, r.now))
	}
}

// mayDivert lets urgent messages pass, those that have one attempt left, a few a second of the others, and then the share that
// has grown meanwhile.
func (r *router) mayDivert(m *core.Message, from *option) bool {
	return m.Lane() == core.LaneUrgent || m.Attempt+1 >= m.Budget || place(m.ID) < from.diverted || r.ch.free.take(r.now)
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

// again is when a message that waits for a moment is looked at again: those that wait for the same one are spread, and a message
// that is not urgent is looked at the less often the longer it waits.
func (r *router) again(m *core.Message, at time.Time) time.Time {
	least := leastPostponed
	if m.Lane() != core.LaneUrgent {
		least = min(max(least, r.now.Sub(m.CreatedAt)/patienceShare), mostPostponed)
	}
	return later(at, r.now.Add(least)).Add(rand.N(least))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// firstOrder returns those of the lowest order, of options by order.
func firstOrder(options []option) []option {
	end := 0
	for end < len(options) && options[end].policy.Order == options[0].policy.Order {
		end++
	}
	return options[:end]
}

// pick throws dice by the weights, of which each is 1 at least.
func pick(options []option) *option {
	total := 0
	for i := range options {
		total += options[i].policy.Weight
	}
	at := rand.IntN(total)
	last := len(options) - 1
	for i := range last {
		if at -= options[i].policy.Weight; at < 0 {
			return &options[i]
		}
	}
	return &options[last]
}
