package gateway

import (
	"context"
	"log/slog"
	"slices"
	"sync/atomic"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/pool"
)

// report logs what the plugins found wrong with their connectors, each with its place in the file.
func (g *Gateway) report(ctx context.Context, s *settings.Settings) {
	for _, c := range g.host.Connectors() {
		for _, d := range c.Diagnostics {
			level, text := slog.LevelError, "gateway: connector is misconfigured"
			if d.Warning {
				level, text = slog.LevelWarn, "gateway: connector may be misconfigured"
			}
			g.logger.Log(ctx, level, text, "connector", c.ID, "problem", describe(s, c.ID, d))
		}
	}
}

// describe puts a plugin's diagnostic into the words of the configuration file.
func describe(s *settings.Settings, id core.ConnectorID, d core.Diagnostic) string {
	text := d.Summary
	if d.Detail != "" {
		text += " — " + d.Detail
	}
	if at := s.Position(string(id), d.Path...); at != "" {
		return at + ": " + text
	}
	return text
}

func policies(s *settings.Settings) []dispatch.Policy {
	all := make([]dispatch.Policy, len(s.Connectors))
	for i, c := range s.Connectors {
		all[i] = dispatch.Policy{
			ID: c.ID, Weight: c.Weight, Order: c.Order, OnUncertain: dispatch.OnUncertain(c.OnUncertain),
			Rate: c.Rate, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout,
			Backoff: c.Retry.FirstDelay, MaxBackoff: c.Retry.MaxDelay, Ramp: c.FailoverRamp, Match: matchOf(c.Route),
		}
	}
	return all
}

// connectorsOf are the connectors that are for the account, but not for all.
func connectorsOf(s *settings.Settings, account string) []core.ConnectorID {
	var own []core.ConnectorID
	for _, c := range s.Connectors {
		if slices.Contains(c.Route.Accounts, account) {
			own = append(own, c.ID)
		}
	}
	return own
}

func matchOf(r settings.Route) dispatch.Match {
	m := dispatch.Match{Accounts: r.Accounts, Countries: r.Countries, Prefixes: r.Prefixes, ProviderTemplate: r.ProviderTemplate}
	for _, id := range r.Templates {
		m.Templates = append(m.Templates, core.TemplateID(id))
	}
	return m
}

func poolSettings(p settings.Pool) pool.Settings {
	return pool.Settings{
		Core: p.CoreSize, Max: p.MaxSize, ScaleUp: p.ScaleUpThreshold, ScaleDown: p.ScaleDownThreshold, QueueSize: p.QueueSize,
	}
}

func poolOptions(size settings.Pool, logger *slog.Logger) pool.Options {
	p := poolSettings(size)
	return pool.Options{
		Name: settings.MessageSender, Core: p.Core, Max: p.Max,
		ScaleUp: p.ScaleUp, ScaleDown: p.ScaleDown, QueueSize: p.QueueSize, Idle: p.Idle, Logger: logger,
	}
}

// channels knows what the settings configure, for accept.
type channels struct {
	known atomic.Pointer[map[core.ConnectorID][]string] // the accounts that a connector is for; none: all
}

func newChannels(s *settings.Settings) *channels {
	c := &channels{}
	c.set(s)
	return c
}

func (c *channels) set(s *settings.Settings) {
	known := make(map[core.ConnectorID][]string, len(s.Connectors))
	for _, connector := range s.Connectors {
		known[connector.ID] = connector.Route.Accounts
	}
	c.known.Store(&known)
}

// names are the channels that have a connector.
func (c *channels) names() []string {
	var names []string
	for id := range *c.known.Load() {
		names = append(names, id.Channel())
	}
	return names
}

// Serves implements accept.Channels.
func (c *channels) Serves(channel string) bool {
	for id := range *c.known.Load() {
		if id.Channel() == channel {
			return true
		}
	}
	return false
}

// Has implements accept.Channels.
func (c *channels) Has(id core.ConnectorID, account string) bool {
	accounts, ok := (*c.known.Load())[id]
	return ok && (len(accounts) == 0 || slices.Contains(accounts, account))
}

// limits are the limits in force by resource.
type limits struct {
	byResource atomic.Pointer[map[string][]limit.Rule]
}

func newLimits(all []settings.Limit) *limits {
	l := &limits{}
	l.set(all)
	return l
}

// set puts limits in force. What was counted under one goes on counting when only its max changes. Of limits
// that count the same the first counts.
func (l *limits) set(all []settings.Limit) {
	rules := map[string][]limit.Rule{}
	for i, c := range all {
		if c.Max < settings.Unlimited && !slices.ContainsFunc(all[:i], c.Same) {
			rules[c.Resource] = append(rules[c.Resource], ruleOf(c))
		}
	}
	l.byResource.Store(&rules)
}

func ruleOf(l settings.Limit) limit.Rule {
	return limit.Rule{Resource: l.Resource, Type: limit.Type(l.Type), By: limit.Dimension(l.By), Max: l.Max, Window: l.Window}
}

func (l *limits) rules(resource string) []limit.Rule { return (*l.byResource.Load())[resource] }
