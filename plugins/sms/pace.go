package main

import (
	"context"
	"sync"
	"time"
)

// pace slows a connector down when the SMSC says that it is too fast: everybody pauses, and the
// windows of the binds are halved. They grow back by one with each window full of successes.
type pace struct {
	backoff time.Duration
	most    int            // the window that the config allows
	resize  func(size int) // sets the windows of the binds

	mu     sync.Mutex
	until  time.Time // nobody sends before
	window float64
}

func newPace(backoff time.Duration, window int, resize func(int)) *pace {
	return &pace{backoff: backoff, most: window, resize: resize, window: float64(window)}
}

// wait returns when the pause, if there is one, is over, or with the error of ctx.
func (p *pace) wait(ctx context.Context) error {
	p.mu.Lock()
	pause := time.Until(p.until)
	p.mu.Unlock()
	if pause <= 0 {
		return nil
	}
	return sleep(ctx, pause)
}

// throttled begins a pause. Refusals of what was under way already count once.
func (p *pace) throttled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.until) {
		return
	}
	p.until = now.Add(p.backoff)
	p.set(p.window / 2)
}

func (p *pace) accepted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.window < float64(p.most) {
		p.set(p.window + 1/p.window)
	}
}

func (p *pace) set(window float64) {
	before := int(p.window)
	p.window = min(max(window, 1), float64(p.most))
	if int(p.window) != before {
		p.resize(int(p.window))
	}
}

// size is the window that a bind should have now.
func (p *pace) size() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return int(p.window)
}

// sleep waits for d or until ctx ends.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
