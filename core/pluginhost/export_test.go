package pluginhost

// SocketFolder is where the sockets of the host's processes lie.
func (h *Host) SocketFolder() string { return h.runtime.sockets }

// Running counts the generations that have not ended.
func (h *Host) Running() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.running)
}
