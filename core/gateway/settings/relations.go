package settings

import (
	"path/filepath"
	"slices"
	"strings"
)

// relations checks what no value can say alone. Limits are the paths of the limits.
func relations(s *Settings, origins map[string]string, limits [][]any) Faults {
	var faults Faults
	report := func(problem, remedy string, path ...any) {
		position := s.positions.find(path...)
		if origin, ok := origins[joined(path)]; ok {
			position = origin
		}
		faults = append(faults, Fault{position, problem, remedy})
	}
	for name, p := range s.Pools {
		for _, flaw := range p.Flaws() {
			report(flaw.Problem, flaw.Remedy, "pool", name, flaw.Key)
		}
	}
	for _, c := range s.Connectors {
		if c.Retry.FirstDelay > c.Retry.MaxDelay {
			channel, name, _ := strings.Cut(string(c.ID), "/")
			report("first_delay is above max_delay", "raise max_delay or lower first_delay", "connector", channel, name, "retry", "first_delay")
		}
	}
	for i, l := range s.Limits {
		for _, flaw := range append(l.Flaws(), s.idle(i)...) {
			report(flaw.Problem, flaw.Remedy, with(limits[i], flaw.Key)...)
		}
		first := slices.IndexFunc(s.Limits, func(o Limit) bool { return o.Same(l) })
		if first < i {
			report("the limit is given twice", "a limit of the same type, by and window stands at "+s.positions.find(limits[first]...)+" already; keep one", limits[i]...)
		}
	}
	if s.Plugins.RequireSignature && len(s.Plugins.TrustedKeys) == 0 {
		report("require_signature is true and trusted_keys is empty", "no plugin could start: add the public keys of those who sign them", "plugins", "require_signature")
	}
	if filepath.Clean(s.DataDir) == filepath.Clean(s.Plugins.Dir) {
		report("data_dir and the folder of the plugins are the same", "use two folders: the gateway executes what lies in the one and writes to the other", "data_dir")
	}
	return faults
}

func joined(path []any) string { return strings.ReplaceAll(pathKey(path), "\x1f", ".") }
