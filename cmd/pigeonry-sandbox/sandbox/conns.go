package sandbox

import (
	"errors"
	"net"
	"sync"
	"time"
)

// connTracker knows the open connections of a listener, so that a stop can end the idle ones.
type connTracker struct {
	net.Listener

	mu          sync.Mutex
	open        map[net.Conn]struct{}
	interrupted bool
}

func newConnTracker(l net.Listener) *connTracker {
	return &connTracker{Listener: l, open: map[net.Conn]struct{}{}}
}

// Accept implements net.Listener.
func (t *connTracker) Accept() (net.Conn, error) {
	c, err := t.Listener.Accept()
	if err != nil {
		return nil, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.open[c] = struct{}{}
	if t.interrupted {
		t.hurry(c)
	}
	return &trackedConn{Conn: c, tracker: t}, nil
}

// interrupt makes every connection that waits for its peer give up, now and later; one that is
// answering finishes first.
func (t *connTracker) interrupt() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.interrupted = true
	for c := range t.open {
		t.hurry(c)
	}
}

func (*connTracker) hurry(c net.Conn) {
	_ = c.SetReadDeadline(time.Now()) // fails only on a connection that is closed already
}

func (t *connTracker) closeAll() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	var errs []error
	for c := range t.open {
		errs = append(errs, c.Close())
	}
	return errors.Join(errs...)
}

// trackedConn leaves the tracker when it is closed.
type trackedConn struct {
	net.Conn
	tracker *connTracker
}

// Close implements net.Conn.
func (c *trackedConn) Close() error {
	c.tracker.mu.Lock()
	delete(c.tracker.open, c.Conn)
	c.tracker.mu.Unlock()
	return c.Conn.Close()
}
