package redis

// Peer makes a limiter on the same keys.
func (l *Limiter) Peer() *Limiter {
	return New(l.client, Options{Prefix: l.prefix, Lease: l.lease, Beat: l.pause, Logger: l.logger})
}
