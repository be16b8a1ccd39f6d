package pluginhost

import (
	"math/rand/v2"
	"time"
)

// The policy of restarts.
const (
	restartFirst = 200 * time.Millisecond // longest wait before the first restart
	restartMax   = 30 * time.Second       // longest wait before any
	crashWindow  = 10 * time.Minute       // crashes are counted for so long
	crashLimit   = 5                      // the plugin's own crashes in the window that make a loop
	killLimit    = 60                     // ends from outside in the window that make one
	stableAfter  = time.Minute            // a process that lived so long was sound
)

// crash is the unwanted end of one process.
type crash struct {
	at time.Time
	// outside: somebody else ended it, an operator or the kernel for want of memory. That says little
	// about the plugin, so it takes many to call it a loop, and the wait does not grow.
	outside bool
	// useful: it had given results, or lived for a while. The next wait is the first one again.
	useful bool
}

// crashes decides, from the crashes of one generation, when it starts again.
type crashes struct {
	recent []crash
	streak int // crashes since a process was last of use
}

// add takes one more crash. It returns how long to wait before the next start, or false if this is a
// crash loop. The wait is random between nothing and a bound that doubles (full jitter), so that
// plugins that fell together do not rise together.
func (c *crashes) add(latest crash) (time.Duration, bool) {
	kept := c.recent[:0]
	own, outside := 0, 0
	for _, old := range append(c.recent, latest) {
		if latest.at.Sub(old.at) >= crashWindow {
			continue
		}
		kept = append(kept, old)
		if old.outside {
			outside++
		} else {
			own++
		}
	}
	c.recent = kept
	if own >= crashLimit || outside >= killLimit {
		return 0, false
	}
	if latest.useful || latest.outside {
		c.streak = 0
	}
	bound := restartMax
	if c.streak < 8 { // 200 ms doubled eight times is over the maximum
		bound = min(restartFirst<<c.streak, restartMax)
	}
	c.streak++
	return rand.N(bound), true
}
