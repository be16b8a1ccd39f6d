package pluginhost

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
)

// ShareOut makes the named versions of a plugin share its messages by weight, starting those that do
// not run. It is what a change of generation will do.
func (h *Host) ShareOut(name string, weights map[string]uint32) {
	p := (*h.plugins.Load())[name]
	var r route
	for _, g := range p.generations {
		if weight, ok := weights[g.version]; ok {
			r = append(r, share{generation: g, weight: weight})
		}
	}
	p.setRoute(r)
	for _, s := range r {
		if s.generation.status().State == core.GenerationStaged {
			h.mu.Lock()
			h.begin(s.generation)
			h.mu.Unlock()
		}
	}
}

// Retire drains and ends one version of a plugin.
func (h *Host) Retire(ctx context.Context, name, version string) error {
	for _, g := range (*h.plugins.Load())[name].generations {
		if g.version == version {
			return g.retire(ctx)
		}
	}
	return nil
}

// SocketFolder is where the sockets of the host's processes lie.
func (h *Host) SocketFolder() string { return h.runtime.sockets }
