package sqlite

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Load implements store.Dispatch.
func (s *Store) Load(ctx context.Context, records []core.RecordID) ([]core.Message, error) {
	messages := make([]core.Message, 0, len(records))
	err := s.read(ctx, "load messages", func(c conn) error {
		query := c.prepare("SELECT " + recordColumns + contentColumns + fromRecords + "WHERE r.id = ?")
		for _, id := range records {
			err := query.int(int64(id)).each(func(r *row) error {
				messages = append(messages, core.Message{})
				m := &messages[len(messages)-1]
				if err := readRecord(r, m); err != nil {
					return err
				}
				return readContent(r, &m.Content)
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return messages, nil
}

// claimable is the condition under which a claim is won: its parameters are ?1 the message, ?2 the
// attempt, ?3 now.
const claimable = `id = ?1 AND status = 'queued' AND attempt = ?2 - 1
	AND (next_attempt_at IS NULL OR next_attempt_at <= ?3) AND (expire_at IS NULL OR expire_at > ?3)`

// Claim implements store.Dispatch.
func (s *Store) Claim(ctx context.Context, claims []store.Claim, now, lease time.Time) ([]bool, error) {
	var won []bool
	err := s.write(ctx, "claim messages", len(claims), func(c conn) error {
		won = make([]bool, len(claims))
		claim := c.prepare(`UPDATE message_records SET status = 'sending', attempt = ?2, started_at = ?3, updated_at = ?3,
			lease_until = ?4, wake_at = ?4, connector = ?5, next_attempt_at = NULL, outcome = NULL, finished_at = NULL,
			provider_id = NULL, provider_ids = NULL, cost = NULL,
			error_code = NULL, error_provider_code = NULL, error_message = NULL, error_fault = NULL
			WHERE ` + claimable)
		for i, x := range claims {
			if err := archiveClaimed(c, x, now); err != nil {
				return err
			}
			changed, err := claim.int(int64(x.Record)).int(int64(x.Attempt)).time(now).time(lease).text(string(x.Connector)).run()
			if err != nil {
				return err
			}
			won[i] = changed > 0
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return won, nil
}

// archiveClaimed moves the attempt before the claimed one into the history, if there was one and the
// claim will be won.
func archiveClaimed(c conn, x store.Claim, now time.Time) error {
	if x.Attempt <= 1 {
		return nil
	}
	won, err := c.prepare("SELECT 1 FROM message_records WHERE " + claimable).
		int(int64(x.Record)).int(int64(x.Attempt)).time(now).first(func(*row) {})
	if err != nil || !won {
		return err
	}
	return archive(c, x.Record)
}

// Postpone implements store.Dispatch.
func (s *Store) Postpone(ctx context.Context, postponements []store.Postponement, now time.Time) error {
	return s.write(ctx, "postpone messages", len(postponements), func(c conn) error {
		update := c.prepare(`UPDATE message_records SET next_attempt_at = ?2, wake_at = MIN(?2, IFNULL(expire_at, ?2)), updated_at = ?3
			WHERE id = ?1 AND status = 'queued'`)
		for _, p := range postponements {
			until := p.Until
			if until.IsZero() {
				until = now // due at once; a queued message must always have something that wakes it
			}
			if _, err := update.int(int64(p.Record)).time(until).time(now).run(); err != nil {
				return err
			}
		}
		return nil
	})
}

// Finish implements store.Dispatch.
func (s *Store) Finish(ctx context.Context, records []core.RecordID, status core.Status, cause *core.SendError, now time.Time) error {
	if status != core.StatusExpired && status != core.StatusFailed {
		return core.Errorf(core.KindInternal, "a queued message cannot end as %q", status)
	}
	return s.write(ctx, "finish messages", len(records), func(c conn) error {
		for _, id := range records {
			if err := finish(c, id, ending{from: core.StatusQueued, to: status, cause: cause, at: now}); err != nil {
				return err
			}
		}
		return nil
	})
}

// ending is the end of a message that no attempt will be made for.
type ending struct {
	from, to core.Status
	cause    *core.SendError
	at       time.Time
}

// finish ends a message, if it still has the status it is thought to have.
func finish(c conn, id core.RecordID, e ending) error {
	waits, err := c.prepare("SELECT 1 FROM message_records WHERE id = ? AND status = ?").
		int(int64(id)).text(string(e.from)).first(func(*row) {})
	if err != nil || !waits {
		return err
	}
	// Where a caller has it sent once more, it is not forgotten that the last attempt may have arrived.
	if _, err := c.prepare("UPDATE message_records SET doubtful = 1 WHERE id = ? AND outcome = 'uncertain'").int(int64(id)).run(); err != nil {
		return err
	}
	if err := archive(c, id); err != nil { // the error becomes the message's own
		return err
	}
	_, err = c.prepare(`UPDATE message_records SET status = ?, error_code = ?, error_provider_code = ?, error_message = ?, error_fault = ?,
		next_attempt_at = NULL, wake_at = NULL, updated_at = ? WHERE id = ?`).
		text(string(e.to)).error(e.cause).time(e.at).int(int64(id)).run()
	return err
}
