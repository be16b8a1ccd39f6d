package sandbox

import (
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// decision is what happens to one message.
type decision struct {
	latency      time.Duration
	outcome      Outcome
	code         string // the provider's own error code that is asked for
	receiptDelay time.Duration
	receipts     receiptTricks
}

// receiptTricks are what happens to the receipt of one message.
type receiptTricks struct{ doubled, early, forged, disordered bool }

// faults holds the fault of each channel.
type faults struct {
	names        []string // what there are faults for
	receiptDelay time.Duration

	mu       sync.Mutex
	random   *rand.Rand
	current  map[string]Fault
	throttle map[string]*rate.Limiter
}

func newFaults(names []string, receiptDelay time.Duration, seed uint64) *faults {
	return &faults{
		names:        names,
		receiptDelay: receiptDelay,
		random:       rand.New(rand.NewPCG(seed, seed)),
		current:      map[string]Fault{},
		throttle:     map[string]*rate.Limiter{},
	}
}

// set puts a valid fault in the place of the channel's current one.
func (f *faults) set(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.current[fault.Channel] = fault
	delete(f.throttle, fault.Channel)
	if fault.Throttle > 0 {
		burst := max(1, int(fault.Throttle/10))
		f.throttle[fault.Channel] = rate.NewLimiter(rate.Limit(fault.Throttle), burst)
	}
}

// clear ends the fault of a channel, or of all when it is empty.
func (f *faults) clear(channel string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for name := range f.current {
		if channel == "" || channel == name {
			delete(f.current, name)
			delete(f.throttle, name)
		}
	}
}

// all returns the fault of every channel, also of those without one.
func (f *faults) all() map[string]Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := map[string]Fault{}
	for _, name := range f.names {
		fault := f.current[name]
		fault.Channel = name
		out[name] = fault
	}
	return out
}

// decide throws the dice for one message.
func (f *faults) decide(channel string) decision {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault := f.current[channel]
	d := decision{
		latency:      time.Duration(fault.LatencyMS) * time.Millisecond,
		outcome:      OutcomeDelivered,
		receiptDelay: f.receiptDelay,
	}
	if fault.ReceiptDelayMS != nil {
		d.receiptDelay = time.Duration(*fault.ReceiptDelayMS) * time.Millisecond
	}
	d.receipts = receiptTricks{
		doubled: f.hit(fault.ReceiptDoubled), early: f.hit(fault.ReceiptEarly),
		forged: f.hit(fault.ReceiptForged), disordered: f.hit(fault.ReceiptDisordered),
	}
	limiter := f.throttle[channel]
	switch {
	case fault.Throttle < 0, limiter != nil && !limiter.Allow():
		d.outcome = OutcomeThrottled
	case f.hit(fault.ErrorRate):
		d.outcome = OutcomeFailed
		if fault.ErrorKind == ErrorPermanent {
			d.outcome = OutcomeRefused
		}
		d.code = fault.ErrorCode
	case f.hit(fault.Unanswered):
		d.outcome = OutcomeUnanswered
	case f.hit(fault.AcceptThenDrop):
		d.outcome = OutcomeDropped
	case f.hit(fault.Undelivered):
		d.outcome = OutcomeUndelivered
	}
	return d
}

func (f *faults) hit(share Share) bool {
	return share > 0 && f.random.Float64() < float64(share)
}
