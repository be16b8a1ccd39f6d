package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// handOver gives the sessions of an exclusive plugin from one generation to another: what is new waits, what is
// in flight finishes, the old one lets go of its connectors, the new one takes them. If it cannot, the old one
// takes them back. It runs alone for its plugin; what is arranged meanwhile is put in force at its end. Each of the
// steps has time of its own: one that took too long must not keep the session from going back.
func (p *plugin) handOver(from, to *generation) {
	p.hold()
	began := time.Now()
	err := from.park()
	innocent := err != nil
	if err == nil {
		if err = to.unpark(); err != nil {
			to.letGo()
		}
	}
	if err != nil {
		// A provider that does not take the old one either does not speak against the new one.
		innocent = !from.takeBack() || innocent
		to.refuseHandOver(fmt.Errorf("take over the session: %w", err), innocent)
	} else {
		to.noteGap(time.Since(began))
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	p.handing = false
	if err != nil {
		p.keepLocked(from, to)
		return
	}
	p.route.Swap(newRoute(p.arranged, to, nil)).release() // what is arranged by now may be something else again
	p.applyLocked()
}

// noteGap notes for how long nobody held the session.
func (g *generation) noteGap(gap time.Duration) {
	g.mu.Lock()
	g.gap = gap
	g.mu.Unlock()
	g.log.Info("session handed over", "gap", gap)
}

// takeBack gives the generation back the connectors that it let go of, and says whether it has them.
func (g *generation) takeBack() bool {
	if g == nil {
		return true
	}
	if err := g.unpark(); err != nil {
		g.log.Error("plugin did not get its session back, it is tried again", "error", err)
		return false
	}
	return true
}

// letGo takes away what the generation took of a session that it could not take whole.
func (g *generation) letGo() {
	_ = g.setParked(true) // a process that has ended holds nothing
}

// isParked says whether the generation has no connectors until it is the active one.
func (g *generation) isParked() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.parked
}

// hold lets new messages wait.
func (p *plugin) hold() {
	held := *p.route.Load()
	held.held, held.replaced = true, make(chan struct{})
	p.route.Swap(&held).release()
	p.host.notify()
}

// keepLocked goes on with the old generation after a failed hand-over. The arrangement is what somebody else has
// to take back: until then the old one carries what the new one should.
func (p *plugin) keepLocked(from, to *generation) {
	r := newRoute(p.arranged, from, to)
	r.share, r.shadow = 0, false
	p.route.Swap(r).release()
	p.host.notify()
}

// park waits for calls in flight and has the process let go of its connectors.
func (g *generation) park() error {
	if g == nil || !g.running() {
		return nil
	}
	if !within(g.silence(), g.host.options.Timing.Drain) {
		return errCutOff
	}
	return g.setParked(true)
}

// unpark has the process take its connectors, and says which it did not take.
func (g *generation) unpark() error {
	if err := g.setParked(false); err != nil {
		return err
	}
	for _, c := range g.desired() {
		g.mu.Lock()
		b, ok := g.bindings[c.ID]
		problem := ""
		if ok && b.refused {
			problem = summary(b.diagnostics) + b.problem
		}
		g.mu.Unlock()
		if problem != "" {
			return fmt.Errorf("connector %s: %s", c.ID, problem)
		}
	}
	return nil
}

// setParked gives the process its connectors, or takes them away. What it does not take now is offered again later.
func (g *generation) setParked(parked bool) error {
	g.mu.Lock()
	g.parked = parked
	p := g.process
	g.mu.Unlock()
	if p == nil {
		return errors.New("its process has ended")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*g.host.options.Timing.Call)
	defer cancel()
	if !g.reconcile(ctx, p) {
		g.tryAgain()
	}
	return nil
}

// tryAgain wakes what offers connectors again that were not taken.
func (g *generation) tryAgain() {
	select {
	case g.retry <- struct{}{}:
	default: // it is awake
	}
}

// refuseHandOver notes why the generation will not carry messages.
func (g *generation) refuseHandOver(err error, innocent bool) {
	g.log.Error("plugin cannot take over the session", "error", err)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.exam.problem, g.exam.innocent = g.redactor.redact(err.Error()), innocent
}
