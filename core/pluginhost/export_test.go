package pluginhost

// SocketFolder is where the sockets of the host's processes lie.
func (h *Host) SocketFolder() string { return h.runtime.sockets }
