package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Wake implements store.Sweep.
func (s *Store) Wake(ctx context.Context, now, lease time.Time, limit int) (store.Woken, error) {
	var woken store.Woken
	err := s.tx(ctx, "wake messages", func(tx pgx.Tx) error {
		w := waker{tx: tx, days: s.days, now: now.Truncate(time.Millisecond), lease: lease.Truncate(time.Millisecond).UTC()}
		ids, err := w.takeTimers(ctx, limit)
		if err != nil || len(ids) == 0 {
			woken = store.Woken{}
			return err
		}
		if err := w.sort(ctx, ids); err != nil {
			return err
		}
		if err := w.write(ctx); err != nil {
			return err
		}
		woken = w.woken
		woken.Envelopes, err = w.pack.store(ctx, tx)
		return err
	})
	if err != nil {
		return store.Woken{}, err
	}
	return woken, nil
}

// waker handles due messages within one transaction.
type waker struct {
	tx         pgx.Tx
	days       *days
	now, lease time.Time

	pack    packer
	queued  []int64 // to be queued
	expired map[core.Status][]int64
	leased  []int64               // to be leased anew
	wakes   map[time.Time][]int64 // when those that are queued expire
	woken   store.Woken
}

// takeTimers removes due timers that hold about limit messages, the longest overdue first, and returns these. Timers
// that another gateway takes are passed over.
func (w *waker) takeTimers(ctx context.Context, limit int) ([]int64, error) {
	var ids, timers []int64
	var times []time.Time
	err := each(ctx, w.tx, func(r *row) error {
		timer, wake := r.int(), r.time()
		if len(ids) < limit {
			timers, times, ids = append(timers, timer), append(times, wake), r.ids(ids)
		}
		return nil
	}, "SELECT id, wake_at, record_ids FROM message_timers WHERE wake_at <= $1 ORDER BY wake_at, id LIMIT $2 FOR UPDATE SKIP LOCKED", w.now, limit)
	if err != nil || len(timers) == 0 {
		return nil, err
	}
	// By the whole key: each is one look into the index, however many others are due.
	_, err = exec(ctx, w.tx, `DELETE FROM message_timers t USING unnest($1::timestamptz[], $2::bigint[]) AS x(wake_at, id)
		WHERE t.wake_at = x.wake_at AND t.id = x.id`, times, timers)
	return ids, err
}

// sort decides what becomes of those of the messages that are due. The others were done earlier, or have a later timer.
func (w *waker) sort(ctx context.Context, ids []int64) error {
	stretches := runsOf(ids) // in which a message with several timers is once
	w.expired, w.wakes = map[core.Status][]int64{}, map[time.Time][]int64{}
	return each(ctx, w.tx, func(r *row) error {
		var l store.Lapsed
		readRecord(r, &l.Message)
		l.StartedAt = r.time()
		if l.Message.ProviderID != "" {
			l.ProviderIDs = []string{l.Message.ProviderID}
		}
		r.json(&l.ProviderIDs)
		w.add(&l)
		return nil
	}, w.days.of(ids).sql("SELECT "+recordColumns+`, r.started_at, r.provider_ids
		FROM unnest($1::bigint[], $2::bigint[]) AS x(first, last) JOIN message_records r ON r.id BETWEEN x.first AND x.last
		WHERE r.wake_at <= $3 ORDER BY r.wake_at, r.id FOR UPDATE OF r`), stretches.first, stretches.last, w.now)
}

func (w *waker) add(l *store.Lapsed) {
	m := &l.Message
	switch {
	case m.Status == core.StatusSending || m.Status == core.StatusUncertain:
		w.leased = append(w.leased, int64(m.ID))
		if m.Status == core.StatusSending {
			m.LeaseUntil = w.lease
		}
		w.woken.Lapsed = append(w.woken.Lapsed, *l)
	case m.Expired(w.now):
		w.expired[m.Status] = append(w.expired[m.Status], int64(m.ID))
		w.woken.Expired = append(w.woken.Expired, m.ID)
	default:
		w.queued = append(w.queued, int64(m.ID))
		w.pack.add(m.Channel, m.Lane(), m.ID, w.now)
		if !m.ExpireAt.IsZero() {
			w.wakes[m.ExpireAt] = append(w.wakes[m.ExpireAt], int64(m.ID))
		}
	}
}

func (w *waker) write(ctx context.Context) error {
	for status, ids := range w.expired {
		err := finish(ctx, w.tx, w.days, ids, ending{from: status, to: core.StatusExpired, at: w.now, cause: &core.SendError{
			Code: core.CodeExpired, Message: "expire_at passed before the message was sent", Fault: core.FaultMessage,
		}})
		if err != nil {
			return err
		}
	}
	if len(w.queued) > 0 {
		if err := w.queue(ctx); err != nil {
			return err
		}
	}
	if len(w.leased) > 0 {
		if err := setTimers(ctx, w.tx, true, map[time.Time][]int64{w.lease: w.leased}); err != nil {
			return err
		}
		_, err := exec(ctx, w.tx, w.days.of(w.leased).sql(`UPDATE message_records SET wake_at = $1::timestamptz,
			lease_until = CASE WHEN status = 'sending' THEN $1::timestamptz END WHERE id = ANY($2)`),
			w.lease, w.leased)
		if err != nil {
			return err
		}
	}
	return setTimers(ctx, w.tx, false, w.wakes)
}

// queue makes messages whose time has come wait for nothing but the queue.
func (w *waker) queue(ctx context.Context) error {
	tables := w.days.of(w.queued)
	_, err := exec(ctx, w.tx, tables.sql(`DELETE FROM message_exceptions e USING message_records r
		WHERE r.id = ANY($1) AND r.status = 'scheduled' AND e.account_id = r.account_id AND e.status = 'scheduled' AND e.id = r.id`), w.queued)
	if err != nil {
		return err
	}
	_, err = exec(ctx, w.tx, tables.sql(`UPDATE message_records SET status = 'queued', next_attempt_at = NULL, wake_at = expire_at, updated_at = $1
		WHERE id = ANY($2)`), w.now, w.queued)
	return err
}

// NextWake implements store.Sweep.
func (s *Store) NextWake(ctx context.Context) (time.Time, bool, error) {
	var next time.Time
	found, err := first(ctx, s.pool, func(r *row) { next = r.time() }, "SELECT wake_at FROM message_timers ORDER BY wake_at LIMIT 1")
	return next, found, explain("find the next due message", err)
}

// Oldest implements store.Sweep. What is queued or being sent is in an envelope that is not settled, or had its lease
// run out, or waited for a time that has come: of many that did, those are looked at that have been due for longest.
func (s *Store) Oldest(ctx context.Context, now time.Time) (time.Time, bool, error) {
	var oldest time.Time
	found := false
	err := each(ctx, s.pool, func(r *row) error {
		if t := r.time(); !found || t.Before(oldest) {
			oldest, found = t, true
		}
		return nil
	}, `SELECT made FROM (
			SELECT m.made FROM outbox o CROSS JOIN LATERAL (
				SELECT r.created_at FROM message_records r WHERE r.id = ANY(o.record_ids) AND r.status IN ('queued', 'sending')
					AND (r.next_attempt_at IS NULL OR r.next_attempt_at <= $1) ORDER BY r.id LIMIT 1) AS m(made)
			ORDER BY o.record_ids[1] LIMIT 1) AS enveloped
		UNION ALL
		SELECT made FROM (
			SELECT min(r.created_at)
			FROM (SELECT record_ids FROM message_timers WHERE wake_at <= $1 ORDER BY wake_at LIMIT 100) AS t JOIN message_records r ON r.id = ANY(t.record_ids)
			WHERE r.status IN ('queued', 'sending')
				AND (r.next_attempt_at IS NULL OR r.next_attempt_at <= $1)) AS timed(made)
		WHERE made IS NOT NULL`, at(now))
	return oldest, found, explain("find the oldest waiting message", err)
}

// Purge implements store.Sweep. It also makes partitions ahead and drops those past their retention.
func (s *Store) Purge(ctx context.Context, now, unmatchedBefore time.Time, limit int) (int, error) {
	if err := s.rematch(ctx, now); err != nil {
		return 0, err
	}
	n, err := s.purgeRows(ctx, now, unmatchedBefore, limit)
	return n, errors.Join(err, s.keepPartitions(ctx, now))
}

// purgeRows removes what is not kept by days.
func (s *Store) purgeRows(ctx context.Context, now, unmatchedBefore time.Time, limit int) (int, error) {
	keys, err := exec(ctx, s.pool, `DELETE FROM idempotency_keys WHERE ctid = ANY(ARRAY(
		SELECT ctid FROM idempotency_keys WHERE expires_at <= $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED))`, at(now), limit)
	if err != nil {
		return 0, explain("purge", err)
	}
	receipts, err := exec(ctx, s.pool, `DELETE FROM receipts_waiting WHERE id = ANY(ARRAY(
		SELECT id FROM receipts_waiting WHERE received_at < $1 ORDER BY received_at LIMIT $2))`, at(unmatchedBefore), limit-keys)
	return keys + receipts, explain("purge", err)
}

// keepPartitions makes and drops partitions once an hour. A table that is busy is tried again by the next purge.
func (s *Store) keepPartitions(ctx context.Context, now time.Time) error {
	if !s.partitions.due(now) {
		return nil
	}
	err := s.partitions.ensure(ctx)
	if err == nil {
		_, err = s.partitions.drop(ctx)
	}
	if err == nil {
		s.partitions.done(now)
	}
	if isCode(err, codeLockTimeout) {
		s.logger.WarnContext(ctx, "postgres: partitions are left for later, as a table is busy", "error", err)
		return nil
	}
	return err
}
