package sqlite

import (
	"context"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Message implements store.Messages.
func (s *Store) Message(ctx context.Context, account core.AccountID, id core.RecordID) (core.Message, []core.Attempt, error) {
	var m core.Message
	var attempts []core.Attempt
	err := s.read(ctx, "read a message", func(c conn) error {
		return c.snapshot(func() error {
			found := false
			err := c.prepare("SELECT " + recordColumns + contentColumns + fromRecords + "WHERE r.id = ? AND r.account_id = ?").
				int(int64(id)).int(int64(account)).each(func(r *row) error {
				found = true
				if err := readRecord(r, &m); err != nil {
					return err
				}
				return readContent(r, &m.Content)
			})
			if err != nil || !found {
				return notFoundUnless(found, "message", err)
			}
			attempts, err = readAttempts(c, &m)
			return err
		})
	})
	if err != nil {
		return core.Message{}, nil, err
	}
	return m, attempts, nil
}

// notFoundUnless returns err, or NotFound if there is none and nothing was found.
func notFoundUnless(found bool, what string, err error) error {
	if err == nil && !found {
		return core.NotFound(what)
	}
	return err
}

// readAttempts returns the attempts of a message, oldest first: those in the history, and the latest
// from the message's own row unless it has moved to the history.
func readAttempts(c conn, m *core.Message) ([]core.Attempt, error) {
	var attempts []core.Attempt
	collect := func(r *row) error {
		a, err := readAttempt(r)
		attempts = append(attempts, a)
		return err
	}
	err := c.prepare("SELECT " + attemptColumns + " FROM message_attempts WHERE record_id = ? ORDER BY attempt, late, finished_at").
		int(int64(m.ID)).each(collect)
	if err != nil {
		return nil, err
	}
	archived := len(attempts)
	if err := c.prepare("SELECT " + attemptColumns + " FROM message_records WHERE id = ? AND started_at IS NOT NULL").
		int(int64(m.ID)).each(collect); err != nil || len(attempts) == archived {
		return attempts, err
	}
	latest := &attempts[archived]
	if latest.Outcome == core.OutcomeAccepted {
		latest.Error = nil // it came with a receipt
	}
	if latest.ProviderIDs == nil && m.ProviderID != "" {
		latest.ProviderIDs = []string{m.ProviderID}
	}
	// Late evidence about the latest attempt follows it.
	slices.SortStableFunc(attempts, func(a, b core.Attempt) int { return a.Number - b.Number })
	return attempts, nil
}

// Batch implements store.Messages.
func (s *Store) Batch(ctx context.Context, account core.AccountID, id core.BatchID) (core.Batch, map[core.Status]int, error) {
	b := core.Batch{ID: id, Account: account}
	counts := map[core.Status]int{}
	err := s.read(ctx, "read a batch", func(c conn) error {
		return c.snapshot(func() error {
			found, err := c.prepare(`SELECT template_id, channel, accepted, rejected, canceled, created_at FROM message_batches
				WHERE id = ? AND account_id = ?`).int(int64(id)).int(int64(account)).first(func(r *row) {
				b.Template, b.Channel, b.Accepted, b.Rejected = core.TemplateID(r.int()), r.text(), int(r.int()), int(r.int())
				b.Canceled, b.CreatedAt = r.bool(), r.time()
			})
			if err != nil || !found {
				return notFoundUnless(found, "batch", err)
			}
			return c.prepare(`SELECT status, COUNT(*) FROM message_records WHERE id > ? AND id <= ? AND batch_id = ? AND account_id = ? GROUP BY status`).
				int(int64(id)).int(int64(id) + int64(b.Accepted)).int(int64(id)).int(int64(account)).each(func(r *row) error {
				status := core.Status(r.text())
				counts[status] = int(r.int())
				return nil
			})
		})
	})
	if err != nil {
		return core.Batch{}, nil, err
	}
	return b, counts, nil
}

// Cancel implements store.Messages.
func (s *Store) Cancel(ctx context.Context, account core.AccountID, what store.Target, now time.Time) (int, error) {
	canceled, found := 0, false
	err := s.write(ctx, "cancel messages", 1, func(c conn) (err error) {
		if what.Batch != 0 {
			canceled, found, err = cancelBatch(c, account, what.Batch, now)
		} else {
			canceled, found, err = cancelMessage(c, account, what.Record, now)
		}
		return err
	})
	if what.Batch != 0 {
		return canceled, notFoundUnless(found, "batch", err)
	}
	return canceled, notFoundUnless(found, "message", err)
}

const cancelRecords = `UPDATE message_records SET status = 'canceled', next_attempt_at = NULL, wake_at = NULL, updated_at = ?
	WHERE account_id = ? AND status IN ('scheduled', 'queued') AND `

func cancelMessage(c conn, account core.AccountID, id core.RecordID, now time.Time) (int, bool, error) {
	found, err := c.prepare("SELECT 1 FROM message_records WHERE id = ? AND account_id = ?").
		int(int64(id)).int(int64(account)).first(func(*row) {})
	if err != nil || !found {
		return 0, false, err
	}
	n, err := c.prepare(cancelRecords + "id = ?").time(now).int(int64(account)).int(int64(id)).run()
	return n, true, err
}

func cancelBatch(c conn, account core.AccountID, id core.BatchID, now time.Time) (int, bool, error) {
	var accepted int64
	found, err := c.prepare("SELECT accepted FROM message_batches WHERE id = ? AND account_id = ?").
		int(int64(id)).int(int64(account)).first(func(r *row) { accepted = r.int() })
	if err != nil || !found {
		return 0, false, err
	}
	n, err := c.prepare(cancelRecords + "id > ? AND id <= ? AND batch_id = ?").
		time(now).int(int64(account)).int(int64(id)).int(int64(id) + accepted).int(int64(id)).run()
	if err != nil || n == 0 {
		return n, true, err
	}
	_, err = c.prepare("UPDATE message_batches SET canceled = 1 WHERE id = ?").int(int64(id)).run()
	return n, true, err
}

// Retry implements store.Messages.
func (s *Store) Retry(ctx context.Context, account core.AccountID, id core.RecordID, budget int, now time.Time) (core.Envelope, error) {
	var envelope core.Envelope
	var refused error
	err := s.write(ctx, "retry a message", 1, func(c conn) error {
		var status core.Status
		var pack packer
		found, err := c.prepare("SELECT status, channel, lane FROM message_records WHERE id = ? AND account_id = ?").
			int(int64(id)).int(int64(account)).first(func(r *row) {
			status = core.Status(r.text())
			pack.add(r.text(), core.Lane(r.int()), id, now)
		})
		if refused = refuseRetry(found, status); err != nil || refused != nil {
			return err
		}
		// An expire_at that has passed would end the new round before it began.
		_, err = c.prepare(`UPDATE message_records SET status = 'queued', budget = attempt + ?2, doubtful = MAX(doubtful, status = 'uncertain'),
			next_attempt_at = NULL, lease_until = NULL, updated_at = ?3,
			expire_at = IIF(expire_at > ?3, expire_at, NULL), wake_at = IIF(expire_at > ?3, expire_at, NULL)
			WHERE id = ?1`).int(int64(id)).int(int64(budget)).time(now).run()
		if err != nil {
			return err
		}
		envelopes, err := pack.store(c, s.ids)
		if err == nil {
			envelope = envelopes[0]
		}
		return err
	})
	if err == nil {
		err = refused
	}
	return envelope, err
}

// refuseRetry says why a message cannot have another round, nil if it can.
func refuseRetry(found bool, status core.Status) error {
	switch {
	case !found:
		return core.NotFound("message")
	case !status.Retryable():
		return &core.Error{
			Kind: core.KindConflict, Code: core.CodeNotRetryable,
			Message: "a message that is " + string(status) + " cannot be retried; only one that failed, expired, was undelivered or is uncertain can",
		}
	}
	return nil
}
