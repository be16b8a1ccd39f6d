package pluginhost

import (
	"context"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// exam is whether a process could carry messages, as far as that shows without sending any.
type exam struct {
	waiting string // why not yet
	problem string // why never
	// innocent: the problem is not the version's own fault.
	innocent bool
}

const (
	examEvery = 500 * time.Millisecond
	// examChecks is how often in a row a provider that the other version reaches may not be reached.
	examChecks = 3
)

// examine finds out whether a new process has what it needs: each connector that the active version carries has
// to be taken, and its provider to be reached. It ends once that is so, or never will be.
func (g *generation) examine(ctx context.Context, p *process) {
	for failed := 0; ; {
		changed := g.host.Changed()
		result, checked := g.examineOnce(ctx, p)
		if checked {
			failed++
			changed = nil // a provider is not asked again at once
		}
		if failed == examChecks {
			result = exam{problem: result.waiting}
		}
		if ctx.Err() != nil || !g.note(p, result) {
			return
		}
		if !pauseUntil(ctx, examEvery, changed) {
			return
		}
	}
}

// pauseUntil waits for a time or until a channel is closed; it returns false if ctx ended.
func pauseUntil(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-changed:
	}
	return true
}

// note takes over the result, and says whether another look is needed.
func (g *generation) note(p *process, result exam) bool {
	g.mu.Lock()
	if g.process != p {
		g.mu.Unlock()
		return false
	}
	changed := g.exam != result
	g.exam = result
	g.mu.Unlock()
	if result == (exam{}) {
		g.plugin.arrived()
	}
	if changed {
		g.host.notify()
	}
	return result.waiting != "" && result.problem == ""
}

// passed says whether the generation could carry messages.
func (g *generation) passed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.servesLocked() && g.exam == (exam{})
}

// examineOnce looks once. Checked says that it is a check of a provider that failed.
func (g *generation) examineOnce(ctx context.Context, p *process) (result exam, checked bool) {
	g.mu.Lock()
	parked, shadow := g.parked, g.shadow
	g.mu.Unlock()
	if !g.host.configured.Load() {
		return exam{waiting: "the gateway has not read its connectors yet"}, false
	}
	if parked {
		return g.examineParked(ctx, p), false
	}
	desired := g.desired()
	if shadow && len(desired) == 0 {
		return exam{problem: "no connector of plugin " + g.plugin.name + " has a shadow_config: copies could reach people"}, false
	}
	for _, c := range desired {
		if result := g.examineBinding(c); result != (exam{}) {
			return result, false
		}
	}
	other := g.other()
	if other == nil {
		return exam{}, false // a provider that is away is nobody's fault
	}
	for _, c := range desired {
		if err := g.reaches(ctx, p, c.ID); err != nil && other.reachesToo(ctx, c.ID) {
			return exam{waiting: fmt.Sprintf("connector %s does not reach its provider: %v", c.ID, err)}, true
		}
	}
	return exam{}, false
}

// examineParked has a process that gets no connectors yet judge their configurations.
func (g *generation) examineParked(ctx context.Context, p *process) exam {
	ctx, cancel := context.WithTimeout(ctx, g.host.options.Timing.Call)
	defer cancel()
	desired := g.host.desiredOf(g.plugin.name)
	g.hideSecrets(desired)
	for _, c := range desired {
		verdict, err := p.service.ValidateConfig(ctx, &channelv1.ValidateConfigRequest{Config: c.Config, Channel: c.ID.Channel()})
		if err != nil {
			return exam{waiting: callError("ValidateConfig", err).Error()}
		}
		ds := g.diagnostics(verdict.GetDiagnostics())
		if !hasError(ds) {
			continue
		}
		result := g.besideOther(c.ID, exam{problem: fmt.Sprintf("connector %s: %s", c.ID, summary(ds))})
		if result != (exam{}) {
			return result
		}
	}
	return exam{}
}

// examineBinding says what keeps a connector from being taken.
func (g *generation) examineBinding(c ConnectorConfig) exam {
	g.mu.Lock()
	b, ok := g.bindings[c.ID]
	if ok && !b.config.Same(c) {
		ok = false
	}
	result := exam{}
	switch {
	case !ok:
		result.waiting = fmt.Sprintf("connector %s is being configured", c.ID)
	case b.refused && b.problem == "":
		result.problem = fmt.Sprintf("connector %s: %s", c.ID, summary(b.diagnostics))
	case b.refused:
		result.waiting = fmt.Sprintf("connector %s: %s", c.ID, b.problem)
	}
	g.mu.Unlock()
	if !ok || result == (exam{}) {
		return result
	}
	return g.besideOther(c.ID, result)
}

// besideOther is what follows from a connector that was not taken. What the active version does not take either is not
// the new one's fault; as long as the active one has not answered, nobody knows.
func (g *generation) besideOther(id core.ConnectorID, result exam) exam {
	other := g.other()
	if other == nil {
		return result // without one, every connector has to be taken
	}
	desired := (*g.host.desired.Load())[id]
	other.mu.Lock()
	defer other.mu.Unlock()
	b, ok := other.bindings[id]
	switch {
	case !ok || !b.config.Same(desired):
		return exam{waiting: fmt.Sprintf("connector %s is being configured for the active version", id)}
	case !b.applied:
		return exam{}
	}
	return result
}

// other returns the active generation, nil if that is g or none runs.
func (g *generation) other() *generation {
	active := g.plugin.route.Load().active
	if active == nil || active == g || !active.running() {
		return nil
	}
	return active
}

// reaches has the process reach a connector's provider, if it can.
func (g *generation) reaches(ctx context.Context, p *process, id core.ConnectorID) error {
	g.mu.Lock()
	able := g.about.capabilities.GetCheck()
	g.mu.Unlock()
	if !able {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, g.host.options.Timing.Call)
	defer cancel()
	reply, err := p.service.Check(ctx, &channelv1.CheckRequest{Connector: string(id)})
	switch {
	case err != nil:
		return callError("Check", err)
	case !reply.GetOk():
		return fmt.Errorf("%s", g.redactor.redact(clean(reply.GetMessage(), maxErrorText)))
	}
	return nil
}

// reachesToo says whether the active version reaches the provider that the new one does not.
func (g *generation) reachesToo(ctx context.Context, id core.ConnectorID) bool {
	g.mu.Lock()
	p := g.process
	g.mu.Unlock()
	return p != nil && g.reaches(ctx, p, id) == nil
}
