package clock_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pigeonry/pigeonry/core/clock"
)

// source is a clock that can be set and can fail.
type source struct {
	mu  sync.Mutex
	off time.Duration // from this machine's clock
	err error
}

func (s *source) Now(context.Context) (time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.off).Round(0), s.err
}

func (s *source) set(off time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off, s.err = off, err
}

// run starts a clock that follows s until the test ends.
func run(t *testing.T, s *source, log *bytes.Buffer) *clock.Clock {
	t.Helper()
	c, err := clock.New(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { c.Run(ctx, slog.New(slog.NewTextHandler(log, nil))) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return c
}

// ahead is how far the clock is ahead of this machine's.
func ahead(c *clock.Clock) time.Duration { return time.Until(c.Now()).Round(time.Millisecond) }

// Each case sets the source to another time and waits: a clock that is wrong makes up for a quarter of the time that
// passes, from the next look on, and never for more than it is wrong by.
func TestAClockFollowsItsSourceWithoutAJump(t *testing.T) {
	const look = 10 * time.Second
	for name, step := range map[string]struct {
		off, after, want time.Duration
	}{
		"set forward, not yet seen":  {time.Hour, look - time.Second, 0},
		"set forward":                {time.Hour, look + 4*time.Minute, time.Minute},
		"set back":                   {-time.Hour, look + 4*time.Minute, -time.Minute},
		"set forward, made up for":   {time.Hour, look + 5*time.Hour, time.Hour},
		"set back, made up for":      {-time.Hour, look + 5*time.Hour, -time.Hour},
		"a little wrong, in a trice": {20 * time.Millisecond, look + 80*time.Millisecond, 20 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &source{}
				c := run(t, s, &bytes.Buffer{})
				s.set(step.off, nil)
				<-time.After(step.after)
				if got := ahead(c); got != step.want {
					t.Errorf("after %v the clock is %v ahead, want %v", step.after, got, step.want)
				}
			})
		})
	}
}

func TestAClockNeverRunsBackwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		c := run(t, s, &bytes.Buffer{})
		last := c.Now()
		for i := range 200 {
			s.set(time.Duration(i%3-1)*time.Hour, nil)
			<-time.After(3 * time.Second)
			now := c.Now()
			if now.Before(last.Add(2 * time.Second)) {
				t.Fatalf("%v after %v, in three seconds", now, last)
			}
			last = now
		}
	})
}

func TestAClockBeginsAtItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := run(t, &source{off: -3 * time.Hour}, &bytes.Buffer{})
		if got := ahead(c); got != -3*time.Hour {
			t.Errorf("the clock is %v ahead, want -3h", got)
		}
	})
}

func TestWithoutItsSourceAClockGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &source{off: time.Minute}
		c := run(t, s, &bytes.Buffer{})
		s.set(0, errors.New("away"))
		<-time.After(time.Hour)
		if got := ahead(c); got != time.Minute {
			t.Errorf("the clock is %v ahead, want 1m", got)
		}
	})
	if _, err := clock.New(t.Context(), &source{err: errors.New("away")}); err == nil || !strings.Contains(err.Error(), "away") {
		t.Errorf("a clock without a source begins: %v", err)
	}
}

// A source that is slow, and answers only once in the time there is, is enough to begin with.
func TestOneAnswerIsEnough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, err := clock.New(t.Context(), far{})
		if err != nil {
			t.Fatal(err)
		}
		if got := ahead(c).Abs(); got > 2*time.Second {
			t.Errorf("the clock is off by %v, more than half of what the answer took", got)
		}
	})
}

// far is a source that takes four seconds to answer.
type far struct{}

func (far) Now(ctx context.Context) (time.Time, error) {
	read := time.Now().Round(0)
	select {
	case <-time.After(4 * time.Second):
		return read, nil
	case <-ctx.Done():
		return time.Time{}, ctx.Err()
	}
}

func TestASetClockIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := &source{}
		c := run(t, s, &log)
		s.set(time.Hour, nil)
		<-time.After(time.Minute)
		_ = c.Now()
		if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "1h0m0s") {
			t.Errorf("the log tells it %d times:\n%s", n, &log)
		}
	})
}
