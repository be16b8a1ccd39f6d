package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// settleWait bounds how long Settle waits for the plugins to come up: long enough that a healthy
// gateway begins with all its channels, short enough that a plugin that hangs does not hold it up.
const settleWait = 3 * time.Second

// Host runs the plugins. All of its methods may be called at the same time.
type Host struct {
	options Options
	runtime *runtimeDir
	plugins atomic.Pointer[map[string]*plugin]
	desired atomic.Pointer[map[core.ConnectorID]ConnectorConfig]
	// configured: desired was told. Until then nothing shows that a version could carry messages.
	configured atomic.Bool
	work       sync.WaitGroup  // what goes on in the background: retirements, hand-overs, the watch of the folder
	ctx        context.Context // ends when the host stops
	stop       context.CancelFunc
	schemas    schemas
	yields     bool // a process may be given a lower priority for a while

	mu      sync.Mutex               // guards what follows, and the plugins
	running map[*generation]struct{} // those that were started and have not ended
	leaving map[string]struct{}      // versions that are being removed, by the paths of their executables
	begun   bool
	stopped bool

	changes sync.Mutex // guards changed
	changed chan struct{}
}

// New returns a Host. It does nothing until Start.
func New(o Options) (*Host, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	h := &Host{options: o.withDefaults(), changed: make(chan struct{}), yields: mayRaise()}
	h.ctx, h.stop = context.WithCancel(context.Background())
	h.running, h.leaving = map[*generation]struct{}{}, map[string]struct{}{}
	h.plugins.Store(&map[string]*plugin{})
	h.desired.Store(&map[core.ConnectorID]ConnectorConfig{})
	return h, nil
}

// Start ends what an earlier gateway left behind, reads the catalogue and watches it from then on. It starts no
// plugin: Arrange does. An error means that the plugins folder cannot be read or the runtime folder cannot be
// used.
func (h *Host) Start() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun {
		return errors.New("start plugin host: it was started or stopped before")
	}
	if err := h.openLocked(); err != nil {
		return fmt.Errorf("start plugin host: %w", err)
	}
	h.begun = true
	h.work.Go(func() { h.watch(h.ctx) })
	return nil
}

func (h *Host) openLocked() error {
	versions, err := h.options.Catalog.Scan()
	if err != nil {
		return err
	}
	if h.runtime, err = openRuntimeDir(h.options.RuntimeDir, h.options.Sandbox.User != ""); err != nil {
		return err
	}
	if err := h.runtime.sweep(h.options.Logger); err != nil {
		return err
	}
	h.takeLocked(versions)
	return nil
}

// Settle waits a moment for the plugins that were started to come up or fail. One that does neither is no
// error: Plugins says how it is.
func (h *Host) Settle(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	h.mu.Lock()
	running := slices.Collect(maps.Keys(h.running))
	h.mu.Unlock()
	for _, g := range running {
		select {
		case <-g.settled:
		case <-ctx.Done():
		}
	}
}

// watch takes up what is installed or removed while the host runs.
func (h *Host) watch(ctx context.Context) {
	look := func(versions []catalog.Version, err error) {
		if err == nil {
			err = h.take(versions)
		}
		if err != nil && ctx.Err() == nil {
			h.options.Logger.WarnContext(ctx, "the plugins folder cannot be read; what was found before stays", "error", err)
		}
	}
	if err := h.options.Catalog.Watch(ctx, look); err != nil && ctx.Err() == nil {
		h.options.Logger.WarnContext(ctx, "the plugins folder is not watched; new versions are found when the configuration is reloaded", "error", err)
	}
}

// Rescan reads the catalogue again. New versions can then be arranged; those that run stay as they are,
// whatever has become of their folders. An error means that the plugins folder cannot be read, or that the
// host does not run.
func (h *Host) Rescan() error {
	versions, err := h.options.Catalog.Scan()
	if err == nil {
		err = h.take(versions)
	}
	if err != nil {
		return fmt.Errorf("look for new plugins: %w", err)
	}
	return nil
}

// take makes versions what is installed, and begins to copy those that are new: they are likely to be started soon, and
// copying takes longer than a start.
func (h *Host) take(versions []catalog.Version) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun || h.stopped {
		return errors.New("the plugin host does not run")
	}
	var fresh []catalog.Version
	for _, v := range versions {
		p, ok := (*h.plugins.Load())[v.Name]
		if ok {
			_, ok = p.installedLocked(v.Version)
		}
		if !ok && v.Problem == nil {
			fresh = append(fresh, v)
		}
	}
	h.takeLocked(versions)
	if len(fresh) > 0 {
		h.work.Go(func() { h.copyAhead(fresh) })
	}
	return nil
}

// copyAhead copies versions until the host stops.
func (h *Host) copyAhead(versions []catalog.Version) {
	for _, v := range versions {
		if h.ctx.Err() == nil {
			_, _ = h.options.Catalog.Stage(v) // whoever starts it hears of what is wrong
		}
	}
}

// takeLocked makes versions what is installed, and starts what was arranged and missing.
func (h *Host) takeLocked(versions []catalog.Version) {
	found := map[string][]catalog.Version{}
	for _, v := range versions {
		if _, leaves := h.leaving[v.Path]; !leaves {
			found[v.Name] = append(found[v.Name], v)
		}
	}
	fresh := map[string]*plugin{}
	for name := range found {
		if _, ok := (*h.plugins.Load())[name]; !ok {
			fresh[name] = newPlugin(h, name)
		}
	}
	h.addLocked(fresh)
	for name, p := range *h.plugins.Load() {
		p.versions = found[name]
		active := p.ensureLocked(p.arranged.Active, p.arranged)
		beside := p.ensureLocked(p.arranged.Beside, p.arranged)
		if active || beside {
			p.applyLocked()
		}
	}
	h.notify()
}

// addLocked adds plugins.
func (h *Host) addLocked(fresh map[string]*plugin) {
	plugins := maps.Clone(*h.plugins.Load())
	maps.Copy(plugins, fresh)
	h.plugins.Store(&plugins)
}

// Installed lists the versions that can be started, by plugin and then from the lowest.
func (h *Host) Installed() []core.PluginVersion {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []core.PluginVersion
	plugins := *h.plugins.Load()
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		for _, v := range plugins[name].versions {
			if v.Problem == nil {
				all = append(all, core.PluginVersion{Plugin: name, Version: v.Version, SHA256: v.SHA256, InstalledAt: v.InstalledAt})
			}
		}
	}
	return all
}

// Forget removes the files of a version. One that is arranged is a core.KindConflict error; one that is not
// installed is none.
func (h *Host) Forget(name, version string) error {
	v, installed, err := h.disown(name, version)
	if err != nil || !installed {
		return err
	}
	err = h.options.Catalog.Remove(name, version, v.SHA256)
	h.mu.Lock()
	delete(h.leaving, v.Path)
	h.mu.Unlock()
	if err != nil {
		return errors.Join(fmt.Errorf("remove %s %s: %w", name, version, err), h.Rescan()) // it is still there
	}
	return nil
}

// disown has the host forget a version whose files are about to be removed: until they are, no scan brings it back.
// It returns the version as it was, and whether it was installed.
func (h *Host) disown(name, version string) (v catalog.Version, installed bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := (*h.plugins.Load())[name]
	if !ok {
		return v, false, nil
	}
	if version == p.arranged.Active || version == p.arranged.Beside {
		return v, false, core.Errorf(core.KindConflict, "version %s of plugin %s is in use", version, name)
	}
	if v, installed = p.installedLocked(version); !installed {
		return v, false, nil
	}
	h.leaving[v.Path] = struct{}{}
	p.versions = slices.DeleteFunc(slices.Clone(p.versions), func(w catalog.Version) bool { return w.Version == version })
	delete(p.generations, version)
	h.notify()
	return v, true, nil
}

// beginLocked starts a staged generation.
func (h *Host) beginLocked(g *generation) {
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	h.running[g] = struct{}{}
	h.work.Go(func() { // ended by retire, if it does not end by itself
		g.run(ctx)
		h.mu.Lock()
		delete(h.running, g)
		h.mu.Unlock()
	})
}

// retireLocked drains a generation and ends it, in the background. Nobody waits for it, unless the host stops: so
// what it has in flight takes the time that it needs.
func (h *Host) retireLocked(g *generation) {
	if p, _ := g.refuse(); p != nil {
		p.runner.yield(background)
	}
	h.work.Go(func() {
		if err := g.retire(context.Background(), h.options.Timing.Retire); err != nil {
			g.log.Warn("plugin was ended with attempts in flight", "error", err)
		}
		h.notify()
	})
}

// Stop drains all plugins at the same time and ends them. When it returns, no process is left. An error
// says which attempts were cut off; they got results. ctx may shorten the drain. A Host cannot be
// started again.
func (h *Host) Stop(ctx context.Context) error {
	h.mu.Lock()
	h.begun, h.stopped = true, true
	running := slices.Collect(maps.Keys(h.running))
	h.mu.Unlock()
	h.stop()
	errs := make([]error, len(running))
	var work sync.WaitGroup
	for i, g := range running {
		work.Go(func() { errs[i] = g.retire(ctx, h.options.Timing.Drain*3/4) }) // the rest is the plugin's own
	}
	work.Wait()
	h.work.Wait()
	return errors.Join(errs...)
}

// Configure makes configs the connectors that there are: all of them, those that are missing are
// removed. It gives running plugins what changed and returns when they have answered, or ctx ends;
// plugins that start later get it then. What is wrong with a connector shows in Connectors. A
// configuration that a plugin refuses leaves the earlier one in force.
func (h *Host) Configure(ctx context.Context, configs []ConnectorConfig) {
	desired := make(map[core.ConnectorID]ConnectorConfig, len(configs))
	for _, c := range configs {
		desired[c.ID] = c
	}
	h.desired.Store(&desired)
	h.configured.Store(true)
	h.mu.Lock()
	running := slices.Collect(maps.Keys(h.running))
	h.mu.Unlock()
	var work sync.WaitGroup
	for _, g := range running {
		g.mu.Lock()
		p := g.process
		g.mu.Unlock()
		if p == nil {
			continue
		}
		work.Go(func() {
			if settled, _ := g.reconcile(ctx, p); !settled {
				g.tryAgain()
			}
		})
	}
	work.Wait()
	h.notify()
}

// desiredOf lists the connectors of a plugin.
func (h *Host) desiredOf(plugin string) []ConnectorConfig {
	var configs []ConnectorConfig
	for _, c := range *h.desired.Load() {
		if c.Plugin == plugin {
			configs = append(configs, c)
		}
	}
	return configs
}

// Changed returns a channel that is closed at the next change of a plugin's or a connector's state.
// Ask for it first and look at the state then, so that no change is missed.
func (h *Host) Changed() <-chan struct{} {
	h.changes.Lock()
	defer h.changes.Unlock()
	return h.changed
}

// notify announces a change.
func (h *Host) notify() {
	h.changes.Lock()
	defer h.changes.Unlock()
	close(h.changed)
	h.changed = make(chan struct{})
}

// Plugins lists the plugins by name, with every version that is installed or ran.
func (h *Host) Plugins() []core.PluginStatus {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []core.PluginStatus
	plugins := *h.plugins.Load()
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		if p := plugins[name]; len(p.versions)+len(p.generations) > 0 {
			all = append(all, p.statusLocked())
		}
	}
	return all
}

// Connectors lists the connectors by id.
func (h *Host) Connectors() []core.ConnectorStatus {
	desired := *h.desired.Load()
	all := make([]core.ConnectorStatus, 0, len(desired))
	for _, id := range slices.Sorted(maps.Keys(desired)) {
		all = append(all, h.connectorStatus(desired[id]))
	}
	return all
}

func (h *Host) connectorStatus(c ConnectorConfig) core.ConnectorStatus {
	p, ok := (*h.plugins.Load())[c.Plugin]
	if ok {
		r := p.route.Load()
		if r.active != nil {
			return r.active.connectorStatus(c, r.held)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s := core.ConnectorStatus{ID: c.ID, Plugin: c.Plugin, State: core.ConnectorMisconfigured}
	if ok && len(p.versions) > 0 {
		s.State = core.ConnectorUnavailable
		s.Message = fmt.Sprintf("no version of plugin %s can be started", c.Plugin)
		if problem := p.versions[len(p.versions)-1].Problem; problem != nil {
			s.Message += ": " + problem.Error()
		}
		return s
	}
	s.Message = fmt.Sprintf("plugin %q is not installed: there is no %s/%s/<version>/%s", c.Plugin, h.options.Catalog.Dir(), c.Plugin, c.Plugin)
	s.Diagnostics = []core.Diagnostic{{Summary: s.Message, Detail: "Install the plugin, or name another one."}}
	return s
}

// generationOf returns the generation that answers for a connector, nil if there is none.
func (h *Host) generationOf(c ConnectorConfig) *generation {
	p, ok := (*h.plugins.Load())[c.Plugin]
	if !ok {
		return nil
	}
	return p.route.Load().active
}

// Ready says whether a connector can carry messages now.
func (h *Host) Ready(id core.ConnectorID) bool {
	c, ok := (*h.desired.Load())[id]
	if !ok {
		return false
	}
	switch h.connectorStatus(c).State {
	case core.ConnectorReady, core.ConnectorDegraded:
		return true
	default:
		return false
	}
}
