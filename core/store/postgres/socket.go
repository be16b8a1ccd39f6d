package postgres

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// silence is how long a server may leave a read or a write of ours without a byte. A firewall or a failover can
	// swallow a connection without a word: TCP then retries for a quarter of an hour, while workers, receipts and the end
	// of the gateway wait for an answer that cannot come.
	silence = 10 * time.Second
	// pingTimeout bounds the question whether a connection that was idle is still there.
	pingTimeout = 2 * time.Second
)

// dialer opens connections that do not wait longer than silence. When one does, all others to the same server are
// suspect: silent is called, so that each need not be waited for in its turn.
type dialer struct{ silent atomic.Pointer[func()] }

// dial opens a connection. While it is idle, the system asks whether its peer is there.
func (o *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{
		Timeout:         connectTimeout,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	conn, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	return &socket{Conn: conn, silent: o.tell}, nil
}

func (o *dialer) tell() {
	if silent := o.silent.Load(); silent != nil {
		(*silent)()
	}
}

// socket is a connection whose reads and writes take at most silence, unless its user has set a deadline: then that
// one counts.
type socket struct {
	net.Conn
	silent func()

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
	n, err := s.Conn.Read(b)
	if errors.Is(err, os.ErrDeadlineExceeded) && !s.isBounded() {
		s.silent()
	}
	return n, err
}

// Write implements net.Conn.
func (s *socket) Write(b []byte) (int, error) {
	s.bound(s.SetWriteDeadline)
	return s.Conn.Write(b)
}

func (s *socket) isBounded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bounded
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
