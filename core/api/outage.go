package api

import (
	"sync"
	"time"
)

// outageEvery is how often an outage that goes on is logged.
const outageEvery = 10 * time.Second

// outages keeps one that thousands of requests run into from filling the log: what fails alike is logged once in a while,
// with the number of those that were left out.
type outages struct {
	mu   sync.Mutex
	seen map[string]*silence
}

// silence follows a line of the log.
type silence struct {
	until   time.Time
	leftOut int
}

// worthALine says whether a failure is to be logged, and how many like it were left out since the line before. What
// fails is one of few things, such as a route.
func (o *outages) worthALine(what string) (leftOut int, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	s := o.seen[what]
	if s == nil {
		s = &silence{}
		if o.seen == nil {
			o.seen = map[string]*silence{}
		}
		o.seen[what] = s
	}
	if now.Before(s.until) {
		s.leftOut++
		return 0, false
	}
	leftOut, *s = s.leftOut, silence{until: now.Add(outageEvery)}
	return leftOut, true
}
