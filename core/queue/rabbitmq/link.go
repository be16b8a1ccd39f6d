package rabbitmq

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"
)

const (
	// firstPause is the wait before the first try to connect again; it doubles up to lastPause, and
	// jitter keeps many gateways from coming all at once.
	firstPause = 100 * time.Millisecond
	lastPause  = 5 * time.Second
	// steady is how long a session must have lasted for the next one to be tried soon.
	steady = 10 * time.Second
)

// link keeps one connection to the broker: it has a session, or tries to get one.
type link struct {
	role    string
	address string
	connect func(context.Context) (*session, error)
	logger  *slog.Logger

	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	session *session      // nil while there is none
	cause   error         // why there is none
	changed chan struct{} // closed and replaced with each change of session
}

// start connects; what keeps it from doing so the first time is the caller's to know.
func (l *link) start(ctx context.Context) error {
	first, err := l.connect(ctx)
	if err != nil {
		return err
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.done, l.changed = make(chan struct{}), make(chan struct{})
	l.session = first
	go l.run(ctx, first)
	return nil
}

// run replaces a session that is lost, until ctx ends.
func (l *link) run(ctx context.Context, s *session) {
	defer close(l.done)
	pause := firstPause
	for s != nil {
		began := time.Now()
		select {
		case <-s.down:
		case <-ctx.Done():
		}
		l.set(nil, s.reason())
		s.close()
		if time.Since(began) > steady {
			pause = firstPause
		}
		if ctx.Err() == nil {
			l.logger.WarnContext(ctx, "rabbitmq: connection lost; connecting again", "connection", l.role, "address", l.address, "error", s.reason())
		}
		s, pause = l.reconnect(ctx, pause)
	}
}

// reconnect tries until there is a session, or returns nil when ctx ends. It returns the pause before the
// next try, too.
func (l *link) reconnect(ctx context.Context, pause time.Duration) (*session, time.Duration) {
	for told := false; ; {
		sleep(ctx, pause/2+rand.N(pause/2))
		if ctx.Err() != nil {
			return nil, 0
		}
		pause = min(2*pause, lastPause)
		s, err := l.connect(ctx)
		if err == nil {
			l.set(s, nil)
			l.logger.InfoContext(ctx, "rabbitmq: connected again", "connection", l.role, "address", l.address)
			return s, pause
		}
		l.set(nil, err)
		if ctx.Err() == nil && !told {
			l.logger.WarnContext(ctx, "rabbitmq: cannot connect; trying on", "connection", l.role, "error", err)
			told = true
		}
	}
}

func (l *link) set(s *session, cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.session, l.cause = s, cause
	close(l.changed)
	l.changed = make(chan struct{})
}

// current returns the session, or why there is none.
func (l *link) current() (*session, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil {
		return nil, unavailable(l.address, l.cause)
	}
	if l.session.isDown() { // not noticed yet
		return nil, l.session.lost()
	}
	return l.session, nil
}

// wait returns a session as soon as there is one, or nil when ctx ends.
func (l *link) wait(ctx context.Context) *session {
	for ctx.Err() == nil {
		l.mu.Lock()
		s, changed := l.session, l.changed
		l.mu.Unlock()
		if s != nil && !s.isDown() {
			return s
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
	return nil
}

// stop ends the session and waits for the end of everything in it.
func (l *link) stop() {
	if l.cancel == nil {
		return
	}
	l.cancel()
	<-l.done
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
