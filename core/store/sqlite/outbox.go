package sqlite

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
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

// Unpublished implements store.Outbox.
func (s *Store) Unpublished(ctx context.Context, before time.Time, limit int) ([]core.Envelope, error) {
	var envelopes []core.Envelope
	err := s.read(ctx, "read the outbox", func(c conn) error {
		return c.prepare("SELECT id, channel, lane, record_ids FROM outbox WHERE created_at < ? ORDER BY id LIMIT ?").
			time(before).int(int64(limit)).each(func(r *row) error {
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
func (s *Store) Published(ctx context.Context, envelopes []int64) error {
	if len(envelopes) == 0 {
		return nil
	}
	return s.write(ctx, "clear the outbox", len(envelopes), func(c conn) error {
		remove := c.prepare("DELETE FROM outbox WHERE id = ?")
		for _, id := range envelopes {
			if _, err := remove.int(id).run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// requeue is a walk over what is queued, on which messages whose envelope is still in the outbox are
// left out: they will be published anyway, and each walk would write the whole backlog once more.
type requeue struct {
	mu    sync.Mutex
	known []core.RecordID // in the outbox when the walk began, sorted; nil between walks
}

// Requeue implements store.Outbox.
func (s *Store) Requeue(ctx context.Context, after core.RecordID, limit int) ([]core.Envelope, core.RecordID, error) {
	s.requeue.mu.Lock()
	defer s.requeue.mu.Unlock()
	if after == 0 || s.requeue.known == nil {
		known, err := s.inOutbox(ctx)
		if err != nil {
			return nil, after, err
		}
		s.requeue.known = known
	}
	var envelopes []core.Envelope
	var last core.RecordID
	err := s.write(ctx, "requeue messages", limit, func(c conn) error {
		var pack packer
		last = after
		err := c.prepare(`SELECT id, channel, lane, created_at FROM message_records INDEXED BY message_records_open
			WHERE id > ? AND status IN ('queued', 'sending') AND status = 'queued' AND next_attempt_at IS NULL
			ORDER BY id LIMIT ?`).int(int64(after)).int(int64(limit)).each(func(r *row) error {
			last = core.RecordID(r.int())
			if _, found := slices.BinarySearch(s.requeue.known, last); !found {
				pack.add(r.text(), core.Lane(r.int()), last, r.time())
			}
			return nil
		})
		if err != nil {
			return err
		}
		envelopes, err = pack.store(c, s.ids)
		return err
	})
	if err != nil {
		return nil, after, err
	}
	if last == after {
		s.requeue.known = nil
	}
	return envelopes, last, nil
}

// inOutbox returns the messages in the outbox, sorted.
func (s *Store) inOutbox(ctx context.Context) ([]core.RecordID, error) {
	known := []core.RecordID{}
	err := s.read(ctx, "read the outbox", func(c conn) error {
		return c.prepare("SELECT record_ids FROM outbox").each(func(r *row) (err error) {
			known, err = parseIDs(known, r.text())
			return err
		})
	})
	slices.Sort(known)
	return known, err
}
