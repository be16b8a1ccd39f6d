package chaos

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// Limits of recovery: the time until messages that are accepted after a fault arrive at the provider again.
const (
	gatewayLimit = 10 * time.Second
	brokerLimit  = 30 * time.Second
	// noticeLimit is for connections whose other end is gone without a word: first that has to be noticed.
	noticeLimit = 45 * time.Second
)

// Fault is one thing that goes wrong.
type Fault struct {
	// Name is what it is asked for by.
	Name string
	// Target is what it hits. Faults that hit the same never overlap.
	Target string
	// Hold is how long it lasts; with SelfHealing at most, as it is over when all has recovered.
	Hold time.Duration
	// Limit bounds the recovery, which counts from the heal; with SelfHealing from the injection.
	Limit       time.Duration
	SelfHealing bool
	// Needs names the disk that must be there, "" if none.
	Needs string
	// Skip says why the fault cannot be injected here, "" if it can.
	Skip string
	// clock is the gateway whose clock is shifted, nil if none.
	clock *gateway
	// Inject breaks something, Heal mends it. Heal returns when what was broken serves again, apart from gateways.
	Inject func(context.Context) error
	Heal   func(context.Context) error
}

// until is closed when the fault is over before its time.
func (f *Fault) until(r *recovery) <-chan struct{} {
	if f.SelfHealing {
		return r.done
	}
	return nil
}

// needs are the disks that faults need.
func needs(faults []Fault) map[string]bool {
	needed := map[string]bool{}
	for i := range faults {
		if f := &faults[i]; f.Needs != "" && f.Skip == "" {
			needed[f.Needs] = true
		}
	}
	return needed
}

func nothing(context.Context) error { return nil }

// simple makes a step of something that needs no context.
func simple(step func() error) func(context.Context) error {
	return func(context.Context) error { return step() }
}

// faults is the table of all faults that there are on the stage.
func (s *stage) faults() []Fault {
	faults := s.processFaults()
	if s.o.Engines == Production {
		faults = append(faults, s.engineFaults()...)
		faults = append(faults, s.networkFaults()...)
	}
	faults = append(faults, s.diskFaults()...)
	faults = append(faults, s.clockFaults()...)
	faults = append(faults, s.providerFaults()...)
	return append(faults, s.receiptFaults()...)
}

// brief is the time that a fault lasts: a brief run has less of it.
func (s *stage) brief(usual, brief time.Duration) time.Duration {
	if s.o.Brief {
		return brief
	}
	return usual
}

// beyondLease is longer than a worker may have a message: the deadline of its delivery and the lease after it.
const beyondLease = 45 * time.Second

// limitOf is the limit of an engine.
func limitOf(name string) time.Duration {
	if name == engine.Rabbit {
		return brokerLimit
	}
	return gatewayLimit
}
