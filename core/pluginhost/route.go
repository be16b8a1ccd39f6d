package pluginhost

import "github.com/pigeonry/pigeonry/core"

// route says how the messages of a plugin are shared out among its generations. It never changes:
// another way is another route.
type route []share

// share is what one generation gets of a route.
type share struct {
	generation *generation
	weight     uint32
}

// pick returns the generation for a key. The same key gives the same generation as long as the route
// stays, so that an attempt's repeat goes where its predecessor went. It returns nil if the route has no
// weight.
func (r route) pick(key uint64) *generation {
	var total uint64
	for _, s := range r {
		total += uint64(s.weight)
	}
	if total == 0 {
		return nil
	}
	point := scatter(key) % total
	for _, s := range r {
		if point < uint64(s.weight) {
			return s.generation
		}
		point -= uint64(s.weight)
	}
	return nil
}

// main returns the generation with the largest share: it answers what concerns no single message.
func (r route) main() *generation {
	var best share
	for _, s := range r {
		if s.weight > best.weight {
			best = s
		}
	}
	return best.generation
}

// split shares a batch out among the generations, in order.
func (r route) split(batch []core.Delivery) map[*generation][]core.Delivery {
	if len(r) == 1 {
		return map[*generation][]core.Delivery{r[0].generation: batch}
	}
	parts := make(map[*generation][]core.Delivery, len(r))
	for _, d := range batch {
		g := r.pick(uint64(d.Message.ID))
		parts[g] = append(parts[g], d)
	}
	return parts
}

// scatter spreads neighboring keys over the whole range (the finalizer of SplitMix64).
func scatter(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
