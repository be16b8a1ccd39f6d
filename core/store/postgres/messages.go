package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Message implements store.Messages. Message and history are read from one snapshot: between two statements an
// attempt could move from the one to the other, and be told twice or not at all.
func (s *Store) Message(ctx context.Context, account core.AccountID, id core.RecordID) (core.Message, []core.Attempt, error) {
	var m core.Message
	var attempts []core.Attempt
	snapshot := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, s.pool, snapshot, func(tx pgx.Tx) error {
		found, err := first(ctx, tx, func(r *row) {
			readRecord(r, &m)
			readMetadata(r, &m)
			readContent(r, &m.Content)
		}, "SELECT "+recordColumns+metadataColumn+contentColumns+fromRecords+"WHERE r.id = $1 AND r.account_id = $2", int64(id), int64(account))
		if err != nil || !found {
			return notFoundUnless(found, "message", err)
		}
		attempts, err = readAttempts(ctx, tx, &m)
		return err
	})
	if err != nil {
		return core.Message{}, nil, explain("read a message", err)
	}
	return m, attempts, nil
}

// readAttempts returns the attempts of a message, oldest first: those in the history, and the latest from the
// message's own row unless it has moved to the history.
func readAttempts(ctx context.Context, q querier, m *core.Message) ([]core.Attempt, error) {
	var attempts []core.Attempt
	err := each(ctx, q, func(r *row) error {
		attempts = append(attempts, readAttempt(r))
		return nil
	}, "SELECT "+attemptColumns+" FROM message_attempts WHERE record_id = $1 ORDER BY attempt, late, finished_at NULLS FIRST", int64(m.ID))
	if err != nil {
		return nil, err
	}
	var latest core.Attempt
	found, err := first(ctx, q, func(r *row) { latest = readAttempt(r) },
		"SELECT "+attemptColumns+" FROM message_records WHERE id = $1 AND started_at IS NOT NULL", int64(m.ID))
	if err != nil || !found {
		return attempts, err
	}
	if latest.Outcome == core.OutcomeAccepted {
		latest.Error = nil // it came with a receipt
	}
	if latest.ProviderIDs == nil && m.ProviderID != "" {
		latest.ProviderIDs = []string{m.ProviderID}
	}
	// Late evidence about the latest attempt follows it.
	i := slices.IndexFunc(attempts, func(a core.Attempt) bool { return a.Number >= latest.Number })
	if i < 0 {
		i = len(attempts)
	}
	return slices.Insert(attempts, i, latest), nil
}

// batchSpan is more ids than any batch has: with it the server sees from the id alone which days it need not look at.
const batchSpan = 1 << 20

// Batch implements store.Messages.
func (s *Store) Batch(ctx context.Context, account core.AccountID, id core.BatchID) (core.Batch, map[core.Status]int, error) {
	b := core.Batch{ID: id, Account: account}
	counts := map[core.Status]int{}
	found := false
	err := each(ctx, s.pool, func(r *row) error {
		found = true
		b.Template, b.Channel, b.Accepted, b.Rejected = core.TemplateID(r.int()), r.text(), int(r.int()), int(r.int())
		b.Canceled, b.CreatedAt = r.bool(), r.time()
		if status, n := core.Status(r.text()), int(r.int()); n > 0 {
			counts[status] = n
		}
		return nil
	}, `SELECT b.template_id, b.channel, b.accepted, b.rejected, b.canceled, b.created_at, m.status, m.n
		FROM message_batches b LEFT JOIN LATERAL (
			SELECT status, count(*) AS n FROM message_records
			WHERE batch_id = $1 AND id > $1 AND id < $3 AND id <= b.id + b.accepted GROUP BY status) AS m ON true
		WHERE b.id = $1 AND b.account_id = $2`, int64(id), int64(account), int64(id)+batchSpan)
	if err := notFoundUnless(found, "batch", explain("read a batch", err)); err != nil {
		return core.Batch{}, nil, err
	}
	return b, counts, nil
}

// Cancel implements store.Messages.
func (s *Store) Cancel(ctx context.Context, account core.AccountID, what store.Target, now time.Time) (int, error) {
	canceled, found, name := 0, false, "message"
	err := s.tx(ctx, "cancel messages", func(tx pgx.Tx) (err error) {
		if what.Batch != 0 {
			name = "batch"
			canceled, found, err = cancelBatch(ctx, tx, account, what.Batch, now)
		} else {
			canceled, found, err = cancelMessage(ctx, tx, account, what.Record, now)
		}
		return err
	})
	return canceled, notFoundUnless(found, name, err)
}

func cancelMessage(ctx context.Context, tx pgx.Tx, account core.AccountID, id core.RecordID, now time.Time) (int, bool, error) {
	found, err := first(ctx, tx, func(*row) {}, "SELECT 1 FROM message_records WHERE id = $1 AND account_id = $2", int64(id), int64(account))
	if err != nil || !found {
		return 0, false, err
	}
	n, err := cancelRecords(ctx, tx, account, now, "id = $3", int64(id))
	return n, true, err
}

func cancelBatch(ctx context.Context, tx pgx.Tx, account core.AccountID, id core.BatchID, now time.Time) (int, bool, error) {
	var accepted int64
	found, err := first(ctx, tx, func(r *row) { accepted = r.int() },
		"SELECT accepted FROM message_batches WHERE id = $1 AND account_id = $2", int64(id), int64(account))
	if err != nil || !found {
		return 0, false, err
	}
	n, err := cancelRecords(ctx, tx, account, now, "batch_id = $3 AND id > $3 AND id <= $4", int64(id), int64(id)+accepted)
	if err != nil || n == 0 {
		return n, true, err
	}
	_, err = exec(ctx, tx, "UPDATE message_batches SET canceled = true WHERE id = $1", int64(id))
	return n, true, err
}

// cancelRecords cancels those of an account's messages that are still scheduled or queued and returns how many. They
// are locked in the order of their ids, as everywhere.
func cancelRecords(ctx context.Context, tx pgx.Tx, account core.AccountID, now time.Time, condition string, args ...any) (int, error) {
	return exec(ctx, tx, `WITH cancelable AS (
			SELECT id FROM message_records WHERE account_id = $1 AND status IN ('scheduled', 'queued') AND `+condition+`
			ORDER BY id FOR UPDATE),
		canceled AS (
			UPDATE message_records r SET status = 'canceled', next_attempt_at = NULL, wake_at = NULL, updated_at = $2
			FROM cancelable c WHERE r.id = c.id RETURNING r.account_id, r.status, r.id),
		listed AS (
			INSERT INTO message_exceptions (account_id, status, id) SELECT account_id, status, id FROM canceled ON CONFLICT DO NOTHING),
		scheduled AS (
			DELETE FROM message_exceptions e USING canceled c WHERE e.account_id = $1 AND e.status = 'scheduled' AND e.id = c.id)
		SELECT FROM canceled`, append([]any{int64(account), at(now)}, args...)...)
}

// Retry implements store.Messages.
func (s *Store) Retry(ctx context.Context, account core.AccountID, id core.RecordID, budget int, now time.Time) (core.Envelope, error) {
	var envelope core.Envelope
	err := s.tx(ctx, "retry a message", func(tx pgx.Tx) error {
		var status core.Status
		var pack packer
		found, err := first(ctx, tx, func(r *row) {
			status = core.Status(r.text())
			pack.add(r.text(), core.Lane(r.int()), id, now)
		}, "SELECT status, channel, lane FROM message_records WHERE id = $1 AND account_id = $2 FOR UPDATE", int64(id), int64(account))
		if err != nil {
			return err
		}
		if err := refuseRetry(found, status); err != nil {
			return err
		}
		if err := queueAgain(ctx, tx, id, budget, now); err != nil {
			return err
		}
		_, err = exec(ctx, tx, "DELETE FROM message_exceptions WHERE account_id = $1 AND status = $2 AND id = $3",
			int64(account), string(status), int64(id))
		if err != nil {
			return err
		}
		envelopes, err := pack.store(ctx, tx)
		if err == nil {
			envelope = envelopes[0]
		}
		return err
	})
	if err != nil {
		return core.Envelope{}, err
	}
	return envelope, nil
}

// queueAgain gives a message a new round. An expire_at that has passed would end it before it began.
func queueAgain(ctx context.Context, tx pgx.Tx, id core.RecordID, budget int, now time.Time) error {
	var wake time.Time
	_, err := first(ctx, tx, func(r *row) { wake = r.time() },
		`UPDATE message_records SET status = 'queued', budget = attempt + $2, doubtful = doubtful OR status = 'uncertain',
			next_attempt_at = NULL, lease_until = NULL, updated_at = $3,
			expire_at = CASE WHEN expire_at > $3 THEN expire_at END, wake_at = CASE WHEN expire_at > $3 THEN expire_at END
		WHERE id = $1 RETURNING wake_at`, int64(id), budget, at(now))
	if err != nil || wake.IsZero() {
		return err
	}
	return setTimers(ctx, tx, false, map[time.Time][]int64{wake: {int64(id)}})
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
