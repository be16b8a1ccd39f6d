// Package chaos runs a gateway under load, breaks what it stands on, and judges afterwards whether every
// promise was kept.
//
// Three parties know of each message, and none of them trusts another: the caller, who has the answers to its
// requests (book); the provider, which is the sandbox with its append-only ledger (witness); and the gateway's
// own database (truth). A check lays the three beside each other: what was accepted is there, once, in a final
// state; what was sent stands in the ledger; what stands in the ledger has an attempt; what stands there
// twice carries the mark.
//
// Faults are injected one by one, with a check after each, or mixed at random times from a seed. Everything runs
// in private processes of this run: engines, gateways behind proxies, providers. Whatever ends the run, they
// end with it.
package chaos

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"
)

// The technologies that a run can stand on.
const (
	Embedded   = "embedded"
	Production = "production"
)

// Options say what a run does.
type Options struct {
	// Engines is Embedded or Production.
	Engines string
	// Bin is the folder with pigeonry and plugins/.
	Bin string
	// Gateway is the gateway's program; default: that in Bin.
	Gateway string
	// Source is the folder of the repository, from which gateways with a clock that can be shifted are built.
	// Empty: faults of the clock are left out.
	Source string
	// Messages are accepted before a mixed run ends; one by one the faults decide, and these are the fewest.
	Messages int
	// Rate is how many messages are sent a second.
	Rate float64
	// Faults are the names of the faults to inject; one with a minus before it is left out of all. Empty: all.
	Faults []string
	// Mixed injects faults at random times, also while others last; otherwise one after the other, with a check
	// after each.
	Mixed bool
	// EveryMin and EveryMax bound the time from one fault to the next of a mixed run.
	EveryMin, EveryMax time.Duration
	// Brief shortens the faults that last, and leaves out what shows only in a long run.
	Brief bool
	// AtEnd checks once, when all faults have been injected, instead of after each.
	AtEnd bool
	// Targeted leaves out everything but the faults and the check: no warm-up, no look at what gateways hold.
	Targeted bool
	// Patience is how long messages may take to reach a final state once the load rests; default 6 min: the
	// longest lease, and the backoff of a message that was refused again and again.
	Patience time.Duration
	// Slack stretches the limits of recovery, for a machine that does something else as well; default 1.
	Slack float64
	// Settings go into the connectors of the gateway.
	Settings string
	// Seed decides all that is random; 0 draws one.
	Seed uint64
	// Keep leaves the folder of the run behind.
	Keep bool
	// Progress is told what happens.
	Progress io.Writer
}

// Run runs until all is done or ctx ends, and reports what was found. An error means that the run itself could
// not be made; what the gateway did wrong is in the report.
func Run(ctx context.Context, o Options) (*Report, error) {
	if err := o.complete(); err != nil {
		return nil, err
	}
	r := &run{o: o, dice: rand.New(rand.NewPCG(o.Seed, o.Seed)), began: time.Now()}
	r.report = &Report{Seed: o.Seed, Engines: o.Engines, Mixed: o.Mixed, Statuses: map[string]int{}}
	r.say("seed %d: %s, %.0f messages a second", o.Seed, o.Engines, o.Rate)
	err := r.run(ctx)
	r.report.Seconds = time.Since(r.began).Seconds()
	return r.report, err
}

func (o *Options) complete() error {
	if o.Engines != Embedded && o.Engines != Production {
		return fmt.Errorf("there are no engines %q; use %s or %s", o.Engines, Embedded, Production)
	}
	if o.Rate <= 0 {
		return fmt.Errorf("a rate of %v messages a second is no load", o.Rate)
	}
	if o.Mixed && (o.EveryMin <= 0 || o.EveryMax < o.EveryMin) {
		return fmt.Errorf("faults cannot come every %s to %s", o.EveryMin, o.EveryMax)
	}
	for o.Seed == 0 {
		o.Seed = uint64(rand.Uint32()) // short enough to be typed
	}
	if o.Slack == 0 {
		o.Slack = 1
	}
	if o.Patience == 0 {
		o.Patience = 6 * time.Minute
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
	return nil
}

// run is one run.
type run struct {
	o      Options
	dice   *rand.Rand
	began  time.Time
	report *Report

	reporting sync.Mutex
	known     map[string]bool // violations that are in the report

	stage   *stage
	book    *book
	load    *load
	witness *witness
	faults  []Fault
}

func (r *run) say(format string, args ...any) {
	fmt.Fprintf(r.o.Progress, "%7.1fs  %s\n", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

func (r *run) run(ctx context.Context) (err error) {
	r.book = newBook()
	r.stage, err = newStage(r.o, r.say)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.stage.close()) }()
	if r.faults, err = r.chosen(); err != nil {
		return err
	}
	if err := r.stage.start(ctx, needs(r.faults)); err != nil {
		return err
	}
	r.witness = startWitness(r.stage.sandbox, r.book)
	defer r.witness.stop()
	r.load = startLoad(r.o.Rate, r.stage.addresses(), r.book)
	defer r.load.stop()
	return r.play(ctx)
}

// chosen are the faults that were asked for: those that are named, or all but those that are named with a minus.
func (r *run) chosen() ([]Fault, error) {
	all := r.stage.faults()
	var chosen []Fault
	for _, name := range r.o.Faults {
		bare, without := strings.CutPrefix(name, "-")
		i := slices.IndexFunc(all, func(f Fault) bool { return f.Name == bare })
		switch {
		case i < 0:
			return nil, fmt.Errorf("there is no fault %q on engines %s; there are %s", bare, r.o.Engines,
				strings.Join(FaultNames(r.o.Engines), ", "))
		case without:
			all = slices.Delete(all, i, i+1)
		default:
			chosen = append(chosen, all[i])
		}
	}
	if len(chosen) == 0 {
		return all, nil
	}
	return chosen, nil
}

// FaultNames lists the faults there are on some engines.
func FaultNames(engines string) []string {
	s := &stage{o: Options{Engines: engines}}
	s.describe()
	var names []string
	for _, f := range s.faults() {
		names = append(names, f.Name)
	}
	return names
}
