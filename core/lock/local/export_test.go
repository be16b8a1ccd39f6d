package local

// StopRenewing makes every further renewal for the present holder of a name fail, as if it were gone.
func (l *Locker) StopRenewing(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	gone := l.names[name].hold
	l.renews = func(h *hold) bool { return h != gone }
}

// Names counts the names that are kept.
func (l *Locker) Names() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.names)
}
