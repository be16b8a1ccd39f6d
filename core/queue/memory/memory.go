// Package memory keeps the dispatch index in the memory of one process. Its content ends with the
// process, which a new Generation tells; the relay then publishes again from the store.
//
// A waiting envelope of one message costs 16 bytes, so that a million of them fit 16 MB. The package
// starts no goroutine: whoever publishes hands the envelope to whoever waits.
package memory

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// DefaultLaneMessages is how many messages may wait in one lane of one channel by default.
const DefaultLaneMessages = 1_000_000

// Options of a queue.
type Options struct {
	// LaneMessages bounds the messages that wait in one lane of one channel; 0 is DefaultLaneMessages.
	// What subscribers gave back is not refused and may go beyond it.
	LaneMessages int
}

// Queue is a queue.Queue. Several goroutines may use it. One mutex guards it all: it is held for well
// under a microsecond an envelope, and never while anybody waits.
type Queue struct {
	bound      int
	generation string

	mu       sync.Mutex
	closed   bool
	channels map[string]*channel
}

var _ queue.Queue = (*Queue)(nil)

// New makes an empty queue.
func New(o Options) *Queue {
	return &Queue{
		bound:      cmp.Or(max(o.LaneMessages, 0), DefaultLaneMessages),
		generation: rand.Text(),
		channels:   map[string]*channel{},
	}
}

// Publish puts all envelopes into their lanes or none: with queue.ErrFull, queue.ErrClosed or an error
// about an envelope that cannot be, none was taken. It never waits.
func (q *Queue) Publish(ctx context.Context, envelopes []core.Envelope) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("publish envelopes: %w", err)
	}
	for i := range envelopes {
		if err := queue.Check(&envelopes[i]); err != nil {
			return fmt.Errorf("publish envelope %d: %w", envelopes[i].ID, err)
		}
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return queue.ErrClosed
	}
	if !q.room(envelopes) {
		return queue.ErrFull
	}
	for i := range envelopes {
		q.channel(envelopes[i].Channel).publish(&envelopes[i])
	}
	return nil
}

// room says whether every lane can take its share of the envelopes.
func (q *Queue) room(envelopes []core.Envelope) bool {
	fits := true
	for i := range envelopes {
		l := q.lane(&envelopes[i])
		l.asked += len(envelopes[i].Records)
		fits = fits && l.messages+l.asked <= q.bound
	}
	for i := range envelopes {
		q.lane(&envelopes[i]).asked = 0
	}
	return fits
}

func (q *Queue) lane(e *core.Envelope) *lane { return &q.channel(e.Channel).lanes[e.Lane] }

// channel finds a channel, or begins it.
func (q *Queue) channel(name string) *channel {
	c := q.channels[name]
	if c == nil {
		c = &channel{name: name}
		q.channels[name] = c
	}
	return c
}

// Subscribe begins to take envelopes of a channel, which need not be known yet.
func (q *Queue) Subscribe(ctx context.Context, channel string) (queue.Subscription, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("subscribe to channel %q: %w", channel, err)
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	s := &subscription{queue: q, channel: q.channel(channel), held: map[*delivery]struct{}{}}
	s.channel.subscriptions = append(s.channel.subscriptions, s)
	return s, nil
}

// Stats counts every lane of every channel that was published or subscribed to, in the order of their
// names.
func (q *Queue) Stats(context.Context) ([]queue.LaneStats, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, queue.ErrClosed
	}
	var stats []queue.LaneStats
	for _, c := range q.channels {
		for _, l := range core.Lanes() {
			stats = append(stats, c.stats(l))
		}
	}
	slices.SortFunc(stats, func(a, b queue.LaneStats) int {
		return cmp.Or(cmp.Compare(a.Channel, b.Channel), cmp.Compare(a.Lane, b.Lane))
	})
	return stats, nil
}

// Generation is another random text for each New.
func (q *Queue) Generation(context.Context) (string, error) { return q.generation, nil }

// Close ends all subscriptions and forgets the content. What is still held can no longer be given back.
func (q *Queue) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil
	}
	q.closed = true
	for _, c := range q.channels {
		for _, s := range slices.Clone(c.subscriptions) {
			s.end()
		}
	}
	q.channels = nil
	return nil
}
