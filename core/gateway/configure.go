package gateway

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pool"
)

// configure hands the connectors of the settings to the plugins and to dispatch, and logs what is wrong
// with them, each with its place in the file.
func (g *Gateway) configure(ctx context.Context) {
	configs := make([]pluginhost.ConnectorConfig, 0, len(g.settings.Connectors))
	policies := make([]dispatch.Policy, 0, len(g.settings.Connectors))
	for _, c := range g.settings.Connectors {
		config, err := json.Marshal(map[string]any(c.Config))
		if err != nil {
			g.logger.ErrorContext(ctx, "gateway: cannot encode the config of a connector", "connector", c.ID, "error", err)
			continue
		}
		configs = append(configs, pluginhost.ConnectorConfig{
			ID: c.ID, Plugin: c.Plugin, Revision: time.Now().UnixMilli(), Config: config,
		})
		policies = append(policies, policy(c))
	}
	g.host.Configure(ctx, configs)
	if err := g.dispatch.Configure(policies); err != nil {
		g.logger.ErrorContext(ctx, "gateway: cannot start the connectors", "error", err)
	}
	for _, s := range g.host.Connectors() {
		for _, d := range s.Diagnostics {
			g.logger.ErrorContext(ctx, "gateway: connector is misconfigured", "connector", s.ID, "problem", describe(g.settings, s.ID, d))
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

func policy(c settings.Connector) dispatch.Policy {
	return dispatch.Policy{
		ID: c.ID, Weight: c.Weight, Order: c.Order, OnUncertain: dispatch.OnUncertain(c.OnUncertain),
		Rate: c.Rate, MaxInFlight: c.MaxInFlight, Timeout: c.Timeout,
		Backoff: c.Retry.FirstDelay, MaxBackoff: c.Retry.MaxDelay,
	}
}

func poolOptions(s *settings.Settings, logger *slog.Logger) pool.Options {
	p := s.Pools[settings.MessageSender]
	return pool.Options{
		Name: settings.MessageSender, Core: p.CoreSize, Max: p.MaxSize,
		ScaleUp: p.ScaleUpThreshold, ScaleDown: p.ScaleDownThreshold, QueueSize: p.QueueSize, Logger: logger,
	}
}

// channels knows what the settings configure, for accept.
type channels struct {
	known atomic.Pointer[map[core.ConnectorID]struct{}]
}

func newChannels(s *settings.Settings) *channels {
	known := make(map[core.ConnectorID]struct{}, len(s.Connectors))
	for _, c := range s.Connectors {
		known[c.ID] = struct{}{}
	}
	var ch channels
	ch.known.Store(&known)
	return &ch
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
func (c *channels) Has(id core.ConnectorID) bool {
	_, ok := (*c.known.Load())[id]
	return ok
}

// limits are the limits of the settings by resource.
type limits struct {
	byResource atomic.Pointer[map[string][]limit.Rule]
}

func newLimits(s *settings.Settings) *limits {
	rules := map[string][]limit.Rule{}
	for i, l := range s.Limits {
		rules[l.Resource] = append(rules[l.Resource], limit.Rule{
			Resource: fmt.Sprintf("%s#%d", l.Resource, i), Type: limit.Type(l.Type), Max: l.Max, Window: l.Window,
		})
	}
	var ls limits
	ls.byResource.Store(&rules)
	return &ls
}

func (l *limits) rules(resource string) []limit.Rule { return (*l.byResource.Load())[resource] }
