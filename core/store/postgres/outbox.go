package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

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

// queue adds the statement that writes the envelopes to a batch. They have their ids once its results have been read.
func (p *packer) queue(batch *pgx.Batch) {
	if len(p.envelopes) == 0 {
		return
	}
	n := len(p.envelopes)
	channels, lanes, records, created := make([]string, n), make([]int, n), make([]string, n), make([]*time.Time, n)
	for i := range p.envelopes {
		e := &p.envelopes[i]
		channels[i], lanes[i], records[i], created[i] = e.Channel, int(e.Lane), arrayText(int64s(e.Records)), at(p.created[i])
	}
	batch.Queue(`INSERT INTO outbox (channel, lane, record_ids, created_at)
		SELECT c, l, r::bigint[], t FROM unnest($1::text[], $2::smallint[], $3::text[], $4::timestamptz[]) WITH ORDINALITY AS e(c, l, r, t, n)
		ORDER BY n RETURNING id`, channels, lanes, records, created).Query(p.number)
}

// number gives the envelopes their ids.
func (p *packer) number(rows pgx.Rows) error {
	i := 0
	return eachRow(rows, func(r *row) error {
		p.envelopes[i].ID = r.int()
		i++
		return nil
	})
}

// store writes the envelopes and returns them with their ids.
func (p *packer) store(ctx context.Context, tx pgx.Tx) ([]core.Envelope, error) {
	batch := &pgx.Batch{}
	p.queue(batch)
	return p.envelopes, tx.SendBatch(ctx, batch).Close()
}

// Generation implements store.Outbox.
func (s *Store) Generation(ctx context.Context, name string) (int64, error) {
	var number int64
	read := func(r *row) { number = r.int() }
	const find = "SELECT number FROM queue_generations WHERE name = $1"
	found, err := first(ctx, s.pool, read, find, name)
	if err == nil && !found {
		_, err = exec(ctx, s.pool, "INSERT INTO queue_generations (name) VALUES ($1) ON CONFLICT (name) DO NOTHING", name)
		if err == nil {
			_, err = first(ctx, s.pool, read, find, name)
		}
	}
	return number, explain("number a generation of the queue", err)
}

// Unpublished implements store.Outbox. The envelopes below the generation and those above it are each a range of the
// index on generations, in whose order they are read, so that no other index serves. Of several lost generations the
// lowest comes first.
func (s *Store) Unpublished(ctx context.Context, generation int64, before time.Time, after int64, limit int) ([]core.Envelope, error) {
	var envelopes []core.Envelope
	err := each(ctx, s.pool, func(r *row) error {
		e := core.Envelope{ID: r.int(), Channel: r.text(), Lane: core.Lane(r.int())}
		for _, id := range r.ids(nil) {
			e.Records = append(e.Records, core.RecordID(id))
		}
		envelopes = append(envelopes, e)
		return nil
	}, `SELECT id, channel, lane, record_ids FROM (
			(SELECT id, channel, lane, record_ids FROM outbox WHERE generation < $1 AND id > $2 AND created_at < $3 ORDER BY generation, id LIMIT $4)
			UNION ALL
			(SELECT id, channel, lane, record_ids FROM outbox WHERE generation > $1 AND id > $2 AND created_at < $3 ORDER BY generation, id LIMIT $4)) AS o
		ORDER BY id LIMIT $4`, generation, after, at(before), limit)
	return envelopes, explain("read the outbox", err)
}

// Published implements store.Outbox.
func (s *Store) Published(ctx context.Context, envelopes []int64, generation int64, now time.Time) error {
	if len(envelopes) == 0 {
		return nil
	}
	_, err := exec(ctx, s.pool, "UPDATE outbox SET generation = $1, published_at = $2 WHERE id = ANY($3)", generation, at(now), envelopes)
	return explain("note what was published", err)
}

// Settled implements store.Outbox.
func (s *Store) Settled(ctx context.Context, envelopes []int64) error {
	if len(envelopes) == 0 {
		return nil
	}
	_, err := exec(ctx, s.pool, "DELETE FROM outbox WHERE id = ANY($1)", envelopes)
	return explain("clear the outbox", err)
}

// Doubt implements store.Outbox.
func (s *Store) Doubt(ctx context.Context, channel string, lane core.Lane, before time.Time) (int, error) {
	n, err := exec(ctx, s.pool, "UPDATE outbox SET generation = 0, published_at = NULL WHERE channel = $1 AND lane = $2 AND published_at < $3",
		channel, int(lane), at(before))
	return n, explain("doubt what was published", err)
}
