package redis

// Cut makes the present holders of a name unable to renew, as if they were gone.
func (l *Locker) Cut(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for h := range l.holds {
		if h.name == name {
			h.cut = true
		}
	}
}

// Peer makes a locker on the same keys.
func (l *Locker) Peer() *Locker {
	return New(l.client, Options{Prefix: l.prefix, Logger: l.logger})
}

// Key is the key of a lock.
func (l *Locker) Key(name string) string { return l.key(name) }
