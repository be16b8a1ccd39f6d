package pluginhost

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// plugin is one name in the catalogue: the versions that are installed, and the generations that run.
type plugin struct {
	host  *Host
	name  string
	route atomic.Pointer[route]

	// What follows is guarded by Host.mu.
	versions    []catalog.Version      // installed, from the lowest
	generations map[string]*generation // the latest of each version that was ever started
	arranged    core.Arrangement
	handing     bool // a session is being handed over
	pending     bool // the active version is not ready; the one before it carries on until it is
}

// newPlugin returns a plugin that carries nothing.
func newPlugin(h *Host, name string) *plugin {
	p := &plugin{host: h, name: name, generations: map[string]*generation{}}
	p.route.Store(newRoute(core.Arrangement{}, nil, nil))
	return p
}

// installedLocked returns an installed version.
func (p *plugin) installedLocked(version string) (catalog.Version, bool) {
	i := slices.IndexFunc(p.versions, func(v catalog.Version) bool { return v.Version == version })
	if i < 0 {
		return catalog.Version{}, false
	}
	return p.versions[i], true
}

// Arrange makes a plugin's versions run and share its messages as a says. It returns at once; Standing tells
// how far they are. A version that is not named any more takes no new messages, drains and ends. To arrange
// the same again changes nothing, except that a version which was missing and is installed now is started.
func (h *Host) Arrange(name string, a core.Arrangement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.begun || h.stopped {
		return
	}
	p := h.pluginLocked(name)
	before := p.arranged
	if a.Beside == a.Active {
		a.Beside = ""
	}
	p.arranged = a
	started := p.ensureLocked(a.Active, before)
	started = p.ensureLocked(a.Beside, before) || started
	if started || !sameArrangement(before, a) {
		p.applyLocked()
	}
}

// pluginLocked returns a plugin, a new one that carries nothing if there was none of the name.
func (h *Host) pluginLocked(name string) *plugin {
	known := *h.plugins.Load()
	if p, ok := known[name]; ok {
		return p
	}
	p := newPlugin(h, name)
	h.addLocked(map[string]*plugin{name: p})
	return p
}

func sameArrangement(a, b core.Arrangement) bool {
	return a.Active == b.Active && a.Beside == b.Beside && a.Share == b.Share && a.By == b.By && a.Shadow == b.Shadow &&
		slices.Equal(a.Accounts, b.Accounts)
}

// ensureLocked starts a version that is installed and does not run, and says whether it did. One that
// failed is started again only if it was not arranged before, for the same start would fail the same way, or if its
// files were mended.
func (p *plugin) ensureLocked(version string, before core.Arrangement) bool {
	v, ok := p.installedLocked(version)
	if version == "" || !ok {
		return false
	}
	shadow := p.arranged.Shadow && version == p.arranged.Beside
	again := version == before.Active || version == before.Beside
	earlier, known := p.generations[version]
	mended := known && earlier.source.Problem != nil && v.Problem == nil
	if known && !mended && earlier.serves(shadow, again) {
		return false
	}
	g := newGeneration(p, v)
	if known {
		g.follow(earlier)
		p.dropLocked(earlier)
	}
	g.take(p.roleLocked(version), shadow)
	p.generations[version] = g
	if g.status().State == core.GenerationStaged {
		p.host.beginLocked(g)
	}
	return true
}

// serves says whether the generation is what an arrangement needs, or the best that can be had. One whose
// connectors were the sandbox's never carries messages: they would be lost.
func (g *generation) serves(shadow, again bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	over := g.state == core.GenerationFailed || g.state == core.GenerationStopped
	return g.shadow == shadow && !g.retired && (!over || again)
}

// dropLocked retires a generation that is not needed any more.
func (p *plugin) dropLocked(g *generation) {
	if !g.over() && !g.retiring() {
		p.host.retireLocked(g)
	}
}

// roleLocked is what a version is called by the arrangement.
func (p *plugin) roleLocked(version string) core.GenerationState {
	switch {
	case version == p.arranged.Active:
		return core.GenerationActive
	case p.arranged.Share > 0 || p.arranged.Shadow:
		return core.GenerationCanary
	default:
		return core.GenerationReady
	}
}

// applyLocked puts the arrangement in force.
func (p *plugin) applyLocked() {
	if p.handing {
		return // the hand-over applies what is arranged when it ends
	}
	active, beside := p.generations[p.arranged.Active], p.generations[p.arranged.Beside]
	from := p.route.Load().active
	p.pending = active != nil && from != nil && from != active && from.running() && !active.passed()
	if p.pending {
		active.take(core.GenerationReady, false)
		return
	}
	if active != nil && from != active && (active.isParked() || from != nil && from.running() && p.exclusiveLocked()) {
		p.handing = true
		p.host.work.Go(func() { p.handOver(from, active) })
		return
	}
	p.switchLocked(active, beside)
}

// arrived puts the arrangement in force that waited for a version to be ready.
func (p *plugin) arrived() {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	if p.pending {
		p.applyLocked()
	}
}

// Exclusive says whether a plugin holds a session with its provider that only one process may hold. Then two
// versions cannot share messages.
func (h *Host) Exclusive(name string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := (*h.plugins.Load())[name]
	return ok && p.exclusiveLocked()
}

// switchLocked makes the route that of the arrangement, one store that every call begun later sees, and
// retires what it leaves out.
func (p *plugin) switchLocked(active, beside *generation) {
	for _, g := range []*generation{active, beside} {
		if g != nil {
			g.take(p.roleLocked(g.version), p.arranged.Shadow && g == beside)
		}
	}
	p.route.Swap(newRoute(p.arranged, active, beside)).release()
	for _, g := range p.generations {
		if g != active && g != beside {
			p.dropLocked(g)
		}
	}
	p.host.notify()
}

// exclusiveLocked says whether a generation of the plugin holds a session that only one may hold.
func (p *plugin) exclusiveLocked() bool {
	for _, g := range p.generations {
		if !g.over() && g.exclusive() {
			return true
		}
	}
	return false
}

// Standing tells how one version of a plugin is.
func (h *Host) Standing(name, version string) core.VersionStanding {
	h.mu.Lock()
	defer h.mu.Unlock()
	p, ok := (*h.plugins.Load())[name]
	if !ok {
		return core.VersionStanding{State: core.GenerationStaged, Waiting: "plugin " + name + " is not installed"}
	}
	if g, ok := p.generations[version]; ok {
		return p.standingLocked(g)
	}
	v, ok := p.installedLocked(version)
	switch {
	case !ok:
		return core.VersionStanding{State: core.GenerationStaged, Waiting: fmt.Sprintf("there is no %s/%s/%s", h.options.Catalog.Dir(), name, version)}
	case v.Problem != nil:
		return core.VersionStanding{State: core.GenerationFailed, Problem: v.Problem.Error()}
	}
	return core.VersionStanding{State: core.GenerationStaged, Waiting: "it was not started"}
}

// standingLocked tells how a generation is within its plugin. The active one is ready once messages take its way.
func (p *plugin) standingLocked(g *generation) core.VersionStanding {
	s := g.standing()
	s.Exclusive = p.exclusiveLocked()
	if s.Ready && g.version == p.arranged.Active && p.route.Load().active != g {
		s.Ready, s.Waiting = false, "it is taking over from the version before it"
	}
	return s
}

// statusLocked tells people how the plugin is.
func (p *plugin) statusLocked() core.PluginStatus {
	s := core.PluginStatus{Name: p.name}
	r := p.route.Load()
	if r.active != nil {
		s.Active = r.active.version
		s.Channels, s.Capabilities = r.active.describes()
	}
	versions := make([]string, 0, len(p.versions))
	for _, v := range p.versions {
		versions = append(versions, v.Version)
	}
	for version := range p.generations {
		if !slices.Contains(versions, version) { // its folder is gone
			versions = append(versions, version)
		}
	}
	slices.SortFunc(versions, catalog.CompareVersions)
	for _, version := range versions {
		s.Generations = append(s.Generations, p.generationStatusLocked(version, r))
	}
	return s
}

func (p *plugin) generationStatusLocked(version string, r *route) core.GenerationStatus {
	g, ok := p.generations[version]
	if !ok {
		v, _ := p.installedLocked(version)
		s := core.GenerationStatus{Version: version, SHA256: v.SHA256, State: core.GenerationStaged}
		if v.Problem != nil {
			s.State, s.Error = core.GenerationFailed, v.Problem.Error()
		}
		return s
	}
	s := g.status()
	switch {
	case g == r.active && r.beside != nil && !r.shadow:
		s.Share = float64(wholeShare-r.share) / 100
	case g == r.active:
		s.Share = 100
	case g == r.beside && !r.shadow:
		s.Share = float64(r.share) / 100
	}
	return s
}
