package main

import (
	"bytes"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// Bounds of reassembly.
const (
	// partWait is how long the answer to a part is held back for its siblings.
	partWait = 2 * time.Second
	// partPatience is how long a message may stay incomplete before it is handed on as it is, and
	// how long a message handed on is remembered for repeats of its parts.
	partPatience = 5 * time.Minute
	// maxAssemblies is how many messages are kept, maxAssemblyBytes how much memory they take:
	// slotBytes, more or less, for each part and the octets of those that came.
	maxAssemblies    = 1000
	maxAssemblyBytes = 4 << 20
	slotBytes        = 160
)

// reassembly puts long inbound messages together. It belongs to the goroutine of Receive.
//
// A part is acknowledged together with its siblings once the whole message is stored. When they do
// not come soon, the part is refused for the time being but kept: an SMSC that goes on to the next
// part completes the message that way, and the repeat of the refused part is then acknowledged as
// known. Only an SMSC that repeats a part before it sends the next one has it acknowledged from
// memory, as nothing else would make it go on.
type reassembly struct {
	known map[partKey]*assembly
	order []*assembly // oldest first
	bytes int
	spilt []*assembly // incomplete and out of time or room: the next expire hands them on
}

// partKey tells which message a part belongs to.
type partKey struct {
	from, to  string
	reference uint16
	total     int
}

// assembly is a message in the making, or one made a while ago.
type assembly struct {
	key     partKey
	began   time.Time
	slots   []slot // by number
	missing int
	closed  bool // handed on
}

// slot is the place of one part.
type slot struct {
	part    part
	have    bool
	refused bool // once, for the time being
	waiting []*delivery
	since   time.Time
}

func newReassembly() *reassembly {
	return &reassembly{known: make(map[partKey]*assembly)}
}

// add takes a part. Once the message is complete it gives all parts and the deliveries that wait for
// it to be stored. For a part of a message made before it gives the delivery alone.
func (r *reassembly) add(now time.Time, p part, d *delivery) (parts []part, waiting []*delivery) {
	a := r.find(now, p)
	s := &a.slots[p.concat.Number-1]
	switch {
	case a.closed:
		return nil, []*delivery{d}
	case s.have && s.refused:
		d.reply(smpp.StatusOK)
		return nil, nil
	case !s.have:
		s.part, s.have, s.since = p, true, now
		a.missing--
		r.bytes += len(p.octets)
	}
	s.waiting = append(s.waiting, d)
	if a.missing > 0 {
		r.makeRoom()
		return nil, nil
	}
	a.closed = true
	return a.parts(), a.release()
}

// find gives the message that p is a part of, or a new one. One that has other octets in the place of
// p only has the same reference number by chance.
func (r *reassembly) find(now time.Time, p part) *assembly {
	key := partKey{p.from, p.to, p.concat.Reference, p.concat.Total}
	if a := r.known[key]; a != nil {
		s := a.slots[p.concat.Number-1]
		if s.have && bytes.Equal(s.part.octets, p.octets) || !s.have && !a.closed {
			return a
		}
		r.drop(a)
	}
	a := &assembly{key: key, began: now, slots: make([]slot, key.total), missing: key.total}
	r.known[key] = a
	r.order = append(r.order, a)
	r.bytes += key.total * slotBytes
	return a
}

// drop forgets a message; an incomplete one is to be handed on as it is.
func (r *reassembly) drop(a *assembly) {
	delete(r.known, a.key)
	r.order = slices.DeleteFunc(r.order, func(b *assembly) bool { return a == b })
	r.bytes -= len(a.slots) * slotBytes
	for _, s := range a.slots {
		r.bytes -= len(s.part.octets)
	}
	if !a.closed {
		refuse(a.release())
		r.spilt = append(r.spilt, a)
	}
}

func (r *reassembly) makeRoom() {
	for len(r.order) > maxAssemblies || r.bytes > maxAssemblyBytes {
		r.drop(r.order[0])
	}
}

// expire refuses, for the time being, what has waited too long for its siblings, and gives the
// messages that stay incomplete. Those are remembered, so that repeats of their parts do no harm.
func (r *reassembly) expire(now time.Time) (incomplete []*assembly) {
	for _, a := range slices.Clone(r.order) {
		for i := range a.slots {
			if s := &a.slots[i]; len(s.waiting) > 0 && now.Sub(s.since) >= partWait {
				refuse(s.take())
			}
		}
		switch {
		case now.Sub(a.began) < partPatience:
		case a.closed:
			r.drop(a)
		default:
			refuse(a.release())
			a.closed, a.began = true, now
			incomplete = append(incomplete, a)
		}
	}
	incomplete = append(incomplete, r.spilt...)
	r.spilt = nil
	return incomplete
}

// release refuses everything that waits, for the time being: nobody hands on events now.
func (r *reassembly) release() {
	for _, a := range r.order {
		refuse(a.release())
	}
}

func refuse(all []*delivery) {
	for _, d := range all {
		d.reply(smpp.StatusTemporaryAppError)
	}
}

// parts are those that came, in their order.
func (a *assembly) parts() (all []part) {
	for _, s := range a.slots {
		if s.have {
			all = append(all, s.part)
		}
	}
	return all
}

// absent are the numbers of those that did not come.
func (a *assembly) absent() (numbers []int) {
	for i, s := range a.slots {
		if !s.have {
			numbers = append(numbers, i+1)
		}
	}
	return numbers
}

// release takes all deliveries that wait.
func (a *assembly) release() (all []*delivery) {
	for i := range a.slots {
		all = append(all, a.slots[i].take()...)
	}
	return all
}

// take takes the deliveries that wait for the message: they are answered by whoever took them.
func (s *slot) take() []*delivery {
	if len(s.waiting) > 0 {
		s.refused = true
	}
	waiting := s.waiting
	s.waiting = nil
	return waiting
}
