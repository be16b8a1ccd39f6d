package smpp

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// suspect asks the watch to find out at once whether the peer is still there.
func (s *Session) suspect() {
	select {
	case s.nudge <- struct{}{}:
	default:
	}
}

// watchLoop sends enquire_link after a silence of the peer, and ends the session of a peer that does
// not answer.
func (s *Session) watchLoop(ctx context.Context) {
	interval := s.options.EnquireLink
	if interval < 0 {
		<-s.done
		return
	}
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for {
		nudged := false
		select {
		case <-s.done:
			return
		case <-s.nudge:
			nudged = true
		case <-timer.C:
		}
		silence := time.Since(s.began) - time.Duration(s.heard.Load())
		if silence >= interval || nudged {
			if !s.alive(ctx) {
				return
			}
			silence = 0
		}
		timer.Reset(interval - silence)
	}
}

// alive enquires and ends the session when no answer comes. A refusal is an answer.
func (s *Session) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, s.options.ResponseTimeout)
	defer cancel()
	err := s.EnquireLink(ctx)
	var refused *StatusError
	if err != nil && !errors.As(err, &refused) {
		s.end(fmt.Errorf("%w: %w", ErrLinkDead, err))
		return false
	}
	return true
}
