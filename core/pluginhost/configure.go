package pluginhost

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	maxConfiguring = 8 // connectors that are configured at the same time
	retryFirst     = time.Second
	retryMax       = time.Minute
)

// keepConfigured gives a new process its connectors, and tries again, ever less often, those that did
// not take their configuration: the provider may have been away.
func (g *generation) keepConfigured(ctx context.Context, p *process) {
	wait := retryFirst
	for {
		if settled, _ := g.reconcile(ctx, p); settled {
			wait = retryFirst
			select {
			case <-ctx.Done():
				return
			case <-g.retry:
			}
		}
		if !pause(ctx, wait) {
			return
		}
		wait = min(2*wait, retryMax)
	}
}

// reconcile makes the connectors of a process what they shall be. It says whether none of them needs
// another try; an error says which the process did not let go of.
func (g *generation) reconcile(ctx context.Context, p *process) (settled bool, err error) {
	g.configure.Lock()
	defer g.configure.Unlock()
	desired := g.desired()
	g.hideSecrets(desired)
	var work sync.WaitGroup
	slots := make(chan struct{}, maxConfiguring)
	do := func(f func()) {
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			f()
		})
	}
	wanted := make(map[core.ConnectorID]struct{}, len(desired))
	for _, c := range desired {
		wanted[c.ID] = struct{}{}
		if g.needs(p, c) {
			do(func() { g.apply(ctx, p, c) })
		}
	}
	superfluous := g.superfluous(p, wanted)
	failed := make([]error, len(superfluous))
	for i, id := range superfluous {
		do(func() { failed[i] = g.remove(ctx, p, id) })
	}
	work.Wait()
	return g.content(p), errors.Join(failed...)
}

// desired lists the connectors that the generation shall have.
func (g *generation) desired() []ConnectorConfig {
	all := g.host.desiredOf(g.plugin.name)
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.parked:
		return nil
	case !g.shadow:
		return all
	}
	var sandboxed []ConnectorConfig
	for _, c := range all {
		if len(c.Shadow) > 0 {
			c.Config = c.Shadow
			sandboxed = append(sandboxed, c)
		}
	}
	return sandboxed
}

// hideSecrets makes sure that no secret of a config can reach a log before the plugin knows it. What
// was once a secret stays one.
func (g *generation) hideSecrets(desired []ConnectorConfig) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.about == nil {
		return
	}
	for _, c := range desired {
		for _, secret := range g.about.schema.secrets(c.Config) {
			g.secrets = insertNew(g.secrets, secret)
		}
	}
	g.redactor.set(g.secrets)
}

// needs says whether the connector must be configured.
func (g *generation) needs(p *process, c ConnectorConfig) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.process != p {
		return false
	}
	b, ok := g.bindings[c.ID]
	return !ok || b.refused && !b.invalid || !b.config.Same(c)
}

// superfluous lists the connectors that the process has and shall not have.
func (g *generation) superfluous(p *process, wanted map[core.ConnectorID]struct{}) []core.ConnectorID {
	g.mu.Lock()
	defer g.mu.Unlock()
	var ids []core.ConnectorID
	for id := range g.bindings {
		if _, ok := wanted[id]; !ok && g.process == p {
			ids = append(ids, id)
		}
	}
	return ids
}

// content says whether no connector would gain from another try.
func (g *generation) content(p *process) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, b := range g.bindings {
		if b.refused && !b.invalid && g.process == p {
			return false
		}
	}
	return true
}

// apply has the process take a configuration. One that it does not take changes nothing; a new process
// then gets the one that its predecessor took.
func (g *generation) apply(ctx context.Context, p *process, c ConnectorConfig) {
	diagnostics, valid, err := g.offer(ctx, p, c)
	taken := err == nil && !hasError(diagnostics)
	g.mu.Lock()
	previous, had := g.bindings[c.ID]
	accepted, hasAccepted := g.accepted[c.ID]
	g.mu.Unlock()
	b := &binding{config: c, applied: taken || had && previous.applied, refused: !taken, invalid: !valid, diagnostics: diagnostics}
	if err != nil {
		b.problem = g.redactor.redact(err.Error())
	}
	if !b.applied && hasAccepted && accepted.Plugin == c.Plugin && !accepted.Same(c) {
		older, _, err := g.offer(ctx, p, accepted)
		b.applied = err == nil && !hasError(older)
	}
	g.bind(p, b, taken)
}

// bind notes what came of a configuration.
func (g *generation) bind(p *process, b *binding, taken bool) {
	g.mu.Lock()
	previous, had := g.bindings[b.config.ID]
	if g.process != p {
		g.mu.Unlock()
		return
	}
	g.bindings[b.config.ID] = b
	if taken {
		g.accepted[b.config.ID] = b.config
	}
	state, reason := b.state(g.healthOf(b.config.ID))
	g.mu.Unlock()
	switch {
	case taken:
		g.log.Info("connector configured", "connector", b.config.ID)
	case !had || !previous.config.Same(b.config):
		g.log.Warn("connector did not take its configuration", "connector", b.config.ID, "state", state, "reason", reason)
	}
	g.host.notify()
}

// offer asks the plugin whether a configuration is valid and, if so, to take it. Valid is false only if
// the plugin said so.
func (g *generation) offer(ctx context.Context, p *process, c ConnectorConfig) (diagnostics []core.Diagnostic, valid bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, g.host.options.Timing.Call)
	defer cancel()
	g.mu.Lock()
	about := g.about
	g.mu.Unlock()
	diagnostics, valid, err = g.validate(ctx, p, about, c)
	if err != nil || !valid {
		return diagnostics, valid, err
	}
	taken, err := p.service.Configure(ctx, &channelv1.ConfigureRequest{
		Connector: string(c.ID), Revision: c.Revision, Config: c.Config, CallbackUrl: g.callbackURL(c.ID, about),
	})
	if err != nil {
		return diagnostics, true, callError("Configure", err)
	}
	return append(diagnostics, g.diagnostics(taken.GetDiagnostics())...), true, nil
}

// validate asks the plugin whether a configuration is valid. Valid is false only if it said so.
func (g *generation) validate(ctx context.Context, p *process, about *description, c ConnectorConfig) (diagnostics []core.Diagnostic, valid bool, err error) {
	if channel := c.ID.Channel(); !about.serves(channel) {
		return []core.Diagnostic{{
			Summary: fmt.Sprintf("plugin %s does not serve the channel %q", g.plugin.name, channel),
			Detail:  fmt.Sprintf("It serves %q. Name another plugin, or give the connector another channel.", about.channels),
		}}, false, nil
	}
	verdict, err := p.service.ValidateConfig(ctx, &channelv1.ValidateConfigRequest{Config: c.Config, Channel: c.ID.Channel()})
	if err != nil {
		return nil, true, callError("ValidateConfig", err)
	}
	diagnostics = g.diagnostics(verdict.GetDiagnostics())
	return diagnostics, !hasError(diagnostics), nil
}

// Validate has the plugin of a connector judge its configuration. The plugin opens nothing. The error says why it could not be asked.
func (h *Host) Validate(ctx context.Context, c ConnectorConfig) ([]core.Diagnostic, error) {
	ctx, cancel := context.WithTimeout(ctx, h.options.Timing.Call)
	defer cancel()
	g := h.generationOf(c)
	if g == nil {
		return nil, fmt.Errorf("plugin %s is not installed", c.Plugin)
	}
	g.mu.Lock()
	p, about, problem := g.process, g.about, g.problem
	g.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("plugin %s does not run: %s", c.Plugin, cmp.Or(problem, "it takes too long to start"))
	}
	g.hideSecrets([]ConnectorConfig{c})
	diagnostics, _, err := g.validate(ctx, p, about, c)
	return diagnostics, err
}

// callbackURL is where the provider reaches a connector's plugin; empty if it does not take callbacks, or is not known.
func (g *generation) callbackURL(id core.ConnectorID, about *description) string {
	base := strings.TrimSuffix(g.host.options.PublicURL, "/")
	if base == "" || !about.capabilities.GetCallback() || g.shadows() {
		return ""
	}
	return base + "/callbacks/" + string(id)
}

// remove has the process forget a connector. A version that only waits for its session keeps what it took last.
func (g *generation) remove(ctx context.Context, p *process, id core.ConnectorID) error {
	g.mu.Lock()
	if g.process == p {
		delete(g.bindings, id)
		if !g.parked {
			delete(g.accepted, id)
		}
	}
	g.mu.Unlock()
	g.host.notify()
	ctx, cancel := context.WithTimeout(ctx, g.host.options.Timing.Call)
	defer cancel()
	if _, err := p.service.Remove(ctx, &channelv1.RemoveRequest{Connector: string(id)}); err != nil {
		err = fmt.Errorf("connector %s: %w", id, callError("Remove", err))
		g.log.WarnContext(ctx, "connector not removed by its plugin", "error", err)
		return err
	}
	g.log.InfoContext(ctx, "connector removed", "connector", id)
	return nil
}

// diagnostics makes a plugin's diagnostics the core's.
func (g *generation) diagnostics(given []*channelv1.Diagnostic) []core.Diagnostic {
	const most = 100
	var ds []core.Diagnostic
	for _, d := range given[:min(len(given), most)] {
		ds = append(ds, core.Diagnostic{
			Warning: d.GetSeverity() == channelv1.Severity_SEVERITY_WARNING,
			Path:    pathOf(d.GetPath()),
			Summary: g.redactor.redact(truncateTo(d.GetSummary(), maxErrorText)),
			Detail:  g.redactor.redact(truncateTo(d.GetDetail(), maxErrorText)),
		})
	}
	return ds
}

func pathOf(steps []*channelv1.PathStep) []any {
	var path []any
	for _, s := range steps {
		switch step := s.GetStep().(type) {
		case *channelv1.PathStep_Name:
			path = append(path, step.Name)
		case *channelv1.PathStep_Index:
			path = append(path, int(step.Index))
		}
	}
	return path
}

// insertNew adds s to a set.
func insertNew(set []string, s string) []string {
	if slices.Contains(set, s) {
		return set
	}
	return append(set, s)
}
