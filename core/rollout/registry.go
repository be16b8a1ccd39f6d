package rollout

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// lookForRemoved is how often a gateway looks for versions that were removed through another one.
const lookForRemoved = 5 * time.Second

// registry tells the store which versions this gateway has.
type registry struct {
	o Options

	mu     sync.Mutex
	known  map[string]entry  // those that the store knows as this gateway has them
	differ map[string]string // checksum of those that the store knows with another one
}

// entry is a version as it was registered.
type entry struct {
	core.PluginVersion

	gone bool // it was removed after this gateway got its files
}

func newRegistry(o Options) *registry {
	return &registry{o: o, known: map[string]entry{}, differ: map[string]string{}}
}

// key names a version of a plugin.
func key(plugin, version string) string { return plugin + "/" + version }

// enter registers what is new, and lets go of what is no longer installed, so that it is new when it comes again. It
// returns those that are what all gateways mean by them.
func (g *registry) enter(ctx context.Context, installed []core.PluginVersion) ([]core.PluginVersion, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	here := map[string]bool{}
	good := make([]core.PluginVersion, 0, len(installed))
	for _, v := range installed {
		k := key(v.Plugin, v.Version)
		here[k] = true
		if err := g.register(ctx, v); err != nil {
			return nil, err
		}
		if e, ok := g.known[k]; ok && !e.gone {
			good = append(good, v)
		}
	}
	maps.DeleteFunc(g.known, func(k string, _ entry) bool { return !here[k] })
	maps.DeleteFunc(g.differ, func(k, _ string) bool { return !here[k] })
	return good, nil
}

func (g *registry) register(ctx context.Context, v core.PluginVersion) error {
	k := key(v.Plugin, v.Version)
	before, ok := g.known[k]
	if ok && before.SHA256 == v.SHA256 && before.InstalledAt.Equal(v.InstalledAt) || g.differ[k] == v.SHA256 {
		return nil
	}
	v.FirstSeen = g.o.Now()
	stored, err := g.o.Versions.RegisterVersion(ctx, v)
	if core.KindOf(err) == core.KindConflict {
		delete(g.known, k)
		g.differ[k] = v.SHA256
		g.o.Logger.ErrorContext(ctx, "rollout: a version of a plugin is known with another checksum: it neither runs nor is rolled out; "+
			"give what changed a version of its own", "plugin", v.Plugin, "version", v.Version, "sha256", v.SHA256, "error", err)
		return nil
	}
	if err != nil {
		return fmt.Errorf("register version %s of %s: %w", v.Version, v.Plugin, err)
	}
	delete(g.differ, k)
	g.known[k] = entry{PluginVersion: v, gone: !stored.RemovedAt.IsZero()}
	return nil
}

// trusts says whether this gateway has a version with the bytes that all gateways mean by it.
func (g *registry) trusts(plugin, version string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, ok := g.known[key(plugin, version)]
	return ok
}

// differing is an error for a version that is here and not what all gateways mean by it.
func (g *registry) differing(plugin, version string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	sha, ok := g.differ[key(plugin, version)]
	if !ok {
		return nil
	}
	return core.Errorf(core.KindConflict,
		"version %s of plugin %s is known with another checksum than this gateway has, %.12s: install here what it was, and give what changed a version of its own",
		version, plugin, sha)
}

// removeGone removes the files of versions that were removed through another gateway. Only those count that were
// registered before: what is installed after that is meant to be there.
func (s *Service) removeGone(ctx context.Context) error {
	now := s.o.Now()
	if now.Sub(s.looked) < lookForRemoved {
		return nil
	}
	stored, err := s.o.Versions.PluginVersions(ctx, "")
	if err != nil {
		return err
	}
	s.looked = now
	removed := map[string]bool{}
	for _, v := range stored {
		removed[key(v.Plugin, v.Version)] = !v.RemovedAt.IsZero()
	}
	for _, v := range s.o.Host.Installed() {
		if removed[key(v.Plugin, v.Version)] && s.registry.trusts(v.Plugin, v.Version) {
			s.forget(ctx, v.Plugin, v.Version)
		}
	}
	return nil
}

// forget removes the files of a version here. One that still runs is tried again.
func (s *Service) forget(ctx context.Context, plugin, version string) {
	if err := s.o.Host.Forget(plugin, version); err != nil {
		s.o.Logger.WarnContext(ctx, "rollout: the files of a removed version cannot be removed yet",
			"plugin", plugin, "version", version, "error", err)
		return
	}
	s.o.Logger.InfoContext(ctx, "rollout: version removed", "plugin", plugin, "version", version)
}

// has says whether a gateway has the very bytes that a rollout is about.
func has(installed []core.PluginVersion, r *core.Rollout) bool {
	for _, v := range installed {
		if v.Plugin == r.Plugin && v.Version == r.To {
			return v.SHA256 == r.SHA256
		}
	}
	return false
}
