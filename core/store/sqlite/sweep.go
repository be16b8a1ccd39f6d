package sqlite

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Wake implements store.Sweep.
func (s *Store) Wake(ctx context.Context, now, lease time.Time, limit int) (store.Woken, error) {
	// Mostly nothing is due, and a look beside the writer costs no commit.
	if next, ok, err := s.NextWake(ctx); err != nil || !ok || next.After(now) {
		return store.Woken{}, err
	}
	var woken store.Woken
	err := s.write(ctx, "wake messages", limit, func(c conn) error {
		w := waker{conn: c, now: now, lease: lease}
		rows, err := w.due(limit)
		if err != nil {
			return err
		}
		for i := range rows {
			if err := w.wake(&rows[i]); err != nil {
				return err
			}
		}
		woken = w.woken
		woken.Envelopes, err = w.pack.store(c, s.ids)
		return err
	})
	if err != nil {
		return store.Woken{}, err
	}
	return woken, nil
}

// waker handles due messages within one transaction.
type waker struct {
	conn       conn
	now, lease time.Time
	pack       packer
	woken      store.Woken
}

// due returns the messages whose time has come, the longest overdue first.
func (w *waker) due(limit int) ([]store.Lapsed, error) {
	var rows []store.Lapsed
	err := w.conn.prepare("SELECT " + recordColumns + ", r.started_at, r.provider_ids" + fromRecords +
		"WHERE r.wake_at <= ? ORDER BY r.wake_at LIMIT ?").time(w.now).int(int64(limit)).each(func(r *row) error {
		rows = append(rows, store.Lapsed{})
		l := &rows[len(rows)-1]
		if err := readRecord(r, &l.Message); err != nil {
			return err
		}
		l.StartedAt = r.time()
		if l.Message.ProviderID != "" {
			l.ProviderIDs = []string{l.Message.ProviderID}
		}
		return r.json(&l.ProviderIDs)
	})
	return rows, err
}

func (w *waker) wake(l *store.Lapsed) error {
	m := &l.Message
	switch {
	case m.Status == core.StatusSending || m.Status == core.StatusUncertain:
		return w.leaseAnew(l)
	case m.Expired(w.now):
		w.woken.Expired = append(w.woken.Expired, m.ID)
		return finish(w.conn, m.ID, ending{from: m.Status, to: core.StatusExpired, at: w.now, cause: &core.SendError{
			Code: core.CodeExpired, Message: "expire_at passed before the message was sent", Fault: core.FaultMessage,
		}})
	default:
		w.pack.add(m.Channel, m.Lane(), m.ID, w.now)
		_, err := w.conn.prepare(`UPDATE message_records SET status = 'queued', next_attempt_at = NULL, wake_at = expire_at, updated_at = ?
			WHERE id = ?`).time(w.now).int(int64(m.ID)).run()
		return err
	}
}

// leaseAnew hands a lapsed message to the caller: until the lease it is not due for anybody else.
func (w *waker) leaseAnew(l *store.Lapsed) error {
	_, err := w.conn.prepare(`UPDATE message_records SET wake_at = ?1, lease_until = IIF(status = 'sending', ?1, NULL) WHERE id = ?2`).
		time(w.lease).int(int64(l.Message.ID)).run()
	if l.Message.Status == core.StatusSending {
		l.Message.LeaseUntil = fromMillis(w.lease.UnixMilli())
	}
	w.woken.Lapsed = append(w.woken.Lapsed, *l)
	return err
}

// NextWake implements store.Sweep.
func (s *Store) NextWake(ctx context.Context) (time.Time, bool, error) {
	return s.readTime(ctx, "find the next due message", func(c conn) *statement {
		return c.prepare("SELECT wake_at FROM message_records WHERE wake_at IS NOT NULL ORDER BY wake_at LIMIT 1")
	})
}

// Oldest implements store.Sweep.
func (s *Store) Oldest(ctx context.Context, now time.Time) (time.Time, bool, error) {
	return s.readTime(ctx, "find the oldest waiting message", func(c conn) *statement {
		return c.prepare(`SELECT created_at FROM message_records INDEXED BY message_records_open
			WHERE status IN ('queued', 'sending') AND (next_attempt_at IS NULL OR next_attempt_at <= ?) ORDER BY id LIMIT 1`).time(now)
	})
}

// readTime returns the time in the first row of a query, or false if there is none.
func (s *Store) readTime(ctx context.Context, what string, query func(conn) *statement) (time.Time, bool, error) {
	var at time.Time
	found := false
	err := s.read(ctx, what, func(c conn) (err error) {
		found, err = query(c).first(func(r *row) { at = r.time() })
		return err
	})
	return at, found, err
}

// Purge implements store.Sweep.
func (s *Store) Purge(ctx context.Context, now, unmatchedBefore time.Time, limit int) (int, error) {
	purged := 0
	err := s.write(ctx, "purge", limit, func(c conn) error {
		keys, err := c.prepare(`DELETE FROM idempotency_keys WHERE id IN (
			SELECT id FROM idempotency_keys WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)`).
			time(now).int(int64(limit)).run()
		if err != nil {
			return err
		}
		receipts, err := c.prepare(`DELETE FROM receipts WHERE id IN (
			SELECT id FROM receipts WHERE matched = 0 AND received_at < ? ORDER BY received_at LIMIT ?)`).
			time(unmatchedBefore).int(int64(limit - keys)).run()
		if err != nil {
			return err
		}
		purged = keys + receipts
		messages, err := s.purgeMessages(c, now, limit-purged)
		purged += messages
		return err
	})
	return purged, err
}
