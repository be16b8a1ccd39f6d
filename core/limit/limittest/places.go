package limittest

import (
	"sync"
	"sync/atomic"
	"time"
)

func placesHeld(b bench) {
	rule := concurrent("r", 3)
	one, two := b.passes(ask(rule, "k", 1)), b.passes(ask(rule, "k", 2))
	if d := b.refused(0, ask(rule, "k", 1)); d.RetryAfter <= 0 {
		b.Errorf("RetryAfter = %v while places may be released at any time", d.RetryAfter)
	}
	two.Release()
	b.refused(0, ask(rule, "k", 3))
	again := b.passes(ask(rule, "k", 2))
	one.Release()
	again.Release()
	b.passes(ask(rule, "k", 3)).Release()
}

func placesReleasedOnce(b bench) {
	rule := concurrent("r", 2)
	first := b.passes(ask(rule, "k", 1))
	first.Release()
	first.Release()
	defer b.passes(ask(rule, "k", 2)).Release()
	first.Release()
	b.refused(0, ask(rule, "k", 1))
}

func placesNewMax(b bench) {
	held := b.passes(ask(concurrent("r", 2), "k", 2))
	b.refused(0, ask(concurrent("r", 1), "k", 1))
	defer b.passes(ask(concurrent("r", 3), "k", 1)).Release()
	held.Release()
	b.refused(0, ask(concurrent("r", 1), "k", 1))
	b.passes(ask(concurrent("r", 2), "k", 1)).Release()
}

func placesCrowd(b bench) {
	const places, callers, rounds = 3, 12, 50
	var inside, entered atomic.Int64
	var crowded atomic.Bool
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			for range rounds {
				d, err := b.limiter.Allow(b.Context(), ask(concurrent("r", places), "k", 1))
				if err != nil {
					b.Errorf("Allow: %v", err)
					return
				}
				if !d.Allowed {
					continue
				}
				entered.Add(1)
				if inside.Add(1) > places {
					crowded.Store(true)
				}
				pass(time.Millisecond)
				inside.Add(-1)
				d.Release()
			}
		})
	}
	wg.Wait()
	if crowded.Load() || entered.Load() < places {
		b.Errorf("more than %d callers inside at a time: %t; %d in all", places, crowded.Load(), entered.Load())
	}
	b.passes(ask(concurrent("r", places), "k", places)).Release() // all were given back
}

func placesLapse(b bench) {
	if b.Lease == 0 {
		b.Skip("no lease given")
	}
	rule := concurrent("r", 2)
	before := time.Now()
	lapsed := b.passes(ask(rule, "k", 1))
	pass(b.Lease / 2)
	if time.Since(before) < b.Lease*3/4 {
		defer b.passes(ask(rule, "k", 1)).Release()
		b.refused(0, ask(rule, "k", 1))
	}
	pass(b.Lease/2 + b.Lease/10)
	b.passes(ask(rule, "k", 1))
	lapsed.Release() // too late: the place is somebody else's
	b.refused(0, ask(rule, "k", 1))
}
