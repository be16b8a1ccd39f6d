package pluginhost

import (
	"encoding/json"
	"slices"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// ConnectorConfig is one connector that there shall be.
type ConnectorConfig struct {
	ID     core.ConnectorID
	Plugin string // name of the plugin that carries it
	// Revision grows with every change; the plugin refuses an older one.
	Revision int64
	// Config is a JSON object in the plugin's own terms.
	Config json.RawMessage
	// Shadow is the config for copies of live traffic: one that reaches a sandbox and nobody else. Empty: the
	// connector takes no part in a shadow rollout.
	Shadow json.RawMessage
}

// Same says whether no plugin would notice the difference.
func (c ConnectorConfig) Same(other ConnectorConfig) bool {
	return c.Plugin == other.Plugin && slices.Equal(c.Config, other.Config) && slices.Equal(c.Shadow, other.Shadow)
}

// binding is what one process knows of one connector.
type binding struct {
	config      ConnectorConfig // as tried last
	applied     bool            // the process took this configuration or an earlier one
	refused     bool            // the one tried last was not taken
	invalid     bool            // and never will be: its validation, which is pure, failed
	diagnostics []core.Diagnostic
	problem     string // the plugin gave no answer to a configuration
}

// state tells how the connector is, and why. A plugin's words about its health count once it took a
// configuration.
func (b *binding) state(health channelv1.HealthState, message string) (core.ConnectorState, string) {
	switch {
	case !b.applied && b.refused && b.problem == "":
		return core.ConnectorMisconfigured, summary(b.diagnostics)
	case !b.applied && b.refused:
		return core.ConnectorUnavailable, b.problem
	case !b.applied:
		return core.ConnectorUnavailable, "it is being configured"
	case health == channelv1.HealthState_HEALTH_STATE_NOT_SERVING:
		return core.ConnectorUnavailable, message
	case b.refused:
		return core.ConnectorDegraded, "the latest configuration was not taken, the one before it is in force: " + summary(b.diagnostics) + b.problem
	case health == channelv1.HealthState_HEALTH_STATE_DEGRADED:
		return core.ConnectorDegraded, message
	default:
		return core.ConnectorReady, message
	}
}

// summary is the first error among diagnostics.
func summary(diagnostics []core.Diagnostic) string {
	for _, d := range diagnostics {
		if !d.Warning {
			return d.Summary
		}
	}
	return ""
}

func hasError(diagnostics []core.Diagnostic) bool {
	return slices.ContainsFunc(diagnostics, func(d core.Diagnostic) bool { return !d.Warning })
}

// connectorStatus tells people and routing how a connector is. Held: its session is being handed over.
func (g *generation) connectorStatus(c ConnectorConfig, held bool) core.ConnectorStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	s := core.ConnectorStatus{ID: c.ID, Plugin: c.Plugin, Version: g.version, State: core.ConnectorUnavailable}
	if about := g.about; about != nil {
		s.Receipts = about.capabilities.GetReceipts()
		s.Query = about.capabilities.GetQuery()
		s.Idempotent = about.capabilities.GetIdempotentSend()
		s.MaxBatch = max(0, int(about.limits.GetMaxBatch()))
		s.MaxInFlight = max(0, int(about.limits.GetMaxInFlight()))
		s.Rate = max(0, about.limits.GetSuggestedRate())
	}
	b, ok := g.bindings[c.ID]
	switch {
	case held:
		s.Message = "its session is handed over to another version of the plugin"
	case !g.servesLocked():
		s.Message = "its plugin is " + string(g.state)
		if g.problem != "" {
			s.Message += ": " + g.problem
		}
	case !ok:
		s.Message = "it is being configured"
	default:
		s.State, s.Message = b.state(g.healthOf(c.ID))
	}
	if ok {
		s.Diagnostics = slices.Clone(b.diagnostics)
	}
	return s
}
