package dispatch

import (
	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// lanes keep envelopes that were taken until a worker begins them.
type lanes [4]struct {
	envelopes []queue.Received
	credit    int // see pop
}

func (l *lanes) push(e queue.Received) { l[e.Lane].envelopes = append(l[e.Lane].envelopes, e) }

// pop takes the next envelope of the lane whose turn it is, by smooth weighted round robin as the queues do it:
// each lane that waits earns its weight, the richest is served and pays what all have earned. There must be one.
func (l *lanes) pop() queue.Received {
	best, total := -1, 0
	for i := range l {
		if len(l[i].envelopes) == 0 {
			l[i].credit = 0
			continue
		}
		weight := core.Lane(i).Weight()
		total += weight
		l[i].credit += weight
		if best < 0 || l[i].credit > l[best].credit {
			best = i
		}
	}
	lane := &l[best]
	lane.credit -= total
	e := lane.envelopes[0]
	lane.envelopes[0] = queue.Received{} // or it could not be freed
	lane.envelopes = lane.envelopes[1:]
	return e
}
