package gateway

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
	"github.com/pigeonry/pigeonry/core/rollout"
)

// openCatalog opens the folder of the plugins. What is executed are copies in the data folder.
func openCatalog(s *settings.Settings, logger *slog.Logger) (*catalog.Catalog, error) {
	keys, err := catalog.ParseKeys(s.Plugins.TrustedKeys)
	if err != nil {
		return nil, fmt.Errorf("plugins.trusted_keys: %w", err)
	}
	c, err := catalog.Open(catalog.Options{
		Dir: s.Plugins.Dir, Store: cmp.Or(s.Plugins.Store, filepath.Join(s.DataDir, "plugins")),
		Shared: s.Plugins.Sandbox.User != "", RequireSignature: s.Plugins.RequireSignature, TrustedKeys: keys, Logger: logger,
	})
	if err != nil {
		return nil, fmt.Errorf("open the plugins: %w", err)
	}
	return c, nil
}

func sandbox(s settings.Sandbox) pluginhost.Sandbox {
	return pluginhost.Sandbox{
		User: s.User, Memory: s.Memory, CPU: s.CPU, Files: uint64(s.Files), Processes: uint64(s.Processes),
	}
}

// newRollouts makes what replaces one version of a plugin by another.
func (g *Gateway) newRollouts() *rollout.Service {
	return rollout.New(rollout.Options{
		Versions: g.engines.store, Rollouts: g.engines.store, History: g.engines.store, Host: g.host,
		Gateway: gatewayName(), Logger: g.logger, Now: g.clock.Now, Policy: g.rolloutPolicy, Allow: g.allowRollout,
	})
}

// gatewayName is a name that no other gateway has: of the machine and, as a machine may run several, of the run.
func gatewayName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "gateway"
	}
	run := make([]byte, 4)
	_, _ = rand.Read(run) // it never fails
	return host + "-" + hex.EncodeToString(run)
}

// rolloutPolicy is what the settings in force say of new versions.
func (g *Gateway) rolloutPolicy(string) rollout.Policy {
	s := g.settings().Plugins
	c := s.Canary
	return rollout.Policy{
		Automatic: s.Rollout == settings.RolloutAutomatic,
		Plan: core.RolloutPlan{
			Strategy: core.StrategyCanary, Steps: c.Steps, MinSamples: c.MinSamples, Window: c.Window, Bake: c.Bake, By: c.By,
			Gates: core.RolloutGates{
				FailureRate: c.MaxFailureRate, UncertainRate: c.MaxUncertainRate,
				LatencyRatio: c.MaxLatencyRatio, MemoryRatio: c.MaxMemoryRatio,
			},
		},
	}
}

// allowRollout refuses what a plugin cannot do.
func (g *Gateway) allowRollout(plugin, _ string, plan core.RolloutPlan) error {
	if plan.Strategy == core.StrategyShadow && !g.shadowed(plugin) {
		return core.Invalid("/strategy", "no connector of plugin %s has a shadow_config, so that copies could reach people: give one to a connector", plugin)
	}
	if plan.Strategy != core.StrategyImmediate && g.host.Exclusive(plugin) {
		return core.Invalid("/strategy", "plugin %s holds a session that only one process may hold, so that two versions cannot share messages: use immediate", plugin)
	}
	return nil
}

// shadowed says whether a connector of a plugin may get copies of what another one sends.
func (g *Gateway) shadowed(plugin string) bool {
	return slices.ContainsFunc(g.settings().Connectors, func(c settings.Connector) bool {
		return c.Plugin == plugin && c.Shadow != nil
	})
}

// startPlugins starts the versions that the store says are active, and waits a moment for them.
func (g *Gateway) startPlugins(ctx context.Context) error {
	if err := g.host.Start(); err != nil {
		return err
	}
	if err := g.rollouts.Start(ctx); err != nil {
		return err
	}
	g.host.Settle(ctx)
	return nil
}
