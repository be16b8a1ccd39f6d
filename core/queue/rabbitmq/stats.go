package rabbitmq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
)

// statsAge is how long an answer of the broker's is given to those who ask again.
const statsAge = 250 * time.Millisecond

// counted is the last answer of the broker's. The queue's mutex guards it.
type counted struct {
	at       time.Time
	channels int
	ready    map[string][4]int
}

// Stats counts every lane of every channel that was published or subscribed to here or is in Options.Channels, in the
// order of their names. A channel whose lanes the broker refuses is left out. The broker tells how many envelopes wait. It does not tell how many messages they hold: Messages
// is the number of envelopes, the least that it can be. Unacked is what this gateway holds and has fetched
// ahead; the broker does not tell what others do.
func (q *Queue) Stats(ctx context.Context) ([]queue.LaneStats, error) {
	if q.isClosed() {
		return nil, queue.ErrClosed
	}
	ready, err := q.ready(ctx)
	if err != nil {
		return nil, err
	}
	unacked := q.unacked()
	stats := make([]queue.LaneStats, 0, 4*len(ready))
	for _, channel := range slices.Sorted(maps.Keys(ready)) {
		for _, l := range core.Lanes() {
			n := ready[channel][l]
			stats = append(stats, queue.LaneStats{
				Channel: channel, Lane: l, Envelopes: n, Messages: n, Unacked: unacked[channel][l],
			})
		}
	}
	return stats, nil
}

// ready asks the broker how many envelopes wait, by channel and lane.
func (q *Queue) ready(ctx context.Context) (map[string][4]int, error) {
	q.mu.Lock()
	for _, channel := range q.named() {
		q.channels[channel] = true
	}
	last, channels := q.counted, slices.Collect(maps.Keys(q.channels))
	q.mu.Unlock()
	if time.Since(last.at) < statsAge && last.channels == len(channels) {
		return last.ready, nil
	}
	s, err := q.outgoing.current()
	if err != nil {
		return nil, fmt.Errorf("count envelopes: %w", err)
	}
	fresh := counted{channels: len(channels), ready: map[string][4]int{}}
	err = s.do(ctx, "count envelopes", func(ch *amqp.Channel) error { return s.count(ch, channels, fresh.ready) })
	if err != nil {
		return nil, err
	}
	fresh.at = time.Now()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.counted = fresh
	return fresh.ready, nil
}

// count declares what somebody has deleted meanwhile, rather than to fail at it. What cannot be declared is not counted.
func (s *session) count(ch *amqp.Channel, channels []string, ready map[string][4]int) error {
	for _, channel := range channels {
		err := s.ensure(channel)
		if _, unusable := errors.AsType[*queue.ChannelError](err); unusable {
			continue
		}
		if err != nil {
			return err
		}
		var lanes [4]int
		for _, l := range core.Lanes() {
			lane, err := ch.QueueDeclarePassive(s.topology.lane(channel, l), true, false, false, false, nil)
			if err != nil {
				s.forget()
				return err
			}
			lanes[l] = lane.Messages
		}
		ready[channel] = lanes
	}
	return nil
}

// unacked counts what the subscriptions have, by channel and lane.
func (q *Queue) unacked() map[string][4]int {
	q.mu.Lock()
	subscriptions := slices.Collect(maps.Keys(q.subscriptions))
	q.mu.Unlock()
	unacked := map[string][4]int{}
	for _, s := range subscriptions {
		lanes := unacked[s.channel]
		for l, n := range s.unacked() {
			lanes[l] += n
		}
		unacked[s.channel] = lanes
	}
	return unacked
}
