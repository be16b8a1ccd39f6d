package main

import (
	"crypto/rand"
	"hash/maphash"

	"github.com/pigeonry/pigeonry/sdk"
)

// maxRepeats bounds how many unacknowledged messages are remembered.
const maxRepeats = 1000

// repeats gives inbound messages their dedupe keys. SMPP numbers no inbound message, and the same
// words may well be sent twice on purpose, so that each arrival has a key of its own; only a
// message whose acknowledgement did not get through has the same key when the SMSC repeats it.
type repeats struct {
	seed  maphash.Seed
	keys  map[uint64]string // by content
	order []uint64          // oldest first
}

func newRepeats() *repeats {
	return &repeats{seed: maphash.MakeSeed(), keys: make(map[uint64]string)}
}

func (r *repeats) content(m sdk.Inbound) uint64 {
	return maphash.Comparable(r.seed, [3]string{m.From, m.To, m.Text})
}

// key gives the dedupe key of a message and forgets that it was to be repeated.
func (r *repeats) key(m sdk.Inbound) string {
	content := r.content(m)
	if key, ok := r.keys[content]; ok {
		delete(r.keys, content)
		return key
	}
	return rand.Text()
}

// remember keeps the key of a message that the SMSC will repeat.
func (r *repeats) remember(m sdk.Inbound) {
	content := r.content(m)
	if _, ok := r.keys[content]; !ok {
		r.order = append(r.order, content)
	}
	r.keys[content] = m.DedupeKey
	for len(r.order) > maxRepeats {
		delete(r.keys, r.order[0])
		r.order = r.order[1:]
	}
}
