package dispatch

import "github.com/pigeonry/pigeonry/core"

// lanes keep what waits for its turn.
type lanes[T any] [4]struct {
	items  []T
	credit int // see pop
}

func (l *lanes[T]) push(lane core.Lane, item T) { l[lane].items = append(l[lane].items, item) }

// pop takes the first item of the lane whose turn it is, by smooth weighted round robin as the queues do it:
// each lane that waits earns its weight, the richest is served and pays what all have earned. It is false if nothing waits.
func (l *lanes[T]) pop() (item T, ok bool) {
	best, total := -1, 0
	for i := range l {
		if len(l[i].items) == 0 {
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
	if best < 0 {
		return item, false
	}
	lane := &l[best]
	lane.credit -= total
	item, lane.items[0] = lane.items[0], item // an item that stayed could not be freed
	lane.items = lane.items[1:]
	return item, true
}
