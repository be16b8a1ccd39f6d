package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// pipelined is up to how many messages are inserted in one round trip. More are copied, which takes a round trip for
	// each step, but a fifth less of the server's time for each message: between 50 and 100 the two cost the same.
	pipelined = 64
	// pipelinedBytes bounds what is sent at once: the server takes no parameter of a gigabyte.
	pipelinedBytes = 1 << 20
)

// Accept implements store.Intake.
func (s *Store) Accept(ctx context.Context, submissions []store.Submission) ([]core.Envelope, []error, error) {
	if messagesOf(submissions) > pipelined {
		return s.acceptInSteps(ctx, submissions)
	}
	envelopes, err := s.acceptAtOnce(ctx, submissions)
	switch {
	case errors.Is(err, errManyBytes), isCode(err, codeUniqueViolation): // the steps find out which key is taken
		return s.acceptInSteps(ctx, submissions)
	case err != nil:
		return nil, nil, err
	}
	return envelopes, make([]error, len(submissions)), nil
}

var errManyBytes = errors.New("too many bytes for one round trip")

// acceptAtOnce takes in submissions in one round trip. It fails if a key is taken, or has expired and is still there.
func (s *Store) acceptAtOnce(ctx context.Context, submissions []store.Submission) ([]core.Envelope, error) {
	in, err := newIntake(submissions, make([]error, len(submissions)))
	if err != nil {
		return nil, err
	}
	keys := keyRows(submissions)
	if len(keys.buf)+len(in.records.buf)+len(in.contents.buf) > pipelinedBytes {
		return nil, errManyBytes
	}
	err = s.pipeline(ctx, "accept messages", func(batch *pgx.Batch) {
		keys.queue(batch, insertKeys)
		in.records.queue(batch, insertRecords)
		in.contents.queue(batch, insertContents)
		in.queue(batch, s.days)
	})
	return in.pack.envelopes, err
}

// acceptInSteps takes in the submissions whose key is not taken, any number of messages.
func (s *Store) acceptInSteps(ctx context.Context, submissions []store.Submission) ([]core.Envelope, []error, error) {
	var envelopes []core.Envelope
	var taken []error
	err := s.tx(ctx, "accept messages", func(tx pgx.Tx) error {
		var err error
		if taken, err = saveKeys(ctx, tx, submissions); err != nil {
			return err
		}
		in, err := newIntake(submissions, taken)
		if err != nil {
			return err
		}
		err = in.copy(ctx, tx, s.days)
		envelopes = in.pack.envelopes
		return err
	})
	if err != nil {
		return nil, nil, err
	}
	return envelopes, taken, nil
}

func messagesOf(submissions []store.Submission) int {
	n := 0
	for i := range submissions {
		n += len(submissions[i].Messages)
	}
	return n
}

// intake is what submissions put into the tables.
type intake struct {
	batches   []*core.Batch
	records   *copyRows
	contents  *copyRows
	scheduled []int64
	wakes     map[time.Time][]int64
	pack      packer
}

// newIntake sorts submissions whose key is not taken into the tables.
func newIntake(submissions []store.Submission, taken []error) (*intake, error) {
	const recordRoom, contentRoom = 320, 256
	rows := messagesOf(submissions)
	in := &intake{records: newCopyRows(rows * recordRoom), contents: newCopyRows(rows * contentRoom), wakes: map[time.Time][]int64{}}
	for i := range submissions {
		if taken[i] != nil {
			continue
		}
		if submissions[i].Batch != nil {
			in.batches = append(in.batches, submissions[i].Batch)
		}
		for j := range submissions[i].Messages {
			if err := in.add(submissions[i].Account, &submissions[i].Messages[j]); err != nil {
				return nil, fmt.Errorf("encode message %d: %w", submissions[i].Messages[j].ID, err)
			}
		}
	}
	return in, nil
}

func (in *intake) add(account core.AccountID, m *core.Message) error {
	status, wake := core.StatusQueued, m.ExpireAt
	if m.NextAttempt.IsZero() {
		in.pack.add(m.Channel, m.Lane(), m.ID, m.CreatedAt)
	} else {
		status, wake = core.StatusScheduled, earlier(m.NextAttempt, m.ExpireAt)
		in.scheduled = append(in.scheduled, int64(m.ID))
	}
	if !wake.IsZero() {
		wake = wake.Truncate(time.Millisecond).UTC()
		in.wakes[wake] = append(in.wakes[wake], int64(m.ID))
	}
	in.records.record(account, m, status, wake)
	return in.contents.content(m)
}

// earlier returns the earlier of two times, of which the zero one is none.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// copy writes everything, and numbers the envelopes.
func (in *intake) copy(ctx context.Context, tx pgx.Tx, days *days) error {
	if err := in.records.copyTo(ctx, tx, recordsTable); err != nil {
		return err
	}
	if err := in.contents.copyTo(ctx, tx, contentsTable); err != nil {
		return err
	}
	rest := &pgx.Batch{}
	in.queue(rest, days)
	return tx.SendBatch(ctx, rest).Close()
}

// queue adds to a batch what goes with records and contents that are written.
func (in *intake) queue(batch *pgx.Batch, days *days) {
	for _, b := range in.batches {
		batch.Queue(`INSERT INTO message_batches (id, account_id, template_id, channel, accepted, rejected, created_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7)`, int64(b.ID), int64(b.Account), orNull(int64(b.Template)), b.Channel, b.Accepted, b.Rejected, at(b.CreatedAt))
	}
	if len(in.scheduled) > 0 {
		batch.Queue(days.of(in.scheduled).sql(listExceptions), in.scheduled)
	}
	if timers := timerArgs(false, in.wakes); timers != nil {
		batch.Queue(insertTimers, timers...)
	}
	in.pack.queue(batch)
}

// keyRows are the keys of submissions, in the order in which saveKeys writes them too.
func keyRows(submissions []store.Submission) *copyRows {
	rows := newCopyRows(0)
	for _, i := range keyed(submissions) {
		rows.key(submissions[i].Key)
	}
	return rows
}

// saveKeys remembers the keys of submissions and returns for each nil or store.ErrKeyTaken. Of two with one key the
// first is taken in. Keys are written in their order, so that two gateways never wait for each other.
func saveKeys(ctx context.Context, tx pgx.Tx, submissions []store.Submission) ([]error, error) {
	taken := make([]error, len(submissions))
	batch := &pgx.Batch{}
	seen := map[keyName]bool{}
	for _, i := range keyed(submissions) {
		k := submissions[i].Key
		name := keyName{k.Account, k.Key}
		if seen[name] {
			taken[i] = store.ErrKeyTaken
			continue
		}
		seen[name] = true
		queueKey(batch, k).Exec(func(tag pgconn.CommandTag) error {
			if tag.RowsAffected() == 0 {
				taken[i] = store.ErrKeyTaken
			}
			return nil
		})
	}
	if batch.Len() == 0 {
		return taken, nil
	}
	return taken, tx.SendBatch(ctx, batch).Close()
}

// keyName is what makes an idempotency key unique.
type keyName struct {
	account core.AccountID
	key     string
}

// keyed returns the indexes of the submissions that have a key, ordered by account and key, and within one key as
// they came.
func keyed(submissions []store.Submission) []int {
	var order []int
	for i := range submissions {
		if submissions[i].Key != nil {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(a, b int) int {
		x, y := submissions[a].Key, submissions[b].Key
		return cmp.Or(cmp.Compare(x.Account, y.Account), strings.Compare(x.Key, y.Key))
	})
	return order
}

// queueKey remembers a key if it is free. One that expired before the request came is.
func queueKey(batch *pgx.Batch, k *store.IdempotencyRecord) *pgx.QueuedQuery {
	return batch.Queue(`INSERT INTO idempotency_keys AS k (account_id, key, body_hash, status, response, expires_at)
		VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (account_id, key) DO UPDATE SET
			body_hash = excluded.body_hash, status = excluded.status, response = excluded.response, expires_at = excluded.expires_at
		WHERE k.expires_at <= $7`,
		int64(k.Account), k.Key, k.BodyHash[:], k.Status, k.Response, at(k.ExpiresAt), at(k.CreatedAt))
}

// SaveKey implements store.Intake.
func (s *Store) SaveKey(ctx context.Context, key store.IdempotencyRecord) error {
	var taken []error
	err := s.tx(ctx, "remember an idempotency key", func(tx pgx.Tx) (err error) {
		taken, err = saveKeys(ctx, tx, []store.Submission{{Key: &key}})
		return err
	})
	if err != nil {
		return err
	}
	return taken[0]
}

// FindKey implements store.Intake.
func (s *Store) FindKey(ctx context.Context, account core.AccountID, key string, now time.Time) (store.IdempotencyRecord, error) {
	k := store.IdempotencyRecord{Account: account, Key: key}
	found, err := first(ctx, s.pool, func(r *row) {
		copy(k.BodyHash[:], r.blob())
		k.Status, k.Response, k.ExpiresAt = int(r.int()), r.blob(), r.time()
	}, `SELECT body_hash, status, response, expires_at FROM idempotency_keys WHERE account_id = $1 AND key = $2 AND expires_at > $3`,
		int64(account), key, at(now))
	return k, notFoundUnless(found, "idempotency key", explain("find an idempotency key", err))
}
