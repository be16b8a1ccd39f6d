package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/plugins/sms/smpp"
)

// attempts notes when somebody tried to bind.
type attempts struct {
	mu    sync.Mutex
	at    []time.Time
	busy  int
	worst int // attempts at a time
}

// dial takes a second and fails with err.
func (a *attempts) dial(err error) func(context.Context) (*smpp.Session, error) {
	return func(ctx context.Context) (*smpp.Session, error) {
		a.mu.Lock()
		a.at = append(a.at, time.Now())
		a.busy++
		a.worst = max(a.worst, a.busy)
		a.mu.Unlock()
		_ = sleep(ctx, time.Second)
		a.mu.Lock()
		a.busy--
		a.mu.Unlock()
		return nil, err
	}
}

// storm lets 32 links bind for two minutes against an SMSC that refuses them all.
func storm(t *testing.T, err error) *attempts {
	t.Helper()
	var a attempts
	b := newBinder()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var links sync.WaitGroup
	for range 32 {
		links.Go(func() {
			for ctx.Err() == nil {
				_, _ = b.bind(ctx, a.dial(err))
			}
		})
	}
	links.Wait()
	if !errors.Is(b.problem(), err) {
		t.Errorf("the problem is %v, want %v", b.problem(), err)
	}
	return &a
}

// However many binds there are, an SMSC that refuses them meets one attempt at a time, and ever fewer.
func TestNoBindStorm(t *testing.T) {
	for name, tc := range map[string]struct {
		err         error
		least, most int // attempts in two minutes
		first       time.Duration
	}{
		"no connection":  {errors.New("connection refused"), 7, 14, 250 * time.Millisecond},
		"throttled":      {fmt.Errorf("bind: %w", &smpp.StatusError{Status: smpp.StatusThrottled}), 5, 9, 2500 * time.Millisecond},
		"queue full":     {fmt.Errorf("bind: %w", &smpp.StatusError{Status: smpp.StatusQueueFull}), 5, 9, 2500 * time.Millisecond},
		"wrong password": {fmt.Errorf("bind: %w", &smpp.StatusError{Status: smpp.StatusInvPassword}), 4, 8, 15 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := storm(t, tc.err)
				if a.worst != 1 || len(a.at) < tc.least || len(a.at) > tc.most {
					t.Errorf("%d attempts, %d at a time; want %d to %d, one at a time", len(a.at), a.worst, tc.least, tc.most)
				}
				if pause := a.at[1].Sub(a.at[0]) - time.Second; pause < tc.first {
					t.Errorf("the second attempt comes %s after the first one failed, want at least %s", pause, tc.first)
				}
			})
		})
	}
}

// Sessions that end together make one pause, and one that lived long makes it short again.
func TestPauseAfterSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBinder()
		for range 10 {
			b.ended(time.Second)
		}
		if pause := time.Until(b.notBefore()); pause < firstRebind/2 || pause > firstRebind {
			t.Errorf("ten sessions that end together make a pause of %s", pause)
		}
		for range 10 {
			_ = sleep(t.Context(), lastRebind)
			b.ended(time.Second)
		}
		if pause := time.Until(b.notBefore()); pause < lastRebind/2 {
			t.Errorf("sessions that end at once, again and again, make a pause of %s", pause)
		}
		_ = sleep(t.Context(), lastRebind)
		b.ended(steady)
		if pause := time.Until(b.notBefore()); pause > firstRebind {
			t.Errorf("a session that lived makes a pause of %s", pause)
		}
	})
}

func TestBinderObeysContext(t *testing.T) {
	b := newBinder()
	b.failed(errors.New("away"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.bind(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("bind: %v", err)
	}
	<-b.turn // somebody else binds
	if _, err := b.bind(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("bind, while another binds: %v", err)
	}
}
