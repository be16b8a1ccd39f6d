package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Load implements store.Dispatch.
func (s *Store) Load(ctx context.Context, records []core.RecordID) ([]core.Message, error) {
	messages, err := s.load(ctx, records)
	for n := 1; s.worthRepeating(err) && n < attempts; n++ {
		messages, err = s.load(ctx, records)
	}
	return messages, explain("load messages", err)
}

// load reads the content by a statement of its own: both tables are read along their index.
func (s *Store) load(ctx context.Context, records []core.RecordID) ([]core.Message, error) {
	ids := int64s(records)
	stretches, tables := runsOf(ids), s.days.of(ids)
	found, whole := make(map[core.RecordID]*core.Message, len(records)), make(map[core.RecordID]*core.Message, len(records))
	batch := &pgx.Batch{}
	batch.Queue(tables.sql("SELECT "+recordColumns+" FROM unnest($1::bigint[], $2::bigint[]) AS x(first, last) JOIN message_records r ON r.id BETWEEN x.first AND x.last"),
		stretches.first, stretches.last)
	batch.Queue(tables.sql("SELECT c.id"+metadataColumn+contentColumns+" FROM unnest($1::bigint[], $2::bigint[]) AS x(first, last) JOIN message_contents c ON c.id BETWEEN x.first AND x.last"),
		stretches.first, stretches.last)
	results := s.pool.SendBatch(ctx, batch)
	err := eachResult(results, func(r *row) error {
		m := &core.Message{}
		readRecord(r, m)
		found[m.ID] = m
		return nil
	})
	if err == nil {
		err = eachResult(results, func(r *row) error {
			if m, ok := found[core.RecordID(r.int())]; ok {
				readMetadata(r, m)
				readContent(r, &m.Content)
				whole[m.ID] = m
			}
			return nil
		})
	}
	if err := errors.Join(err, results.Close()); err != nil {
		return nil, err
	}
	messages := make([]core.Message, 0, len(whole))
	for _, id := range records {
		if m, ok := whole[id]; ok { // a day that is being dropped has no content: such a message is gone
			messages = append(messages, *m)
		}
	}
	return messages, nil
}

// claimCall is one call of Claim on its way into a statement.
type claimCall struct {
	claims     []store.Claim
	now, lease time.Time
	won        []bool
}

func (c claimCall) rows() int { return len(c.claims) }

// Claim implements store.Dispatch.
func (s *Store) Claim(ctx context.Context, claims []store.Claim, now, lease time.Time) ([]bool, error) {
	c := claimCall{claims: claims, now: now, lease: lease, won: make([]bool, len(claims))}
	if err := s.claims.do(ctx, c); err != nil {
		return nil, unknown("claim messages", err)
	}
	return c.won, nil
}

// claimable is the condition under which a claim of messages r that are in a stretch c is won.
const claimable = `r.id BETWEEN c.first AND c.last AND r.status = 'queued' AND r.attempt = c.attempt - 1
	AND (r.next_attempt_at IS NULL OR r.next_attempt_at <= c.now) AND (r.expire_at IS NULL OR r.expire_at > c.now)`

// claimMessages makes attempts durable, each with its lease and the timer of the lease.
const claimMessages = `WITH c AS (
		SELECT first, last, attempt, connector, now, lease FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::text[], $5::timestamptz[], $6::timestamptz[])
			AS c(first, last, attempt, connector, now, lease)),
	won AS (
		UPDATE message_records r SET status = 'sending', attempt = c.attempt, started_at = c.now, updated_at = c.now,
			lease_until = c.lease, wake_at = c.lease, connector = c.connector, next_attempt_at = NULL, outcome = NULL, finished_at = NULL,
			provider_id = NULL, provider_ids = NULL, cost = NULL,
			error_code = NULL, error_provider_code = NULL, error_message = NULL, error_fault = NULL
		FROM c WHERE ` + claimable + ` RETURNING r.id, r.wake_at),
	timers AS (
		INSERT INTO message_timers (wake_at, record_ids) SELECT wake_at, array_agg(id) FROM won GROUP BY wake_at)
	SELECT id FROM won`

// claimArrays are the parameters of claimMessages: stretches of messages that are claimed alike.
type claimArrays struct {
	runs
	attempts   []int32
	connectors []string
	nows       []time.Time
	leases     []time.Time

	won map[int64]*bool // by message
}

// add puts a call's claims into stretches. A message that is claimed a second time cannot be won twice and is left out.
func (a *claimArrays) add(c *claimCall) {
	order := make([]int, len(c.claims))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(x, y int) int { return cmp.Compare(c.claims[x].Record, c.claims[y].Record) })
	now, lease := *at(c.now), *at(c.lease)
	var previous *store.Claim
	for _, i := range order {
		x := &c.claims[i]
		id := int64(x.Record)
		if _, twice := a.won[id]; twice {
			continue
		}
		a.won[id] = &c.won[i]
		alike := previous != nil && previous.Attempt == x.Attempt && previous.Connector == x.Connector
		previous = x
		if alike && !a.runs.add(id) {
			continue
		} else if !alike {
			a.first, a.last = append(a.first, id), append(a.last, id)
		}
		a.attempts, a.connectors = append(a.attempts, int32(x.Attempt)), append(a.connectors, string(x.Connector))
		a.nows, a.leases = append(a.nows, now), append(a.leases, lease)
	}
}

// repeats says whether any message is claimed for a further attempt.
func (a *claimArrays) repeats() bool {
	return slices.ContainsFunc(a.attempts, func(n int32) bool { return n > 1 })
}

// claimAll runs calls of Claim in one statement.
func (s *Store) claimAll(ctx context.Context, calls []claimCall) error {
	a := claimArrays{won: map[int64]*bool{}}
	for i := range calls {
		a.add(&calls[i])
	}
	if a.repeats() {
		return s.tx(ctx, "claim messages", func(tx pgx.Tx) error {
			// The attempt before goes into the history. Where the claim is then lost, another one has put it there.
			if err := s.archiveClaimable(ctx, tx, &a); err != nil {
				return err
			}
			return a.claim(ctx, tx, s.days)
		})
	}
	err := a.claim(ctx, s.pool, s.days)
	for n := 1; s.worthRepeating(err) && n < attempts; n++ {
		err = a.claim(ctx, s.pool, s.days)
	}
	return err
}

func (a *claimArrays) claim(ctx context.Context, q querier, days *days) error {
	for _, won := range a.won {
		*won = false
	}
	return each(ctx, q, func(r *row) error {
		*a.won[r.int()] = true
		return nil
	}, days.of(a.first, a.last).sql(claimMessages), a.first, a.last, a.attempts, a.connectors, a.nows, a.leases)
}

// archiveClaimable locks the messages whose claim will be won and moves their attempts before into the history.
func (s *Store) archiveClaimable(ctx context.Context, tx pgx.Tx, a *claimArrays) error {
	var ids []int64
	err := each(ctx, tx, func(r *row) error {
		ids = append(ids, r.int())
		return nil
	}, s.days.of(a.first, a.last).sql(`SELECT r.id FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::timestamptz[]) AS c(first, last, attempt, now)
		JOIN message_records r ON `+claimable+` WHERE c.attempt > 1 ORDER BY r.id FOR UPDATE OF r`), a.first, a.last, a.attempts, a.nows)
	if err != nil || len(ids) == 0 {
		return err
	}
	return archive(ctx, tx, s.days.of(ids), ids)
}

// Postpone implements store.Dispatch.
func (s *Store) Postpone(ctx context.Context, postponements []store.Postponement, now time.Time) error {
	ids, untils := make([]int64, len(postponements)), make([]*time.Time, len(postponements))
	for i, p := range postponements {
		if ids[i], untils[i] = int64(p.Record), at(p.Until); untils[i] == nil {
			untils[i] = at(now) // due at once; a queued message must always have something that wakes it
		}
	}
	_, err := exec(ctx, s.pool, s.days.of(ids).sql(`WITH put_off AS (
			UPDATE message_records r SET next_attempt_at = p.until, wake_at = LEAST(p.until, r.expire_at), updated_at = $3
			FROM unnest($1::bigint[], $2::timestamptz[]) AS p(id, until) WHERE r.id = p.id AND r.status = 'queued' RETURNING r.id, r.wake_at)
		INSERT INTO message_timers (wake_at, record_ids) SELECT wake_at, array_agg(id) FROM put_off GROUP BY wake_at`), ids, untils, at(now))
	return unknown("postpone messages", err)
}

// Finish implements store.Dispatch.
func (s *Store) Finish(ctx context.Context, records []core.RecordID, status core.Status, cause *core.SendError, now time.Time) error {
	if status != core.StatusExpired && status != core.StatusFailed {
		return core.Errorf(core.KindInternal, "a queued message cannot end as %q", status)
	}
	return s.tx(ctx, "finish messages", func(tx pgx.Tx) error {
		return finish(ctx, tx, s.days, int64s(records), ending{from: core.StatusQueued, to: status, cause: cause, at: now})
	})
}

// ending is the end of messages that no attempt will be made for.
type ending struct {
	from, to core.Status
	cause    *core.SendError
	at       time.Time
}

// finish ends those of the messages that still have the status they are thought to have.
func finish(ctx context.Context, tx pgx.Tx, days *days, ids []int64, e ending) error {
	tables := days.of(ids)
	var waiting []int64
	err := each(ctx, tx, func(r *row) error {
		waiting = append(waiting, r.int())
		return nil
	}, tables.sql("SELECT id FROM message_records WHERE id = ANY($1) AND status = $2 ORDER BY id FOR UPDATE"), ids, string(e.from))
	if err != nil || len(waiting) == 0 {
		return err
	}
	// Where a caller has them sent once more, it is not forgotten that the last attempt may have arrived.
	if _, err := exec(ctx, tx, tables.sql("UPDATE message_records SET doubtful = true WHERE id = ANY($1) AND outcome = 'uncertain'"), waiting); err != nil {
		return err
	}
	if err := archive(ctx, tx, tables, waiting); err != nil { // the error becomes the message's own
		return err
	}
	cause := e.cause
	if cause == nil {
		cause = &core.SendError{}
	}
	_, err = exec(ctx, tx, tables.sql(`UPDATE message_records SET status = $2, error_code = $3, error_provider_code = $4, error_message = $5, error_fault = $6,
		next_attempt_at = NULL, wake_at = NULL, updated_at = $7 WHERE id = ANY($1)`), waiting, string(e.to),
		orNull(cause.Code), orNull(cause.ProviderCode), orNull(cause.Message), orNull(string(cause.Fault)), at(e.at))
	if err != nil {
		return err
	}
	_, err = exec(ctx, tx, tables.sql(listExceptions), waiting)
	return err
}
