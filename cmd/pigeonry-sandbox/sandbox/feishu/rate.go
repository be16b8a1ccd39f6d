package feishu

import "time"

// rates has when something last happened, by what it is counted for. The provider's lock guards it.
type rates map[string][]time.Time

// maxCounted bounds for how many there is a count; the sandbox forgets all of them at once rather than grow.
const maxCounted = 20_000

// pass says whether one more is within limit in the last span, counts it if so, and otherwise says when there is room.
// A limit of 0 is none.
func (r rates) pass(key string, now time.Time, span time.Duration, limit int) (bool, time.Duration) {
	if limit == 0 {
		return true, 0
	}
	times := r[key]
	for len(times) > 0 && now.Sub(times[0]) >= span {
		times = times[1:]
	}
	if len(times) >= limit {
		r[key] = times
		return false, span - now.Sub(times[0])
	}
	if len(r) > maxCounted {
		clear(r)
	}
	r[key] = append(times, now)
	return true, 0
}
