package account

import (
	"sync"
	"time"
)

// cache remembers answers for a moment, so that a busy key does not ask the store at every request. It
// is bounded: when it is full of answers that still count, it forgets them all and learns anew.
type cache[V any] struct {
	mu      sync.RWMutex
	entries map[[32]byte]entry[V]
	epoch   uint64 // how often everything was forgotten
	max     int
	ttl     time.Duration
}

type entry[V any] struct {
	value V
	until time.Time
}

func newCache[V any](size int, ttl time.Duration) *cache[V] {
	return &cache[V]{entries: make(map[[32]byte]entry[V]), max: size, ttl: ttl}
}

func (c *cache[V]) get(k [32]byte, now time.Time) (V, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	e, ok := c.entries[k]
	if !ok || !now.Before(e.until) {
		var none V
		return none, false
	}
	return e.value, true
}

// current is the epoch of an answer that is asked for now.
func (c *cache[V]) current() uint64 {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.epoch
}

// put remembers an answer, unless everything was forgotten since it was asked for.
func (c *cache[V]) put(k [32]byte, v V, now time.Time, epoch uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if epoch != c.epoch {
		return
	}
	if len(c.entries) >= c.max {
		c.makeRoom(now)
	}
	c.entries[k] = entry[V]{value: v, until: now.Add(c.ttl)}
}

func (c *cache[V]) makeRoom(now time.Time) {
	for k, e := range c.entries {
		if !now.Before(e.until) {
			delete(c.entries, k)
		}
	}
	if len(c.entries) >= c.max {
		clear(c.entries)
	}
}

// clear forgets everything, also what is being asked for.
func (c *cache[V]) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.epoch++
	clear(c.entries)
}
