package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// warmUp passes before the first fault, and between a recovery and the check after it.
	warmUp = 2 * time.Second
	// giveUpAfter is how long after its limit a recovery is still waited for, so that its time is told.
	giveUpAfter = time.Minute
	// doublesAllowed is the share of messages that may be taken twice in a whole mixed run.
	doublesAllowed = 0.001
)

// broken is an error of a fault that is the gateway's: it did not keep a promise.
type broken struct{ what string }

func (b broken) Error() string { return b.what }

// play is the whole run on a stage that stands.
func (r *run) play(ctx context.Context) error {
	if err := r.prepareClocks(ctx); err != nil {
		return err
	}
	before, err := r.warm(ctx)
	if err != nil {
		return err
	}
	play := r.oneByOne
	if r.o.Mixed {
		play = r.mixed
	}
	if err := errors.Join(play(ctx), r.stage.behave(ctx)); err != nil {
		return err
	}
	v, err := r.check(ctx)
	if err != nil {
		return err
	}
	r.take(ctx, v, "")
	if !r.o.Targeted {
		r.compare(before, r.measure(ctx))
	}
	r.conclude(v)
	return nil
}

// prepareClocks has the gateway whose clock will be shifted run as a program that allows it.
func (r *run) prepareClocks(ctx context.Context) error {
	for i := range r.faults {
		if f := &r.faults[i]; f.Skip == "" && f.clock != nil {
			r.say("building %s with a clock that can be shifted", f.clock.name)
			return r.stage.replace(ctx, f.clock)
		}
	}
	return nil
}

// warm lets some load through and waits until it is done, so that what a gateway needs under load is there when its
// needs at rest are measured.
func (r *run) warm(ctx context.Context) (map[string]needsAtRest, error) {
	if r.o.Targeted {
		return nil, nil
	}
	r.load.resume()
	if err := sleep(ctx, 2*r.pause(), nil); err != nil {
		return nil, err
	}
	v, err := r.check(ctx)
	if err != nil {
		return nil, err
	}
	r.take(ctx, v, "the warm-up, without any fault")
	if v.doubles > 0 {
		r.violate(Violation{Kind: Doubles, Detail: fmt.Sprintf("%d doubles without any fault", v.doubles)})
	}
	return r.measure(ctx), nil
}

// oneByOne injects each fault alone and checks after it.
func (r *run) oneByOne(ctx context.Context) error {
	doubles := 0
	for i := range r.faults {
		f := &r.faults[i]
		if r.skipped(f) {
			continue
		}
		r.load.resume()
		if err := sleep(ctx, r.pause(), nil); err != nil {
			return err
		}
		outcome := r.perform(ctx, f, nil)
		if err := errors.Join(ctx.Err(), sleep(ctx, r.pause(), nil)); err != nil {
			return err
		}
		if !r.o.AtEnd {
			total, err := r.checkAfter(ctx, f, outcome)
			if err != nil {
				return err
			}
			outcome.Doubles = total - doubles
			doubles = total
		}
		r.report.Faults = append(r.report.Faults, *outcome)
	}
	return r.fillUp(ctx)
}

// pause is how long load goes by between faults.
func (r *run) pause() time.Duration {
	if r.o.Brief && !r.o.Targeted {
		return warmUp / 2
	}
	return warmUp // a targeted run is about what waits when the fault comes
}

// checkAfter checks after a fault and returns how many doubles there are by now.
func (r *run) checkAfter(ctx context.Context, f *Fault, o *Outcome) (doubles int, err error) {
	began := time.Now()
	v, err := r.check(ctx)
	if err != nil {
		return 0, err
	}
	o.Drained = time.Since(began).Seconds()
	r.take(ctx, v, f.Name)
	r.say("%-20s checked: %d accepted, %d doubles in all, all done after %.1f s", f.Name, v.accepted, v.doubles, o.Drained)
	return v.doubles, nil
}

// fillUp goes on until as many messages as asked for are accepted.
func (r *run) fillUp(ctx context.Context) error {
	r.load.resume()
	for begun, _ := r.book.counts(); begun < r.o.Messages; begun, _ = r.book.counts() {
		if err := sleep(ctx, 100*time.Millisecond, nil); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) skipped(f *Fault) bool {
	if f.Skip == "" {
		return false
	}
	r.say("%-20s left out: %s", f.Name, f.Skip)
	r.report.Faults = append(r.report.Faults, Outcome{Name: f.Name, Skipped: f.Skip})
	return true
}

// mixed injects faults at random times until as many messages as asked for are begun.
func (r *run) mixed(ctx context.Context) error {
	m := &mixture{busy: map[string]bool{}}
	var possible []*Fault
	for i := range r.faults {
		if f := &r.faults[i]; !r.skipped(f) {
			possible = append(possible, f)
		}
	}
	if len(possible) == 0 {
		return errors.New("no fault can be injected here")
	}
	r.load.resume()
	var performing sync.WaitGroup
	defer performing.Wait()
	for r.pauseBetween(ctx) {
		f := m.pick(r.dice, possible)
		if f == nil {
			continue
		}
		performing.Go(func() {
			defer m.release(f)
			outcome := r.perform(ctx, f, m)
			m.mu.Lock()
			defer m.mu.Unlock()
			r.report.Faults = append(r.report.Faults, *outcome)
		})
	}
	return ctx.Err()
}

// pauseBetween waits for the time of the next fault. It is false once there are enough messages.
func (r *run) pauseBetween(ctx context.Context) bool {
	pause := r.o.EveryMin + time.Duration(r.dice.Int64N(int64(r.o.EveryMax-r.o.EveryMin)+1))
	for end := time.Now().Add(pause); time.Now().Before(end); {
		if begun, _ := r.book.counts(); begun >= r.o.Messages || sleep(ctx, 100*time.Millisecond, nil) != nil {
			return false
		}
	}
	return true
}

// mixture are the faults of a mixed run that last at the moment.
type mixture struct {
	mu   sync.Mutex
	busy map[string]bool // targets that are hit or recover
	hits int             // faults so far
}

// pick draws a fault whose target is not hit at the moment, nil if there is none.
func (m *mixture) pick(dice *rand.Rand, possible []*Fault) *Fault {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, i := range dice.Perm(len(possible)) {
		if f := possible[i]; !m.busy[f.Target] {
			m.busy[f.Target] = true
			m.hits++
			return f
		}
	}
	return nil
}

func (m *mixture) release(f *Fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.busy, f.Target)
}

// alone says whether a fault is the only one since so many hits.
func (m *mixture) alone(hits int) bool {
	if m == nil {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.busy) == 1 && m.hits == hits
}

func (m *mixture) count() int {
	if m == nil {
		return 0
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.hits
}

// perform injects a fault, heals it and waits for the recovery.
func (r *run) perform(ctx context.Context, f *Fault, m *mixture) *Outcome {
	hits := m.count()
	outcome := &Outcome{Name: f.Name, At: time.Since(r.began).Seconds(), Limit: f.Limit.Seconds() * r.o.Slack}
	injected := time.Now()
	recovery := r.book.watch(injected, len(r.stage.addresses()))
	r.say("%-20s injected", f.Name)
	r.accuse(f, f.Inject(ctx))
	_ = sleep(ctx, f.Hold, f.until(recovery)) // what was broken is healed in any case
	r.accuse(f, f.Heal(context.WithoutCancel(ctx)))
	since := injected
	if !f.SelfHealing {
		since = time.Now()
		r.book.unwatch(recovery)
		recovery = r.book.watch(since, len(r.stage.addresses()))
		outcome.Outage = since.Sub(injected).Seconds()
		r.say("%-20s healed after %.1f s", f.Name, outcome.Outage)
	}
	defer r.book.unwatch(recovery)
	r.awaitRecovery(ctx, f, outcome, recovery, since)
	outcome.Alone = m.alone(hits)
	r.judgeRecovery(f, outcome)
	return outcome
}

func (r *run) awaitRecovery(ctx context.Context, f *Fault, o *Outcome, recovery *recovery, since time.Time) {
	patience := time.Duration(o.Limit*float64(time.Second)) + giveUpAfter
	_ = sleep(ctx, patience, recovery.done)
	select {
	case <-recovery.done:
		o.Recovery = recovery.last.Sub(since).Seconds()
		r.say("%-20s recovered after %.1f s", f.Name, o.Recovery)
	default:
		o.Recovery = -1
		r.say("%-20s has not recovered after %s", f.Name, patience)
	}
}

// judgeRecovery holds the recovery against its limit. While other faults last, nobody can say whose it is.
func (r *run) judgeRecovery(f *Fault, o *Outcome) {
	if o.Recovery >= 0 && o.Recovery <= o.Limit || !o.Alone {
		return
	}
	detail := fmt.Sprintf("%s: recovered after %.1f s, allowed are %.0f s", f.Name, o.Recovery, o.Limit)
	if o.Recovery < 0 {
		detail = fmt.Sprintf("%s: not recovered within %.0f s", f.Name, o.Limit+giveUpAfter.Seconds())
	}
	r.violate(Violation{Kind: Slow, Detail: detail})
}

// accuse notes what went wrong with a step of a fault. It is the gateway's fault, unless the step could not be made.
func (r *run) accuse(f *Fault, err error) {
	if err == nil {
		return
	}
	r.say("%-20s %v", f.Name, err)
	r.violate(Violation{Kind: Ended, Detail: f.Name + ": " + err.Error()})
}
