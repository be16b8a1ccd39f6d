package sqlite

import (
	"context"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Accept implements store.Intake.
func (s *Store) Accept(ctx context.Context, submissions []store.Submission) ([]core.Envelope, []error, error) {
	contents, rows, err := encodeContents(submissions)
	if err != nil {
		return nil, nil, err
	}
	var envelopes []core.Envelope
	var taken []error
	err = s.write(ctx, "accept messages", rows, func(c conn) error {
		w := intakeWriter{conn: c, blocks: &s.blocks}
		taken = make([]error, len(submissions))
		for i := range submissions {
			ok, err := w.submission(&submissions[i], contents[i])
			if err != nil {
				return err
			}
			if !ok {
				taken[i] = store.ErrKeyTaken
			}
		}
		var err error
		envelopes, err = w.pack.store(c, s.ids)
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return envelopes, taken, nil
}

// content holds the JSON columns of one message, made before the writer is asked.
type content struct{ metadata, attributes, providerTemplate, attachments string }

// encodeContents returns the contents of each submission's messages, and how many messages there are.
func encodeContents(submissions []store.Submission) ([][]content, int, error) {
	all, rows := make([][]content, len(submissions)), 0
	for i := range submissions {
		messages := submissions[i].Messages
		rows += len(messages)
		all[i] = make([]content, len(messages))
		for j := range messages {
			if err := all[i][j].encode(&messages[j]); err != nil {
				return nil, 0, fmt.Errorf("encode message %d: %w", messages[j].ID, err)
			}
		}
	}
	return all, rows, nil
}

func (x *content) encode(m *core.Message) (err error) {
	if x.metadata, err = toJSON(m.Metadata, len(m.Metadata)); err != nil {
		return err
	}
	if x.attributes, err = toJSON(m.Content.Attributes, len(m.Content.Attributes)); err != nil {
		return err
	}
	if len(m.Content.ProviderTemplates) > 0 {
		if x.providerTemplate, err = toJSON(m.Content.ProviderTemplates, 1); err != nil {
			return err
		}
	}
	x.attachments, err = toJSON(m.Content.Attachments, len(m.Content.Attachments))
	return err
}

// intakeWriter writes submissions within one transaction.
type intakeWriter struct {
	conn           conn
	blocks         *blocks
	pack           packer
	record, detail *statement
}

// submission writes one submission, unless its key is taken.
func (w *intakeWriter) submission(s *store.Submission, contents []content) (bool, error) {
	if s.Key != nil {
		if ok, err := saveKey(w.conn, *s.Key); err != nil || !ok {
			return false, err
		}
	}
	if s.Batch != nil {
		if err := insertBatch(w.conn, s.Batch); err != nil {
			return false, err
		}
	}
	if w.record == nil {
		w.record, w.detail = w.conn.prepare(insertRecord), w.conn.prepare(insertContent)
	}
	for i := range s.Messages {
		m := &s.Messages[i]
		if err := w.message(s.Account, m, &contents[i]); err != nil {
			return false, err
		}
		if m.NextAttempt.IsZero() {
			w.pack.add(m.Channel, m.Lane(), m.ID, m.CreatedAt)
		}
	}
	return true, nil
}

const (
	insertRecord = `INSERT INTO message_records (id, account_id, trace_id, batch_id, template_id, channel, lane, priority,
		recipient, recipient_given, recipient_block, pinned_connector, status, budget, segments, next_attempt_at, expire_at, wake_at, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`
	insertContent = `INSERT INTO message_contents (id, metadata, subject, content, html, attributes, provider_templates, attachments)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)`
)

func (w *intakeWriter) message(account core.AccountID, m *core.Message, x *content) error {
	status, wake := core.StatusQueued, m.ExpireAt
	if !m.NextAttempt.IsZero() {
		status, wake = core.StatusScheduled, earlier(m.NextAttempt, m.ExpireAt)
	}
	block, err := w.blocks.of(w.conn, m.ID)
	if err != nil {
		return err
	}
	_, err = w.record.int(int64(m.ID)).int(int64(account)).text(string(m.TraceID)).intOrNull(int64(m.Batch)).
		intOrNull(int64(m.Template)).text(m.Channel).int(int64(m.Lane())).int(int64(m.Priority)).
		text(m.Recipient).textOrNull(m.RecipientGiven).int(block).textOrNull(string(m.Pinned)).
		text(string(status)).int(int64(m.Budget)).intOrNull(int64(m.Segments)).time(m.NextAttempt).time(m.ExpireAt).time(wake).
		time(m.CreatedAt).time(m.CreatedAt).run()
	if err != nil {
		return err
	}
	_, err = w.detail.int(int64(m.ID)).textOrNull(x.metadata).textOrNull(m.Content.Subject).
		textOrNull(m.Content.Text).textOrNull(m.Content.HTML).
		textOrNull(x.attributes).textOrNull(x.providerTemplate).textOrNull(x.attachments).run()
	return err
}

// earlier returns the earlier of two times, of which the zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func insertBatch(c conn, b *core.Batch) error {
	_, err := c.prepare(`INSERT INTO message_batches (id, account_id, template_id, channel, accepted, rejected, created_at)
		VALUES (?, ?, ?, ?, ?, ?, ?)`).int(int64(b.ID)).int(int64(b.Account)).intOrNull(int64(b.Template)).text(b.Channel).
		int(int64(b.Accepted)).int(int64(b.Rejected)).time(b.CreatedAt).run()
	return err
}

// saveKey remembers a key and says whether it was free. One that expired before the request came is.
func saveKey(c conn, k store.IdempotencyRecord) (bool, error) {
	changed, err := c.prepare(`INSERT INTO idempotency_keys (account_id, key, body_hash, status, response, expires_at)
		VALUES (?1, ?2, ?3, ?4, ?5, ?6)
		ON CONFLICT (account_id, key) DO UPDATE SET
			body_hash = excluded.body_hash, status = excluded.status, response = excluded.response, expires_at = excluded.expires_at
		WHERE idempotency_keys.expires_at <= ?7`).int(int64(k.Account)).text(k.Key).blob(k.BodyHash[:]).
		int(int64(k.Status)).blob(k.Response).time(k.ExpiresAt).time(k.CreatedAt).run()
	return changed > 0, err
}

// SaveKey implements store.Intake.
func (s *Store) SaveKey(ctx context.Context, key store.IdempotencyRecord) error {
	free := false
	err := s.write(ctx, "remember an idempotency key", 1, func(c conn) (err error) {
		free, err = saveKey(c, key)
		return err
	})
	if err == nil && !free {
		return store.ErrKeyTaken
	}
	return err
}

// FindKey implements store.Intake.
func (s *Store) FindKey(ctx context.Context, account core.AccountID, key string, now time.Time) (store.IdempotencyRecord, error) {
	k := store.IdempotencyRecord{Account: account, Key: key}
	found := false
	err := s.read(ctx, "find an idempotency key", func(c conn) (err error) {
		found, err = c.prepare(`SELECT body_hash, status, response, expires_at FROM idempotency_keys
			WHERE account_id = ? AND key = ? AND expires_at > ?`).int(int64(account)).text(key).time(now).first(func(r *row) {
			copy(k.BodyHash[:], r.blob())
			k.Status, k.Response, k.ExpiresAt = int(r.int()), r.blob(), r.time()
		})
		return err
	})
	if err == nil && !found {
		err = core.NotFound("idempotency key")
	}
	return k, err
}
