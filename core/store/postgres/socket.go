package postgres

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	// silence is how long a server may leave a read or a write of ours without a byte. A firewall or a failover can
	// swallow a connection without a word: TCP then retries for a quarter of an hour, while workers, receipts and the end
	// of the gateway wait for an answer that cannot come.
	silence = 15 * time.Second
	// pingTimeout bounds the question whether a connection that was idle is still there.
	pingTimeout = 2 * time.Second
)

// dial opens a connection that does not wait longer than silence. While it is idle, the system asks whether its peer
// is there.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: conn}, nil
}

// socket is a connection whose reads and writes take at most silence, unless its user has set a deadline: then that
// one counts.
type socket struct {
	net.Conn

	mu      sync.Mutex
	bounded bool // the user has set a deadline
}

// SetDeadline implements net.Conn.
func (s *socket) SetDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bounded = !t.IsZero()
	return s.Conn.SetDeadline(t)
}

// Read implements net.Conn.
func (s *socket) Read(b []byte) (int, error) {
	s.bound(s.SetReadDeadline)
	return s.Conn.Read(b)
}

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	s.bound(s.SetWriteDeadline)
	return s.Conn.Write(b)
}

// bound sets a deadline where the user has set none. Under the lock, so that one that is set now comes after it and
// counts.
func (s *socket) bound(set func(time.Time) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.bounded {
		_ = set(time.Now().Add(silence)) // fails only on a closed connection, which the caller notices
	}
}
