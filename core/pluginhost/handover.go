package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// handOver gives the sessions of an exclusive plugin from one generation to another: what is new waits, what is
// in flight finishes, the old one lets go of its connectors, the new one takes them. If it cannot, the old one
// takes them back. It runs alone for its plugin; what is arranged meanwhile is put in force at its end.
func (p *plugin) handOver(from, to *generation) {
	ctx, cancel := context.WithTimeout(context.Background(), p.host.options.Timing.Drain+2*p.host.options.Timing.Call)
	defer cancel()
	p.hold()
	began := time.Now()
	err := from.park(ctx)
	if err == nil {
		err = to.unpark(ctx)
	}
	if err != nil {
		to.refuseHandOver(ctx, fmt.Errorf("take over the session: %w", err))
		from.takeBack(ctx)
	}
	to.noteGap(time.Since(began))
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

// takeBack gives the generation back the connectors that it let go of.
func (g *generation) takeBack(ctx context.Context) {
	if g == nil {
		return
	}
	if err := g.unpark(ctx); err != nil {
		g.log.ErrorContext(ctx, "plugin did not get its session back, it is tried again", "error", err)
	}
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
func (g *generation) park(ctx context.Context) error {
	if g == nil || !g.running() {
		return nil
	}
	select {
	case <-g.silence():
	case <-ctx.Done():
		return errCutOff
	}
	return g.setParked(ctx, true)
}

// unpark has the process take its connectors, and says which it did not take.
func (g *generation) unpark(ctx context.Context) error {
	if err := g.setParked(ctx, false); err != nil {
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

func (g *generation) setParked(ctx context.Context, parked bool) error {
	g.mu.Lock()
	g.parked = parked
	p := g.process
	g.mu.Unlock()
	if p == nil {
		return errors.New("its process has ended")
	}
	g.reconcile(ctx, p)
	return nil
}

// refuseHandOver notes why the generation will not carry messages, and takes away what it took.
func (g *generation) refuseHandOver(ctx context.Context, err error) {
	g.log.ErrorContext(ctx, "plugin cannot take over the session", "error", err)
	g.mu.Lock()
	g.exam.problem = g.redactor.redact(err.Error())
	g.mu.Unlock()
	_ = g.setParked(ctx, true) // a process that has ended holds nothing
}
