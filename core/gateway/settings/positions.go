package settings

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// positions remembers where each value was written: by its path in the settings, joined.
type positions map[string]string

func pathKey(path []any) string {
	steps := make([]string, len(path))
	for i, step := range path {
		steps[i] = fmt.Sprint(step)
	}
	return strings.Join(steps, "\x1f")
}

func (p positions) set(path []any, r hcl.Range) { p[pathKey(path)] = position(r) }

// find returns the place of the path, or of the nearest thing around it.
func (p positions) find(path ...any) string {
	for n := len(path); n > 0; n-- {
		if at, ok := p[pathKey(path[:n])]; ok {
			return at
		}
	}
	return ""
}

// Position returns where a key of a connector's config was written, as file:line:column, for the path that
// a plugin names in a diagnostic: string for a key, int for an index. A key that is not there has the
// place of what should hold it; an unknown connector has none.
func (s *Settings) Position(connectorID string, path ...any) string {
	channel, name, _ := strings.Cut(connectorID, "/")
	return s.positions.find(append([]any{"connector", channel, name, "config"}, path...)...)
}

// ShadowPosition is Position for a path in what Connector.Shadowed returns.
func (s *Settings) ShadowPosition(connectorID string, path ...any) string {
	channel, name, _ := strings.Cut(connectorID, "/")
	for n := len(path); n > 0; n-- {
		for _, body := range []string{"shadow_config", "config"} {
			if at, ok := s.positions[pathKey(append([]any{"connector", channel, name, body}, path[:n]...))]; ok {
				return at
			}
		}
	}
	return s.Position(connectorID)
}

func itoa(n int) string { return strconv.Itoa(n) }
