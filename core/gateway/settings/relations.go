package settings

import (
	"path/filepath"
	"strings"
)

// relations checks what no value can say alone.
func relations(s *Settings, origins map[string]string) Faults {
	var faults Faults
	report := func(problem, remedy string, path ...any) {
		position := s.positions.find(path...)
		if origin, ok := origins[joined(path)]; ok {
			position = origin
		}
		faults = append(faults, Fault{position, problem, remedy})
	}
	for name, p := range s.Pools {
		if p.CoreSize > p.MaxSize {
			report("core_size is above max_size", "raise max_size or lower core_size", "pool", name, "core_size")
		}
		switch {
		case p.ScaleDownThreshold == 0:
			report("scale_down_threshold is 0", "an empty queue must be below it: use 0.2", "pool", name, "scale_down_threshold")
		case p.ScaleDownThreshold >= p.ScaleUpThreshold:
			report("scale_down_threshold is not below scale_up_threshold", "a pool that grows and shrinks at once never rests: use 0.8 and 0.2",
				"pool", name, "scale_down_threshold")
		}
	}
	for _, c := range s.Connectors {
		if c.Retry.FirstDelay > c.Retry.MaxDelay {
			channel, name, _ := strings.Cut(string(c.ID), "/")
			report("first_delay is above max_delay", "raise max_delay or lower first_delay", "connector", channel, name, "retry", "first_delay")
		}
	}
	for _, l := range s.Limits {
		switch {
		case l.Type == "sliding_window" && l.Window == 0:
			report("a sliding_window has no window", `add window = "1m"`, "limit", l.Resource)
		case l.Type != "sliding_window" && l.Window != 0:
			report("window belongs to type \"sliding_window\" alone", "remove it or change the type", "limit", l.Resource, "window")
		}
	}
	if filepath.Clean(s.DataDir) == filepath.Clean(s.Plugins.Dir) {
		report("data_dir and the folder of the plugins are the same", "use two folders: the gateway executes what lies in the one and writes to the other", "data_dir")
	}
	return faults
}

func joined(path []any) string { return strings.ReplaceAll(pathKey(path), "\x1f", ".") }
