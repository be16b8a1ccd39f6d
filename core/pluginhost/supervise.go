package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// run keeps the generation alive until ctx ends, it is retired, or it fails for good: it starts a
// process, attends it until it ends, and starts another one after a pause.
func (g *generation) run(ctx context.Context) {
	defer close(g.done)
	defer g.settle()
	var history crashes
	for {
		outcome := g.once(ctx)
		g.settle()
		if ctx.Err() != nil || g.draining() {
			g.setState(core.GenerationStopped)
			return
		}
		if !outcome.innocent {
			g.meter.crash()
		}
		wait, again := history.add(outcome.crash)
		if permanent(outcome.err) || !g.deserves() {
			g.fail(outcome.err, outcome.innocent)
			return
		}
		if !again {
			g.fail(fmt.Errorf("crash loop: %d crashes within %s; the last: %w", len(history.recent), crashWindow, outcome.err), outcome.innocent)
			return
		}
		g.crashed(outcome.err, wait)
		if !pause(ctx, wait) {
			g.setState(core.GenerationStopped)
			return
		}
		g.mu.Lock()
		g.restarts++
		g.mu.Unlock()
	}
}

// deserves says whether the generation is started again after a crash: not before it was the active one.
func (g *generation) deserves() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.proven
}

func (g *generation) settle() { g.settleOnce.Do(func() { close(g.settled) }) }

// ending is how one process came to its end.
type ending struct {
	err   error
	crash crash
	// innocent: the plugin did no wrong; somebody else ended it, or this machine could not start it.
	innocent bool
}

// once starts a process and attends it to its end.
func (g *generation) once(ctx context.Context) ending {
	g.setState(core.GenerationStarting)
	g.fruitful.Store(false)
	p, about, err := g.bringUp(ctx)
	if err != nil {
		outside := fromOutside(err)
		return ending{err: err, crash: crash{at: time.Now(), outside: outside}, innocent: outside || !ofPlugin(err)}
	}
	err = g.attend(ctx, p, about)
	outside := p.runner.exited().outside()
	return ending{err: err, innocent: outside, crash: crash{
		at: time.Now(), outside: outside,
		useful: g.fruitful.Load() || time.Since(p.started) >= stableAfter,
	}}
}

// bringUp starts a process and asks who it is. On failure no process is left.
func (g *generation) bringUp(ctx context.Context) (*process, *description, error) {
	path, err := g.host.options.Catalog.Stage(g.source)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, g.host.options.Timing.Start)
	defer cancel()
	p, err := launch{
		plugin: g.plugin.name, path: path, runtime: g.host.runtime, env: g.host.options.Env,
		timing: g.host.options.Timing, stderr: g.stderr, log: g.log,
		plaintext: g.source.Plaintext, allowed: g.host.options.Plaintext, sandbox: g.host.options.Sandbox,
		yields: g.host.yields && g.other() != nil, // else messages wait for it
	}.start(ctx)
	if err != nil {
		return nil, nil, err
	}
	about, err := g.host.describe(ctx, p.service, g.plugin.name)
	if err != nil {
		if !permanent(err) {
			err = p.endedEarly("the answer of Describe", err)
		}
		p.end(false)
		return nil, nil, err
	}
	if !sameVersion(about.version, g.version) {
		g.log.Warn("plugin calls itself another version than its folder", "found", about.version, "expected", g.version)
	}
	return p, about, nil
}

// attend serves a ready process until it ends, and returns why. It ends the process when ctx ends or
// when the process no longer answers.
func (g *generation) attend(ctx context.Context, p *process, about *description) error {
	g.ready(p, about)
	life, end := context.WithCancel(ctx)
	hung := make(chan error, 1)
	var work sync.WaitGroup
	work.Go(func() { g.watchHealth(life, p, hung) })
	work.Go(func() { g.keepConfigured(life, p) })
	work.Go(func() { g.examine(life, p) })
	if about.capabilities.GetReceive() {
		work.Go(func() { g.receive(life, p) })
	}
	if about.capabilities.GetShare() && g.host.options.Shared != nil {
		work.Go(func() { g.share(life, p) })
	}
	g.settle()
	graceful := false
	var err error
	select {
	case <-p.runner.ended:
		err = fmt.Errorf("the plugin ended by itself: %s", p.runner.exited())
	case err = <-hung:
	case <-ctx.Done():
		graceful = true
		err = ctx.Err()
	}
	g.gone()
	end()
	p.end(graceful)
	work.Wait()
	return err
}

// ready makes p the generation's process. If a route has the generation, calls begin.
func (g *generation) ready(p *process, about *description) {
	exclusive := about.capabilities.GetExclusiveSession() || g.plugin.holdsSession(g)
	g.mu.Lock()
	g.process, g.about, g.startedAt = p, about, p.started
	g.pid = p.runner.pid
	g.bindings, g.health = map[core.ConnectorID]*binding{}, nil
	g.exam = exam{waiting: "its connectors are being configured"}
	g.parked = exclusive && g.role != core.GenerationActive
	role := g.role
	g.mu.Unlock()
	if p.yields {
		p.runner.yield(0)
	}
	g.setState(role)
	g.log.Info("plugin ready", "pid", p.runner.pid, "took", time.Since(p.started))
}

// holdsSession says whether a generation other than g is active and holds a session that only one may hold.
func (p *plugin) holdsSession(g *generation) bool {
	active := p.route.Load().active
	return active != nil && active != g && active.exclusive()
}

// gone takes the process away from callers.
func (g *generation) gone() {
	g.mu.Lock()
	g.process, g.pid = nil, 0
	if g.servesLocked() {
		g.state = core.GenerationStarting
	}
	g.mu.Unlock()
	g.host.notify()
}

func (g *generation) crashed(err error, wait time.Duration) {
	text := g.redactor.redact(err.Error())
	g.mu.Lock()
	g.problem = text
	if g.state != core.GenerationDraining {
		g.state = core.GenerationStarting
	}
	g.mu.Unlock()
	g.log.Error("plugin crashed, it is started again", "error", text, "in", wait)
	g.host.notify()
}

// pause waits, and says whether the whole time has passed.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// retire ends the generation: it takes no more calls, what is in flight has so much time to finish, the plugin
// drains, the process ends. It returns when the process is gone, and an error if attempts were cut
// off. Whoever comes second waits for the first, and can only be less patient.
func (g *generation) retire(ctx context.Context, patience time.Duration) error {
	timer := time.AfterFunc(patience, g.giveUp)
	defer timer.Stop()
	release := context.AfterFunc(ctx, g.giveUp)
	defer release()
	g.retireOnce.Do(func() {
		p, idle := g.refuse()
		if p != nil {
			g.cutOff = g.drain(ctx, p, idle)
		}
		g.cancel()
		<-g.done
	})
	return g.cutOff
}

// refuse lets no more calls begin. It returns the process, nil if there is none, and a channel that is
// closed when the last call has ended.
func (g *generation) refuse() (*process, <-chan struct{}) {
	g.mu.Lock()
	switch g.state {
	case core.GenerationStopped, core.GenerationFailed, core.GenerationStaged:
	default:
		g.state = core.GenerationDraining
	}
	g.retired = true
	g.wakeLocked()
	p := g.process
	g.mu.Unlock()
	g.host.notify()
	return p, g.idle
}

// errCutOff is what retire returns when attempts had to be given up.
var errCutOff = errors.New("attempts were still in flight at the end of the drain time")
