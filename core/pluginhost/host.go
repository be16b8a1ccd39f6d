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
)

// settleWait bounds how long Start waits for the plugins to come up: long enough that a healthy
// gateway begins with all its channels, short enough that a plugin that hangs does not hold it up.
const settleWait = 3 * time.Second

// Host runs the plugins. All of its methods may be called at the same time.
type Host struct {
	options Options
	runtime *runtimeDir
	plugins atomic.Pointer[map[string]*plugin]
	desired atomic.Pointer[map[core.ConnectorID]ConnectorConfig]

	mu      sync.Mutex    // guards what follows
	running []*generation // those that were started
	begun   bool
	stopped bool

	changes sync.Mutex // guards changed
	changed chan struct{}
}

// plugin is one name in the catalog, with its generations.
type plugin struct {
	name        string
	route       atomic.Pointer[route]
	generations []*generation // from the lowest version to the highest
}

// New returns a Host. It does nothing until Start.
func New(o Options) (*Host, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	h := &Host{options: o.withDefaults(), changed: make(chan struct{})}
	h.plugins.Store(&map[string]*plugin{})
	h.desired.Store(&map[core.ConnectorID]ConnectorConfig{})
	return h, nil
}

// Start ends what an earlier gateway left behind, reads the catalog and starts the highest version
// of each plugin. It waits a moment for them to come up. A plugin that does not is no error: Plugins
// says what is wrong with it. An error means that the plugins folder cannot be read or the runtime
// folder cannot be used. ctx bounds Start alone.
func (h *Host) Start(ctx context.Context) error {
	running, err := h.start()
	if err != nil {
		return fmt.Errorf("start plugin host: %w", err)
	}
	settle(ctx, running)
	return nil
}

// settle waits a moment for generations to come up or fail.
func settle(ctx context.Context, generations []*generation) {
	ctx, cancel := context.WithTimeout(ctx, settleWait)
	defer cancel()
	for _, g := range generations {
		select {
		case <-g.settled:
		case <-ctx.Done():
		}
	}
}

// Rescan reads the catalog again and starts the plugins that are new in it, as Start does. Plugins that
// are known stay as they are, whatever has become of their folders. An error means that the plugins
// folder cannot be read, or that the host does not run.
func (h *Host) Rescan(ctx context.Context) error {
	started, err := h.rescan()
	if err != nil {
		return fmt.Errorf("look for new plugins: %w", err)
	}
	settle(ctx, started)
	return nil
}

func (h *Host) rescan() ([]*generation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun || h.stopped {
		return nil, errors.New("the plugin host does not run")
	}
	candidates, err := scan(h.options.Dir)
	if err != nil {
		return nil, err
	}
	before := len(h.running)
	h.stage(candidates)
	return h.running[before:], nil
}

func (h *Host) start() ([]*generation, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.begun {
		return nil, errors.New("it was started or stopped before")
	}
	candidates, err := scan(h.options.Dir)
	if err != nil {
		return nil, err
	}
	if h.runtime, err = openRuntimeDir(h.options.RuntimeDir); err != nil {
		return nil, err
	}
	if err := h.runtime.sweep(h.options.Logger); err != nil {
		return nil, err
	}
	h.begun = true
	h.stage(candidates)
	return h.running, nil
}

// stage makes a generation of each candidate of a plugin that is not known yet, and starts the highest
// version of each such plugin that has one without a known problem.
func (h *Host) stage(candidates []candidate) {
	known := *h.plugins.Load()
	fresh := map[string]*plugin{}
	for _, c := range candidates {
		if _, ok := known[c.name]; ok {
			continue
		}
		p, ok := fresh[c.name]
		if !ok {
			p = &plugin{name: c.name}
			p.route.Store(&route{})
			fresh[c.name] = p
		}
		p.generations = append(p.generations, newGeneration(h, p, c))
	}
	plugins := maps.Clone(known)
	maps.Copy(plugins, fresh)
	h.plugins.Store(&plugins)
	for _, p := range fresh {
		for _, g := range slices.Backward(p.generations) {
			if g.status().State == core.GenerationStaged {
				p.setRoute(route{{generation: g, weight: 1}})
				h.begin(g)
				break
			}
		}
	}
}

// begin starts a staged generation.
func (h *Host) begin(g *generation) {
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel = cancel
	h.running = append(h.running, g)
	go g.run(ctx) // ended and awaited by retire
}

// setRoute shares the plugin's messages out anew: one store, which every call begun later sees.
func (p *plugin) setRoute(r route) {
	p.route.Store(&r)
	for _, s := range r {
		s.generation.activate()
	}
}

// Stop drains all plugins at the same time and ends them. When it returns, no process is left. An error
// says which attempts were cut off; they got results. ctx may shorten the drain. A Host cannot be
// started again.
func (h *Host) Stop(ctx context.Context) error {
	h.mu.Lock()
	h.begun, h.stopped = true, true
	running := h.running
	h.mu.Unlock()
	errs := make([]error, len(running))
	var work sync.WaitGroup
	for i, g := range running {
		work.Go(func() { errs[i] = g.retire(ctx) })
	}
	work.Wait()
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
	h.mu.Lock()
	running := h.running
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
			if !g.reconcile(ctx, p) {
				select {
				case g.retry <- struct{}{}:
				default:
				}
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

// Plugins lists the plugins by name, with every version found in the folder.
func (h *Host) Plugins() []core.PluginStatus {
	var all []core.PluginStatus
	plugins := *h.plugins.Load()
	for _, name := range slices.Sorted(maps.Keys(plugins)) {
		p := plugins[name]
		s := core.PluginStatus{Name: name}
		if g := p.route.Load().main(); g != nil {
			g.mu.Lock()
			if g.about != nil {
				s.Channels, s.Capabilities = slices.Clone(g.about.channels), g.about.names()
			}
			g.mu.Unlock()
		}
		for _, g := range p.generations {
			s.Generations = append(s.Generations, g.status())
		}
		all = append(all, s)
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
	if g := h.generationOf(c); g != nil {
		return g.connectorStatus(c)
	}
	s := core.ConnectorStatus{ID: c.ID, Plugin: c.Plugin, State: core.ConnectorMisconfigured}
	if p, ok := (*h.plugins.Load())[c.Plugin]; ok {
		s.State = core.ConnectorUnavailable
		s.Message = fmt.Sprintf("no version of plugin %s can be started", c.Plugin)
		if n := len(p.generations); n > 0 {
			s.Message += ": " + p.generations[n-1].status().Error
		}
		return s
	}
	s.Message = fmt.Sprintf("plugin %q is not installed: there is no %s/%s/<version>/%s", c.Plugin, h.options.Dir, c.Plugin, c.Plugin)
	s.Diagnostics = []core.Diagnostic{{Summary: s.Message, Detail: "Install the plugin, or name another one."}}
	return s
}

// generationOf returns the generation that answers for a connector, nil if there is none.
func (h *Host) generationOf(c ConnectorConfig) *generation {
	p, ok := (*h.plugins.Load())[c.Plugin]
	if !ok {
		return nil
	}
	return p.route.Load().main()
}

// Ready says whether a connector can carry messages now.
func (h *Host) Ready(id core.ConnectorID) bool {
	c, ok := (*h.desired.Load())[id]
	if !ok {
		return false
	}
	g := h.generationOf(c)
	if g == nil {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	b, ok := g.bindings[id]
	if !ok || g.state != core.GenerationActive {
		return false
	}
	state, _ := b.state(g.healthOf(id))
	return state == core.ConnectorReady || state == core.ConnectorDegraded
}

// Violations counts a plugin's breaches of the contract since the start.
type Violations struct {
	Foreign   uint64 // results and events for what the plugin was not given
	Repeated  uint64 // results for attempts that had one
	Missing   uint64 // attempts without a result
	Malformed uint64 // values that the contract does not know
}

// Violations returns the breaches of all generations of a plugin.
func (h *Host) Violations(name string) Violations {
	var sum Violations
	p, ok := (*h.plugins.Load())[name]
	if !ok {
		return sum
	}
	for _, g := range p.generations {
		sum.Foreign += g.violations.foreign.Load()
		sum.Repeated += g.violations.repeated.Load()
		sum.Missing += g.violations.missing.Load()
		sum.Malformed += g.violations.malformed.Load()
	}
	return sum
}
