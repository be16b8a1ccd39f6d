package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// handOver gives the sessions of an exclusive plugin from one generation to another: what is new waits, what is
// in flight finishes, the old one lets go of its connectors, the new one takes them. If it cannot, the old one
// takes them back. It runs alone for its plugin; what is arranged meanwhile is put in force at its end. Each of the
// steps has time of its own: one that took too long must not keep the session from going back.
func (p *plugin) handOver(from, to *generation) {
	p.hold()
	began, held := time.Now(), from.holds()
	err := from.park()
	innocent := err != nil
	if err == nil {
		if err = to.unpark(held); err != nil {
			err = errors.Join(err, to.letGo())
		}
	}
	if err != nil {
		// A provider that does not take the old one either does not speak against the new one.
		innocent = !from.takeBack(held) || innocent
		to.refuseHandOver(fmt.Errorf("take over the session: %w", err), innocent)
	} else {
		to.noteGap(time.Since(began))
	}
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	p.handing = false
	if err == nil {
		p.route.Swap(newRoute(p.arranged, to, nil)).release()
	} else {
		p.keepLocked(from, to)
	}
	if err == nil || p.arranged.Active != to.version { // what is arranged by now may be something else again
		p.applyLocked()
	}
}

// noteGap notes for how long nobody held the session.
func (g *generation) noteGap(gap time.Duration) {
	g.mu.Lock()
	g.gap = gap
	g.mu.Unlock()
	g.log.Info("session handed over", "gap", gap)
}

// takeBack gives the generation back the connectors that it let go of, and says whether it has those that it held.
func (g *generation) takeBack(held map[core.ConnectorID]bool) bool {
	if g == nil {
		return true
	}
	if err := g.unpark(held); err != nil {
		g.log.Error("plugin did not get its session back, it is tried again", "error", err)
		return false
	}
	return true
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

// holds lists the connectors that the process has, or had before it ended.
func (g *generation) holds() map[core.ConnectorID]bool {
	held := map[core.ConnectorID]bool{}
	if g == nil {
		return held
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for id, b := range g.bindings {
		if b.applied {
			held[id] = true
		}
	}
	return held
}

// park lets no more calls begin, waits for those in flight as long as a swap does, and has the process let go of its
// connectors. A process that starts later has none either.
func (g *generation) park() error {
	if g == nil {
		return nil
	}
	g.setParked(true)
	if !within(g.silence(), g.host.options.Timing.Retire) {
		return errCutOff
	}
	return g.letGo()
}

// letGo takes the process's connectors away. One that does not say that it let go of them is ended: then it holds
// nothing.
func (g *generation) letGo() error {
	p := g.setParked(true)
	if p == nil {
		return nil // it has ended
	}
	_, err := g.reconcileSoon(p)
	if err == nil {
		return nil
	}
	g.log.Warn("plugin does not say that it let go of its session: it is ended", "error", err)
	p.runner.signal(syscall.SIGKILL)
	if !within(p.runner.ended, reapWait) {
		return fmt.Errorf("the process that holds the session cannot be ended: %w", err)
	}
	return nil
}

// unpark has the process take its connectors. An error says which of those that the other version held it did not take;
// one that was broken before is nobody's fault.
func (g *generation) unpark(held map[core.ConnectorID]bool) error {
	p := g.setParked(false)
	if p == nil {
		return errors.New("its process has ended")
	}
	if settled, _ := g.reconcileSoon(p); !settled {
		g.tryAgain()
	}
	for _, c := range g.desired() {
		if err := g.untaken(p, c.ID, held[c.ID]); err != nil {
			return fmt.Errorf("connector %s: %w", c.ID, err)
		}
	}
	return nil
}

// untaken says why the process does not have a connector, nil if it does. It need not have taken one that is not needed.
func (g *generation) untaken(p *process, id core.ConnectorID, needed bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.bindings[id]
	switch {
	case g.process != p:
		return errors.New("its process has ended")
	case !ok:
		return errors.New("it was not configured in time")
	case b.refused && needed:
		return errors.New(summary(b.diagnostics) + b.problem)
	}
	return nil
}

// setParked says whether the process shall have its connectors, and any that starts in its place, and returns it.
func (g *generation) setParked(parked bool) *process {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.parked, g.role = parked, core.GenerationActive
	if parked {
		g.role = core.GenerationReady
	}
	return g.process
}

// reconcileSoon is reconcile with a bound of its own.
func (g *generation) reconcileSoon(p *process) (settled bool, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*g.host.options.Timing.Call)
	defer cancel()
	return g.reconcile(ctx, p)
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
