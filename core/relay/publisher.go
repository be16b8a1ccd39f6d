package relay

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/store"
)

// publisher puts envelopes into the queue and notes in the outbox which ones the queue has.
type publisher struct {
	index  queue.Publisher
	ledger *ledger
	logger *slog.Logger
	// generation is the number of the queue's generation; 0 until it is known.
	generation atomic.Int64
	// away is set while the queue takes nothing, which is told once.
	away atomic.Bool
	// shut holds the channels that the queue does not take, which is told once for each.
	shut sync.Map
}

// publish returns how many envelopes were confirmed, and whether the queue takes any at all. What is not confirmed stays
// unpublished for the sweep.
func (p *publisher) publish(ctx context.Context, envelopes []core.Envelope) (int, bool) {
	// Before the queue is asked: one that loses its content meanwhile has another generation.
	generation := p.generation.Load()
	if generation == 0 {
		return 0, true
	}
	n, takes := p.confirm(ctx, envelopes, generation)
	p.ledger.flushIfFull(ctx)
	return n, takes
}

func (p *publisher) confirm(ctx context.Context, envelopes []core.Envelope, generation int64) (int, bool) {
	if len(envelopes) == 0 {
		return 0, true
	}
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	err := p.index.Publish(ctx, envelopes)
	bad, isBad := errors.AsType[*queue.ChannelError](err)
	switch {
	case isBad:
		// Its envelopes wait in the store; those of others are not to wait for it.
		p.tellShut(ctx, bad)
		return p.confirm(ctx, without(envelopes, bad.Channel), generation)
	case errors.Is(err, queue.ErrFull) && len(envelopes) > 1:
		// One lane is full; the others are not to wait for it.
		n := 0
		for i := range envelopes {
			more, takes := p.confirm(ctx, envelopes[i:i+1], generation)
			if n += more; !takes {
				return n, false
			}
		}
		return n, true
	case errors.Is(err, queue.ErrFull):
		return 0, true
	case err != nil:
		p.tell(ctx, err)
		return 0, false
	}
	p.tell(ctx, nil)
	p.tellOpen(ctx, envelopes)
	p.ledger.published(envelopes, generation)
	return len(envelopes), true
}

// tell logs when the queue begins to refuse what it is given, and when it takes it again.
func (p *publisher) tell(ctx context.Context, err error) {
	switch {
	case err != nil && !p.away.Swap(true):
		p.logger.ErrorContext(ctx, "relay: the queue takes nothing; envelopes wait in the store until it does", "error", err)
	case err == nil && p.away.Swap(false):
		p.logger.InfoContext(ctx, "relay: the queue takes envelopes again")
	}
}

// tellShut logs when the queue begins to refuse a channel.
func (p *publisher) tellShut(ctx context.Context, bad *queue.ChannelError) {
	if _, told := p.shut.LoadOrStore(bad.Channel, true); !told {
		p.logger.ErrorContext(ctx, "relay: the queue does not take a channel; its envelopes wait in the store until it does",
			"channel", bad.Channel, "error", bad.Err)
	}
}

// tellOpen logs when the queue has taken a channel again.
func (p *publisher) tellOpen(ctx context.Context, taken []core.Envelope) {
	for i := range taken {
		if _, was := p.shut.LoadAndDelete(taken[i].Channel); was {
			p.logger.InfoContext(ctx, "relay: the queue takes a channel again", "channel", taken[i].Channel)
		}
	}
}

// without returns the envelopes of other channels.
func without(envelopes []core.Envelope, channel string) []core.Envelope {
	return slices.DeleteFunc(slices.Clone(envelopes), func(e core.Envelope) bool { return e.Channel == channel })
}

// ledger gathers what the outbox is to be told, so that one write tells of many envelopes. What is lost with
// the process costs a double publication at most, which the claim absorbs.
type ledger struct {
	outbox store.Outbox
	now    func() time.Time
	logger *slog.Logger

	mu        sync.Mutex
	confirmed map[int64]int64 // generation by envelope
	settled   []int64
}

// published notes that a generation of the queue has envelopes.
func (l *ledger) published(envelopes []core.Envelope, generation int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.confirmed == nil {
		l.confirmed = make(map[int64]int64, len(envelopes))
	}
	for i := range envelopes {
		l.confirmed[envelopes[i].ID] = generation
	}
}

// settle notes that nothing is left to do with an envelope. One that was published a moment ago need not be
// noted as such any more.
func (l *ledger) settle(envelope int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.confirmed, envelope)
	l.settled = append(l.settled, envelope)
}

// take returns what the outbox has not been told, confirmed envelopes by their generation.
func (l *ledger) take() (confirmed map[int64][]int64, settled []int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	confirmed = map[int64][]int64{}
	for id, generation := range l.confirmed {
		confirmed[generation] = append(confirmed[generation], id)
	}
	settled = l.settled
	l.confirmed, l.settled = nil, nil
	return confirmed, settled
}

// flush tells the outbox. If that fails the envelopes are published again one day, which is harmless.
func (l *ledger) flush(ctx context.Context) error {
	confirmed, settled := l.take()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	err := l.outbox.Settled(ctx, settled)
	for generation, ids := range confirmed {
		err = errors.Join(err, l.outbox.Published(ctx, ids, generation, l.now()))
	}
	return err
}

// flushIfFull flushes when so much has gathered that it should not wait.
func (l *ledger) flushIfFull(ctx context.Context) {
	l.mu.Lock()
	full := len(l.confirmed)+len(l.settled) >= flushAt
	l.mu.Unlock()
	if full {
		l.flushOrLog(ctx)
	}
}

func (l *ledger) flushOrLog(ctx context.Context) {
	if err := l.flush(ctx); err != nil && ctx.Err() == nil {
		l.logger.ErrorContext(ctx, "relay: cannot bring the outbox up to date", "error", err)
	}
}
