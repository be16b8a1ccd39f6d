package rollout

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/pigeonry/pigeonry/core"
)

// Choose returns the version of a plugin that a gateway begins with: the stored one, or for a plugin that never had
// one, the highest, which then is the active one of all gateways. The versions are those that this gateway has, from
// the lowest. If the active one is not among them, it is returned with an error that says what to do: the gateway must
// not run another version instead.
func (s *Service) Choose(ctx context.Context, plugin string, versions []string) (string, error) {
	if len(versions) == 0 {
		return "", core.Errorf(core.KindNotFound, "this gateway has no version of plugin %s", plugin)
	}
	active, err := s.o.Rollouts.Activate(ctx, plugin, versions[len(versions)-1])
	if err != nil {
		return "", fmt.Errorf("choose a version of %s: %w", plugin, err)
	}
	return active, lacking(plugin, active, versions)
}

// lacking is the error of a gateway that does not have the version that is active.
func lacking(plugin, active string, versions []string) error {
	if slices.Contains(versions, active) {
		return nil
	}
	has := "no version of it"
	if len(versions) > 0 {
		has = "only " + strings.Join(versions, ", ")
	}
	return core.Errorf(core.KindConflict,
		"version %s of plugin %s is active, and this gateway has %s: install %s here, or roll out a version that every gateway has",
		active, plugin, has, active)
}

// versionsOf picks the versions of one plugin.
func versionsOf(plugin string, installed []core.PluginVersion) []string {
	var versions []string
	for _, v := range installed {
		if v.Plugin == plugin {
			versions = append(versions, v.Version)
		}
	}
	return versions
}
