package sandbox

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox/desk"
)

const (
	// maxCallbackAnswer bounds what is read of the answer to a callback.
	maxCallbackAnswer = 64 << 10
	// callbackTries bounds the callbacks that are under way at a time.
	callbackTries = 64
)

// errand is one callback that is due at a time.
type errand struct {
	due      time.Time
	callback desk.Callback
	until    time.Time // when the sandbox gives up; set at the first try
}

func (e *errand) dueAt() time.Time { return e.due }

// post brings the callbacks of the providers with an HTTP API.
type post struct {
	log    *slog.Logger
	client *http.Client
	quit   chan struct{}
	tries  chan struct{} // a slot for each callback under way
	wake   bell
	flying sync.WaitGroup

	mu      sync.Mutex
	pending agenda[*errand]
}

func newPost(log *slog.Logger) *post {
	return &post{
		log: log, quit: make(chan struct{}), tries: make(chan struct{}, callbackTries), wake: newBell(),
		client: &http.Client{
			Transport:     &http.Transport{MaxIdleConnsPerHost: callbackTries},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// stop ends run; it is called once.
func (p *post) stop() { close(p.quit) }

// send brings a callback at a time, and again until it is taken or ten minutes are over.
func (p *post) send(due time.Time, c desk.Callback) {
	if c.Request == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending.add(&errand{due: due, callback: c}) {
		p.wake.ring()
	}
}

// run brings what is due until stop, then waits for what is under way.
func (p *post) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer p.client.CloseIdleConnections()
	defer p.flying.Wait()
	defer cancel()
	for {
		e, wait := p.next(time.Now())
		if e == nil {
			if !p.wake.sleep(wait, p.quit) {
				return
			}
			continue
		}
		select {
		case p.tries <- struct{}{}:
		case <-p.quit:
			return
		}
		p.flying.Go(func() {
			defer func() { <-p.tries }()
			p.bring(ctx, e)
		})
	}
}

// next returns a callback that is due, or how long to sleep.
func (p *post) next(now time.Time) (*errand, time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending.len() == 0 {
		return nil, time.Hour
	}
	if wait := p.pending.first().due.Sub(now); wait > 0 {
		return nil, wait
	}
	return p.pending.take(), 0
}

// bring tries a callback once. One that is not taken comes again.
func (p *post) bring(running context.Context, e *errand) {
	err := p.try(running, e.callback)
	if err == nil || running.Err() != nil {
		return
	}
	now := time.Now()
	if e.until.IsZero() {
		e.until = now.Add(receiptPatience)
	}
	if now.After(e.until) {
		p.log.WarnContext(running, "callback given up: nobody took it", "error", err)
		return
	}
	e.due = now.Add(receiptPause)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pending.add(e) {
		p.wake.ring()
	}
}

// try brings a callback now and says whether it was taken.
func (p *post) try(ctx context.Context, c desk.Callback) error {
	ctx, cancel := context.WithTimeout(ctx, receiptTimeout)
	defer cancel()
	r, err := c.Request(ctx)
	if err != nil {
		return fmt.Errorf("make the callback: %w", err)
	}
	answer, err := p.client.Do(r)
	if err != nil {
		return fmt.Errorf("call back: %w", err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxCallbackAnswer))
	if err != nil {
		return fmt.Errorf("read the answer to a callback: %w", err)
	}
	taken := answer.StatusCode/100 == 2
	if c.Taken != nil {
		taken = c.Taken(answer.StatusCode, body)
	}
	if !taken {
		return fmt.Errorf("%s %s was answered with %s %.200q", r.Method, r.URL.Redacted(), answer.Status, body)
	}
	return nil
}
