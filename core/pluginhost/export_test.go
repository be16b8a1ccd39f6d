package pluginhost

// SocketFolder is where the sockets of the host's processes lie.
func (h *Host) SocketFolder() string { return h.runtime.sockets }

// Running counts the generations that have not ended.
func (h *Host) Running() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.running)
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
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range p.generations {
		sum.Foreign += g.violations.foreign.Load()
		sum.Repeated += g.violations.repeated.Load()
		sum.Missing += g.violations.missing.Load()
		sum.Malformed += g.violations.malformed.Load()
	}
	return sum
}
