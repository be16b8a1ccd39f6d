package gateway

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// ErrStopping is what Reload returns once the gateway has begun to stop.
var ErrStopping = errors.New("the gateway is stopping and takes no new settings")

// reloading is what a gateway knows of its settings over time.
type reloading struct {
	current atomic.Pointer[settings.Settings] // in force

	stopping context.Context //nolint:containedctx // ends when the gateway begins to stop
	stop     context.CancelFunc

	mu       sync.Mutex // lets one change happen at a time, and guards what follows
	ended    bool
	revision int64 // the latest that was given to a connector
	configs  map[core.ConnectorID]pluginhost.ConnectorConfig
}

func (r *reloading) begin(s *settings.Settings) {
	r.current.Store(s)
	r.stopping, r.stop = context.WithCancel(context.Background())
}

// end refuses all later changes, cuts the one under way short and waits for it.
func (r *reloading) end() {
	r.stop()
	r.mu.Lock()
	r.ended = true
	r.mu.Unlock()
}

// settings are those in force.
func (g *Gateway) settings() *settings.Settings { return g.reload.current.Load() }

// Reload puts new settings in force: connectors, the pool, limits, drain_timeout and the retention of
// traces. A pool or a limit that an operator has changed in the database since, and of which the settings say
// nothing new, stays as the operator has it. What needs a restart stays as it is and is named in a warning. A connector whose settings are
// the same goes on undisturbed. An error means that all earlier settings are still in force.
//
// A plugin that refuses the config of its connector is no error: that connector keeps its earlier
// config, and the log says what is wrong with the new one. ctx bounds the wait for the plugins; one that
// has not answered by then takes its configuration later.
func (g *Gateway) Reload(ctx context.Context, next *settings.Settings) error {
	g.reload.mu.Lock()
	defer g.reload.mu.Unlock()
	if g.reload.ended {
		return ErrStopping
	}
	inForce, waiting := keepFixed(g.settings(), next)
	// Whatever can fail comes first. What the tables are told comes last of that, as it is there to stay.
	configs, revision, err := g.reload.configsLocked(inForce.Connectors)
	if err == nil {
		err = g.tuning.declare(ctx, inForce, byFile)
	}
	if err != nil {
		return fmt.Errorf("put the new settings in force: %w", err)
	}
	g.reload.configs, g.reload.revision = configs, revision
	if err := g.applyLocked(ctx, inForce); err != nil {
		return fmt.Errorf("put the new settings in force: %w", err)
	}
	if len(waiting) > 0 {
		g.logger.WarnContext(ctx, "gateway: some new settings need a restart; until then the earlier ones stay in force",
			"settings", strings.Join(waiting, ", "))
	}
	g.logger.InfoContext(ctx, "gateway: new settings are in force",
		"connectors", len(inForce.Connectors), "limits", len(inForce.Limits))
	return nil
}

// start gives the plugins and dispatch what the settings say, for the first time.
func (g *Gateway) start(ctx context.Context) error {
	g.reload.mu.Lock()
	defer g.reload.mu.Unlock()
	s := g.settings()
	configs, revision, err := g.reload.configsLocked(s.Connectors)
	if err != nil {
		return err
	}
	g.reload.configs, g.reload.revision = configs, revision
	return g.applyLocked(ctx, s)
}

// applyLocked puts settings in force, of which the configs are made and the pool is sized: a pool of a size that
// Resize took cannot fail to start. A connector that is gone is refused to new messages, then to those that
// wait, and only then taken from its plugin; a new one waits in dispatch until its plugin has it.
func (g *Gateway) applyLocked(ctx context.Context, s *settings.Settings) error {
	g.reload.current.Store(s)
	g.channels.set(s)
	if g.engines.retain != nil {
		g.engines.retain(s.Retention.Traces)
	}
	if err := g.dispatch.Configure(policies(s)); err != nil {
		return fmt.Errorf("start the connectors: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	uncut := context.AfterFunc(g.reload.stopping, cancel)
	defer uncut()
	all := make([]pluginhost.ConnectorConfig, 0, len(s.Connectors))
	for _, c := range s.Connectors {
		all = append(all, g.reload.configs[c.ID])
	}
	if err := g.host.Rescan(); err != nil {
		g.logger.WarnContext(ctx, "gateway: new plugins are not taken up", "error", err)
	}
	g.host.Configure(ctx, all)
	g.report(ctx, s)
	return nil
}

// configsLocked makes the configs of connectors for their plugins. One that is the same keeps its
// revision; the revisions of the others are greater than any before, whatever the clock does.
func (r *reloading) configsLocked(connectors []settings.Connector) (map[core.ConnectorID]pluginhost.ConnectorConfig, int64, error) {
	revision := max(r.revision+1, time.Now().UnixMilli())
	configs := make(map[core.ConnectorID]pluginhost.ConnectorConfig, len(connectors))
	for _, c := range connectors {
		config, err := json.Marshal(map[string]any(c.Config)) // keys sorted: the same config is the same text
		if err != nil {
			return nil, 0, fmt.Errorf("encode the config of connector %s: %w", c.ID, err)
		}
		next := pluginhost.ConnectorConfig{ID: c.ID, Plugin: c.Plugin, Revision: revision, Config: config}
		if c.Shadow != nil {
			if next.Shadow, err = json.Marshal(map[string]any(c.Shadowed())); err != nil {
				return nil, 0, fmt.Errorf("encode the shadow_config of connector %s: %w", c.ID, err)
			}
		}
		if earlier, ok := r.configs[c.ID]; ok && earlier.Same(next) {
			next = earlier
		}
		configs[c.ID] = next
	}
	return configs, revision, nil
}

// fixed is a setting that a running gateway cannot change.
type fixed struct {
	name string // as the configuration file has it
	// keep gives next the current value, and says whether it had another.
	keep func(current, next *settings.Settings) bool
}

func fix[T comparable](name string, field func(*settings.Settings) *T) fixed {
	return fixed{name: name, keep: func(current, next *settings.Settings) bool {
		is, wanted := field(current), field(next)
		changed := *is != *wanted
		*wanted = *is
		return changed
	}}
}

// fixList is fix for a list.
func fixList(name string, field func(*settings.Settings) *[]string) fixed {
	return fixed{name: name, keep: func(current, next *settings.Settings) bool {
		is, wanted := field(current), field(next)
		changed := !slices.Equal(*is, *wanted)
		*wanted = *is
		return changed
	}}
}

// fixedSettings are those that the parts of a gateway are built with.
func fixedSettings() []fixed {
	return []fixed{
		fix("listen", func(s *settings.Settings) *string { return &s.Listen }),
		fix("public_url", func(s *settings.Settings) *string { return &s.PublicURL }),
		fix("data_dir", func(s *settings.Settings) *string { return &s.DataDir }),
		fix("roles", func(s *settings.Settings) *settings.Roles { return &s.Roles }),
		fix("retention.messages", func(s *settings.Settings) *time.Duration { return &s.Retention.Messages }),
		fix("max_attempts", func(s *settings.Settings) *int { return &s.MaxAttempts }),
		fix("store", func(s *settings.Settings) *settings.Technology { return &s.Store }),
		fix("queue", func(s *settings.Settings) *settings.Technology { return &s.Queue }),
		fix("coordination", func(s *settings.Settings) *settings.Technology { return &s.Coordination }),
		fix("plugins.dir", func(s *settings.Settings) *string { return &s.Plugins.Dir }),
		fix("plugins.store", func(s *settings.Settings) *string { return &s.Plugins.Store }),
		fix("plugins.require_signature", func(s *settings.Settings) *bool { return &s.Plugins.RequireSignature }),
		fixList("plugins.trusted_keys", func(s *settings.Settings) *[]string { return &s.Plugins.TrustedKeys }),
		fixList("plugins.plaintext", func(s *settings.Settings) *[]string { return &s.Plugins.Plaintext }),
		fixList("plugins.env", func(s *settings.Settings) *[]string { return &s.Plugins.Env }),
		fix("plugins.sandbox", func(s *settings.Settings) *settings.Sandbox { return &s.Plugins.Sandbox }),
		fix("account.default_region", func(s *settings.Settings) *string { return &s.Account.DefaultRegion }),
		fix("log.format", func(s *settings.Settings) *string { return &s.Log.Format }),
		fix("retention.receipts", func(s *settings.Settings) *time.Duration { return &s.Retention.Receipts }),
	}
}

// keepFixed returns next with the current value of every fixed setting, and the names of those that it
// wanted otherwise.
func keepFixed(current, next *settings.Settings) (*settings.Settings, []string) {
	kept := *next
	var waiting []string
	for _, f := range fixedSettings() {
		if f.keep(current, &kept) {
			waiting = append(waiting, f.name)
		}
	}
	return &kept, waiting
}
