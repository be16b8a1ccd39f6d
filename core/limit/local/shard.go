package local

import "sync"

// shard holds a part of the counters.
type shard struct {
	mu        sync.Mutex
	bound     int // counters at most
	untilIdle int // additions left until idle counters are looked for
	counters  map[key]counter
}

// minSweep is how many counters are added at least between two sweeps.
const minSweep = 256

// sample is how many counters are looked at to find one that can go.
const sample = 8

// makeRoom sees to it that a counter can be added.
func (s *shard) makeRoom(now int64) {
	s.untilIdle--
	if s.untilIdle <= 0 {
		s.sweep(now)
	}
	if len(s.counters) >= s.bound {
		s.evict()
	}
}

// sweep forgets counters that have nothing to remember. It makes a new map, as one never gives memory
// back. The next sweep comes after half as many additions as there are counters now, so that an addition
// costs the same on average however many there are.
func (s *shard) sweep(now int64) {
	kept := make(map[key]counter)
	for k, c := range s.counters {
		if c.idleAt() > now {
			kept[k] = c
		}
	}
	s.counters = kept
	s.untilIdle = max(len(kept)/2, minSweep)
}

// evict forgets the counter of a few that would have been idle first. What it had counted is lost, which
// lets a little more pass and keeps a flood of keys from taking all memory.
func (s *shard) evict() {
	var victim key
	earliest := never
	looked := 0
	for k, c := range s.counters {
		if at := c.idleAt(); at < earliest {
			victim, earliest = k, at
		}
		looked++
		if looked == sample {
			break
		}
	}
	delete(s.counters, victim)
}
