package api

import (
	"fmt"

	"github.com/gin-gonic/gin"

	"github.com/pigeonry/pigeonry/core"
)

// ListPlugins tells of the plugins and their processes.
func (s *server) ListPlugins(c *gin.Context) {
	plugins := s.o.Plugins.Plugins()
	list := PluginList{Items: make([]Plugin, len(plugins))}
	for i, p := range plugins {
		list.Items[i] = Plugin{
			Name: p.Name, Active: p.Active, Channels: p.Channels, Capabilities: p.Capabilities, Generations: make([]Generation, len(p.Generations)),
		}
		for j, g := range p.Generations {
			list.Items[i].Generations[j] = generationOf(g)
		}
	}
	s.ok(c, "plugins", list)
}

func generationOf(g core.GenerationStatus) Generation {
	return Generation{
		Version: g.Version, Sha256: g.SHA256, State: GenerationState(g.State), Share: g.Share, Pid: g.PID, StartedAt: g.StartedAt,
		Restarts: g.Restarts, InFlight: g.InFlight, Error: g.Error, LastStderr: g.LastStderr,
	}
}

// ListConnectors tells of the connectors.
func (s *server) ListConnectors(c *gin.Context) {
	connectors := s.o.Plugins.Connectors()
	list := ConnectorList{Items: make([]Connector, len(connectors))}
	for i, status := range connectors {
		list.Items[i] = connectorOf(status)
	}
	s.ok(c, "connectors", list)
}

func connectorOf(st core.ConnectorStatus) Connector {
	answer := Connector{
		Id: string(st.ID), Channel: st.ID.Channel(), Plugin: st.Plugin, Version: st.Version,
		State: ConnectorState(st.State), Message: st.Message,
		Receipts: st.Receipts, Query: st.Query, Idempotent: st.Idempotent,
		MaxBatch: st.MaxBatch, MaxInFlight: st.MaxInFlight, Rate: st.Rate,
		Diagnostics: make([]Diagnostic, len(st.Diagnostics)),
	}
	for i, d := range st.Diagnostics {
		answer.Diagnostics[i] = diagnosticOf(d)
	}
	return answer
}

func diagnosticOf(d core.Diagnostic) Diagnostic {
	steps := make([]string, len(d.Path))
	for i, step := range d.Path {
		steps[i] = fmt.Sprint(step)
	}
	answer := Diagnostic{Severity: "error", Path: pointer(steps...), Summary: d.Summary, Detail: d.Detail}
	if d.Warning {
		answer.Severity = "warning"
	}
	return answer
}

// CheckConnector reaches a connector's provider without sending.
func (s *server) CheckConnector(c *gin.Context, channel, name string) {
	id := core.ConnectorID(channel + "/" + name)
	result, err := s.o.Plugins.Check(c.Request.Context(), id)
	if err != nil {
		s.fail(c, absent(err, core.CodeConnectorNotFound, "connector"))
		return
	}
	message := "the provider can be reached"
	if !result.OK {
		message = "the provider cannot be reached"
	}
	s.ok(c, message, CheckResult{
		Connector: string(id), Ok: result.OK, Message: result.Message, LatencyMs: milliseconds(result.Latency),
	})
}
