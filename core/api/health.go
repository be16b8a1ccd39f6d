package api

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
)

// readyTimeout bounds what the dependencies may take to answer.
const readyTimeout = 3 * time.Second

// health says that the process is alive, and asks nobody.
func (s *server) health(c *gin.Context) {
	s.ok(c, "alive", Health{Status: "alive"})
}

// readiness says whether the gateway can do its work. A plugin or connector that fails degrades its own
// channel; were it to take the whole gateway out of service, one provider could stop all the others.
func (s *server) readiness(c *gin.Context) {
	ctx, cancel := context.WithTimeout(c.Request.Context(), readyTimeout)
	defer cancel()
	r, ready := readinessOf(s.o.Ready(ctx), s.o.Plugins.Plugins(), s.o.Plugins.Connectors())
	status := http.StatusOK
	if !ready {
		status = http.StatusServiceUnavailable
		c.Header("Retry-After", "1")
	}
	s.succeed(c, status, string(r.Status), r)
}

func readinessOf(dependencies []DependencyState, plugins []core.PluginStatus, connectors []core.ConnectorStatus) (Readiness, bool) {
	r := Readiness{
		Dependencies: make([]Dependency, len(dependencies)),
		Plugins:      make([]PartState, len(plugins)),
		Connectors:   make([]PartState, len(connectors)),
	}
	ready, degraded := true, false
	for i, d := range dependencies {
		r.Dependencies[i] = Dependency{Name: d.Name, Ready: d.Ready, Message: d.Message}
		ready = ready && (d.Ready || d.Optional)
		degraded = degraded || !d.Ready
	}
	for i, p := range plugins {
		state, first := pluginState(p)
		r.Plugins[i] = PartState{Name: p.Name, State: string(state)}
		ready = ready && !first
		degraded = degraded || state != core.GenerationActive
	}
	for i, connector := range connectors {
		r.Connectors[i] = PartState{Name: string(connector.ID), State: string(connector.State), Message: connector.Message}
		degraded = degraded || connector.State != core.ConnectorReady
	}
	switch {
	case !ready:
		r.Status = "unready"
	case degraded:
		r.Status = "degraded"
	default:
		r.Status = "ready"
	}
	return r, ready
}

// pluginState is that of the plugin's best generation, and whether the plugin is on its way up for the
// first time.
func pluginState(p core.PluginStatus) (state core.GenerationState, first bool) {
	best := []core.GenerationState{
		core.GenerationActive, core.GenerationCanary, core.GenerationReady, core.GenerationStarting, core.GenerationStaged,
		core.GenerationDraining, core.GenerationFailed, core.GenerationStopped,
	}
	state = core.GenerationStopped
	restarted := false
	for _, g := range p.Generations {
		if slices.Index(best, g.State) < slices.Index(best, state) {
			state = g.State
		}
		restarted = restarted || g.Restarts > 0
	}
	coming := slices.Contains(best[1:5], state)
	return state, coming && !restarted
}
