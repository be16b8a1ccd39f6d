package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/store"
)

// publisher puts envelopes into the queue and forgets them in the outbox once they are confirmed.
type publisher struct {
	index  queue.Publisher
	outbox store.Outbox
	logger *slog.Logger

	mu        sync.Mutex
	confirmed []int64
}

// publish returns how many envelopes were confirmed. What is not stays in the outbox for the sweep.
func (p *publisher) publish(ctx context.Context, envelopes []core.Envelope) int {
	if len(envelopes) == 0 {
		return 0
	}
	n := p.confirm(ctx, envelopes)
	p.mu.Lock()
	full := len(p.confirmed) >= flushAt
	p.mu.Unlock()
	if full {
		p.flushOrLog(ctx)
	}
	return n
}

func (p *publisher) confirm(ctx context.Context, envelopes []core.Envelope) int {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err := p.index.Publish(ctx, envelopes)
	switch {
	case errors.Is(err, queue.ErrFull) && len(envelopes) > 1:
		// One lane is full; the others are not to wait for it.
		n := 0
		for i := range envelopes {
			n += p.confirm(ctx, envelopes[i:i+1])
		}
		return n
	case errors.Is(err, queue.ErrFull):
		return 0
	case err != nil:
		p.logger.ErrorContext(ctx, "relay: cannot publish; the sweep tries again", "envelopes", len(envelopes), "error", err)
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range envelopes {
		p.confirmed = append(p.confirmed, e.ID)
	}
	return len(envelopes)
}

// flush clears confirmed envelopes from the outbox. If that fails they are published again one day,
// which is harmless.
func (p *publisher) flush(ctx context.Context) error {
	p.mu.Lock()
	ids := p.confirmed
	p.confirmed = nil
	p.mu.Unlock()
	if len(ids) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	if err := p.outbox.Published(ctx, ids); err != nil {
		return fmt.Errorf("clear %d envelopes from the outbox: %w", len(ids), err)
	}
	return nil
}

func (p *publisher) flushOrLog(ctx context.Context) {
	if err := p.flush(ctx); err != nil && ctx.Err() == nil {
		p.logger.ErrorContext(ctx, "relay: cannot clear the outbox", "error", err)
	}
}
