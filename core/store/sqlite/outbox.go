package sqlite

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// packer sorts messages into envelopes of one channel and lane, in the order given.
type packer struct {
	envelopes []core.Envelope
	created   []time.Time // of the newest message in each
	open      map[place]int
}

type place struct {
	channel string
	lane    core.Lane
}

func (p *packer) add(channel string, lane core.Lane, id core.RecordID, created time.Time) {
	at := place{channel, lane}
	i, ok := p.open[at]
	if !ok || len(p.envelopes[i].Records) == core.MaxEnvelope {
		i = len(p.envelopes)
		p.envelopes = append(p.envelopes, core.Envelope{Channel: channel, Lane: lane})
		p.created = append(p.created, created)
		if p.open == nil {
			p.open = map[place]int{}
		}
		p.open[at] = i
	}
	p.envelopes[i].Records = append(p.envelopes[i].Records, id)
	if created.After(p.created[i]) {
		p.created[i] = created
	}
}

// store writes the envelopes and returns them with their ids.
func (p *packer) store(c conn, ids *sequence) ([]core.Envelope, error) {
	if len(p.envelopes) == 0 {
		return nil, nil
	}
	first, err := ids.reserve(len(p.envelopes))
	if err != nil {
		return nil, err
	}
	insert := c.prepare("INSERT INTO outbox (id, channel, lane, record_ids, created_at) VALUES (?, ?, ?, ?, ?)")
	for i := range p.envelopes {
		e := &p.envelopes[i]
		e.ID = first + int64(i)
		_, err := insert.int(e.ID).text(e.Channel).int(int64(e.Lane)).text(idsJSON(e.Records)).time(p.created[i]).run()
		if err != nil {
			return nil, err
		}
	}
	return p.envelopes, nil
}

// idsJSON is a JSON array of ids.
func idsJSON(ids []core.RecordID) string {
	b := make([]byte, 0, 2+17*len(ids))
	b = append(b, '[')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(id), 10)
	}
	return string(append(b, ']'))
}

// parseIDs appends the ids of a JSON array to a list. It does not allocate for each: a queue that lost
// its content has a million of them read.
func parseIDs(ids []core.RecordID, text string) ([]core.RecordID, error) {
	text, opened := strings.CutPrefix(text, "[")
	text, closed := strings.CutSuffix(text, "]")
	if !opened || !closed {
		return ids, fmt.Errorf("read the ids of an envelope: %q is not an array", text)
	}
	for part := range strings.SplitSeq(text, ",") {
		id, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return ids, fmt.Errorf("read the ids of an envelope: %w", err)
		}
		ids = append(ids, core.RecordID(id))
	}
	return ids, nil
}

// Generation implements store.Outbox.
func (s *Store) Generation(ctx context.Context, name string) (int64, error) {
	var number int64
	err := s.write(ctx, "number a generation of the queue", 1, func(c conn) error {
		_, err := c.prepare("INSERT INTO queue_generations (name) VALUES (?) ON CONFLICT (name) DO NOTHING").text(name).run()
		if err != nil {
			return err
		}
		_, err = c.prepare("SELECT number FROM queue_generations WHERE name = ?").text(name).first(func(r *row) { number = r.int() })
		return err
	})
	return number, err
}

// Unpublished implements store.Outbox. The envelopes below the generation and those above it are each a range of
// the index.
func (s *Store) Unpublished(ctx context.Context, generation int64, before time.Time, after int64, limit int) ([]core.Envelope, error) {
	var envelopes []core.Envelope
	err := s.read(ctx, "read the outbox", func(c conn) error {
		return c.prepare(`SELECT id, channel, lane, record_ids FROM (
				SELECT id, channel, lane, record_ids, created_at FROM outbox WHERE generation < ?1 AND id > ?2 UNION ALL SELECT id, channel, lane, record_ids, created_at FROM outbox WHERE generation > ?1 AND id > ?2)
			WHERE created_at < ?3 ORDER BY id LIMIT ?4`).
			int(generation).int(after).time(before).int(int64(limit)).each(func(r *row) error {
			e := core.Envelope{ID: r.int(), Channel: r.text(), Lane: core.Lane(r.int())}
			var err error
			e.Records, err = parseIDs(e.Records, r.text())
			envelopes = append(envelopes, e)
			return err
		})
	})
	return envelopes, err
}

// Published implements store.Outbox.
func (s *Store) Published(ctx context.Context, envelopes []int64, generation int64, now time.Time) error {
	return s.eachEnvelope(ctx, "note what was published", envelopes, func(c conn, id int64) (int, error) {
		return c.prepare("UPDATE outbox SET generation = ?, published_at = ? WHERE id = ?").int(generation).time(now).int(id).run()
	})
}

// Settled implements store.Outbox.
func (s *Store) Settled(ctx context.Context, envelopes []int64) error {
	return s.eachEnvelope(ctx, "clear the outbox", envelopes, func(c conn, id int64) (int, error) {
		return c.prepare("DELETE FROM outbox WHERE id = ?").int(id).run()
	})
}

// eachEnvelope runs a statement for each envelope in one transaction.
func (s *Store) eachEnvelope(ctx context.Context, what string, ids []int64, run func(conn, int64) (int, error)) error {
	if len(ids) == 0 {
		return nil
	}
	return s.write(ctx, what, len(ids), func(c conn) error {
		for _, id := range ids {
			if _, err := run(c, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// Doubt implements store.Outbox.
func (s *Store) Doubt(ctx context.Context, channel string, lane core.Lane, before time.Time) (int, error) {
	doubted := 0
	err := s.write(ctx, "doubt what was published", 1, func(c conn) (err error) {
		doubted, err = c.prepare("UPDATE outbox SET generation = 0, published_at = NULL WHERE channel = ? AND lane = ? AND published_at < ?").
			text(channel).int(int64(lane)).time(before).run()
		return err
	})
	return doubted, err
}
