package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// unbindTimeout bounds the farewell of a session.
const unbindTimeout = 5 * time.Second

// link keeps one bind up: it binds, waits until the session ends, and binds again.
type link struct {
	client  smpp.Client
	binder  *binder       // shared by the links of the connector
	timeout time.Duration // of connecting and binding
	log     *slog.Logger
	changed func() // called after each change of what state returns

	mu      sync.Mutex
	session *smpp.Session // nil while unbound
	err     error         // why it is unbound
	tried   bool          // the first attempt is over
}

// sends tells whether messages can be submitted over the link.
func (l *link) sends() bool { return l.client.Bind.Mode != smpp.Receiver }

// state is the session while bound; else why it is not. tried is false before the first attempt of any link is over: one
// that failed speaks for those that wait for their turn.
func (l *link) state() (session *smpp.Session, tried bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.session == nil && l.err == nil {
		if err := l.binder.problem(); err != nil {
			return nil, true, err
		}
	}
	return l.session, l.tried, l.err
}

func (l *link) set(session *smpp.Session, err error) {
	l.mu.Lock()
	l.session, l.err, l.tried = session, err, true
	l.mu.Unlock()
	l.changed()
}

// run keeps the link up until ctx ends, then unbinds.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		session, err := l.binder.bind(ctx, l.dial)
		if err != nil {
			if ctx.Err() != nil {
				return
			}
			l.log.Warn("bind failed", "error", err.Error(), "mode", l.client.Bind.Mode.String())
			l.set(nil, err)
			continue
		}
		began := time.Now()
		l.log.Info("bound", "smsc", session.Peer(), "mode", session.Mode().String())
		l.serve(ctx, session)
		if ctx.Err() == nil {
			l.binder.ended(time.Since(began))
		}
	}
}

func (l *link) dial(ctx context.Context) (*smpp.Session, error) {
	ctx, cancel := context.WithTimeout(ctx, l.timeout)
	defer cancel()
	return smpp.Dial(ctx, l.client)
}

// serve offers the session until it ends, or until ctx ends: then it is unbound, which lets what is
// under way finish.
func (l *link) serve(ctx context.Context, session *smpp.Session) {
	l.set(session, nil)
	select {
	case <-session.Done():
		l.log.Warn("session ended", "error", session.Err().Error(), "mode", session.Mode().String())
		session.Close()
	case <-ctx.Done():
		farewell, cancel := context.WithTimeout(context.WithoutCancel(ctx), unbindTimeout)
		defer cancel()
		if err := session.Unbind(farewell); err != nil {
			l.log.Warn("session not unbound in good order", "error", err.Error())
		}
	}
	l.set(nil, session.Err())
}
