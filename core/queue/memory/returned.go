package memory

import "github.com/pigeonry/pigeonry/core"

// returned holds envelopes that came back, and gives the one that was published first: a binary heap by
// id, so that a subscription may end with any number of them.
type returned []core.Envelope

func (r *returned) push(e core.Envelope) {
	*r = append(*r, e)
	h := *r
	for i := len(h) - 1; i > 0; {
		parent := (i - 1) / 2
		if h[parent].ID <= h[i].ID {
			return
		}
		h[parent], h[i] = h[i], h[parent]
		i = parent
	}
}

// pop takes the first. There must be one.
func (r *returned) pop() core.Envelope {
	h := *r
	first, last := h[0], len(h)-1
	h[0], h[last] = h[last], core.Envelope{}
	h = h[:last]
	*r = h
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(h); child++ {
			if h[child].ID < h[least].ID {
				least = child
			}
		}
		if least == i {
			return first
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
}
