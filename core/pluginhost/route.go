package pluginhost

import (
	"math"

	"github.com/pigeonry/pigeonry/core"
)

// route says how the messages of a plugin are shared out among its generations. It never changes:
// another way is another route.
type route struct {
	active *generation // carries what beside does not; nil: none
	beside *generation // nil: none
	share  uint64      // of beside, in hundredths of a percent
	by     core.RolloutBy
	only   map[core.AccountID]struct{} // accounts that beside may carry; nil: all
	shadow bool                        // beside gets copies and no messages
	// held: the session that only one generation may hold is being handed over; what comes now waits.
	held     bool
	replaced chan struct{} // closed when another route takes its place
}

// wholeShare is all messages, in hundredths of a percent.
const wholeShare = 100 * 100

// newRoute makes the route of an arrangement.
func newRoute(a core.Arrangement, active, beside *generation) *route {
	r := &route{
		active: active, beside: beside, by: a.By, shadow: a.Shadow, share: uint64(math.Round(max(0, min(100, a.Share)) * 100)),
		replaced: make(chan struct{}),
	}
	if len(a.Accounts) > 0 {
		r.only = make(map[core.AccountID]struct{}, len(a.Accounts))
		for _, id := range a.Accounts {
			r.only[id] = struct{}{}
		}
	}
	return r
}

// release tells those who wait for another route that there is one.
func (r *route) release() { close(r.replaced) }

// split shares a batch out, in order.
func (r *route) split(batch []core.Delivery) (active, beside []core.Delivery) {
	if r.beside == nil || r.share == 0 || r.shadow {
		return batch, nil
	}
	for _, d := range batch {
		if r.besides(d.Message) {
			beside = append(beside, d)
		} else {
			active = append(active, d)
		}
	}
	return active, beside
}

// besides says whether a message is beside's. As long as the route stays the answer does, so that an
// attempt's repeat goes where its predecessor went; and what was beside's remains so while the share grows.
// Accounts that were named and see one version only are beside's whatever the share: of so few none may be in it.
func (r *route) besides(m *core.Message) bool {
	if r.only != nil {
		if _, ok := r.only[m.Account]; !ok {
			return false
		}
		if r.by == core.ByAccount {
			return true
		}
	}
	key := uint64(m.ID)
	if r.by == core.ByAccount {
		key = uint64(m.Account)
	}
	return scatter(key)%wholeShare < r.share
}

// scatter spreads neighboring keys over the whole range (the finalizer of SplitMix64).
func scatter(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
