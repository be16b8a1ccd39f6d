package postgres

import (
	"context"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// What is read of a message: the columns and their scanner are changed together.

// recordColumns are those of readRecord, from message_records r.
const recordColumns = `r.id, r.trace_id, r.account_id, r.batch_id, r.template_id, r.channel, r.priority,
	r.recipient, r.recipient_given, r.pinned_connector, r.status, r.attempt, r.budget, r.connector, r.outcome, r.doubtful,
	r.provider_id, r.segments, r.error_code, r.error_provider_code, r.error_message, r.error_fault,
	r.next_attempt_at, r.expire_at, r.lease_until, r.created_at, r.updated_at, r.sent_at, r.started_at`

const fromRecords = ` FROM message_records r JOIN message_contents c ON c.id = r.id `

func readRecord(r *row, m *core.Message) {
	m.ID, m.TraceID, m.Account = core.RecordID(r.int()), core.TraceID(r.text()), core.AccountID(r.int())
	m.Batch, m.Template = core.BatchID(r.int()), core.TemplateID(r.int())
	m.Channel, m.Priority = r.text(), core.Priority(r.int())
	m.Recipient, m.RecipientGiven, m.Pinned = r.text(), r.text(), core.ConnectorID(r.text())
	m.Status, m.Attempt, m.Budget = core.Status(r.text()), int(r.int()), int(r.int())
	m.Connector, m.Outcome, m.Doubtful = core.ConnectorID(r.text()), core.Outcome(r.text()), r.bool()
	m.ProviderID, m.Segments = r.text(), int(r.int())
	m.Error = readError(r)
	m.NextAttempt, m.ExpireAt, m.LeaseUntil = r.time(), r.time(), r.time()
	m.CreatedAt, m.UpdatedAt, m.SentAt, m.StartedAt = r.time(), r.time(), r.time(), r.time()
}

// metadataColumn is that of readMetadata. Metadata belong to the message and stand with its content.
const metadataColumn = ", c.metadata"

func readMetadata(r *row, m *core.Message) { r.json(&m.Metadata) }

// contentColumns follow metadataColumn where the content is wanted.
const contentColumns = `, c.subject, c.content, c.html, c.attributes, c.provider_templates, c.attachments`

func readContent(r *row, content *core.Content) {
	content.Subject, content.Text, content.HTML = r.text(), r.text(), r.text()
	r.json(&content.Attributes)
	r.json(&content.ProviderTemplates)
	r.json(&content.Attachments)
}

// errorColumns are those of readError.
const errorColumns = "error_code, error_provider_code, error_message, error_fault"

func readError(r *row) *core.SendError {
	e := core.SendError{Code: r.text(), ProviderCode: r.text(), Message: r.text(), Fault: core.Fault(r.text())}
	if e == (core.SendError{}) {
		return nil
	}
	return &e
}

// attemptColumns are those of readAttempt. They have the same names in both tables that hold attempts.
const attemptColumns = `attempt, connector, outcome, ` + errorColumns + `, provider_ids, started_at, finished_at`

func readAttempt(r *row) core.Attempt {
	a := core.Attempt{Number: int(r.int()), Connector: core.ConnectorID(r.text()), Outcome: core.Outcome(r.text())}
	a.Error = readError(r)
	r.json(&a.ProviderIDs)
	a.StartedAt, a.FinishedAt = r.time(), r.time()
	return a
}

// int64s are ids as a bigint[] parameter takes them.
func int64s[T ~int64](ids []T) []int64 {
	list := make([]int64, len(ids))
	for i, id := range ids {
		list[i] = int64(id)
	}
	return list
}

// isException says whether message_exceptions lists a status.
func isException(s core.Status) bool {
	return slices.Contains([]core.Status{
		core.StatusScheduled, core.StatusUncertain, core.StatusFailed, core.StatusExpired, core.StatusCanceled, core.StatusUndelivered,
	}, s)
}

// exceptionStatuses is isException for SQL.
const exceptionStatuses = `('scheduled', 'uncertain', 'failed', 'expired', 'canceled', 'undelivered')`

// listExceptions puts messages that have a status into message_exceptions.
const listExceptions = `INSERT INTO message_exceptions (account_id, status, id)
	SELECT account_id, status, id FROM message_records WHERE id = ANY($1) AND status IN ` + exceptionStatuses + ` ON CONFLICT DO NOTHING`

// archive moves the latest attempt of messages from their rows into the history, where a row is about to hold
// something else. An accepted attempt had no error: what the row says came with a receipt.
func archive(ctx context.Context, q querier, tables *dated, ids []int64) error {
	_, err := exec(ctx, q, tables.sql(`WITH moved AS (
			INSERT INTO message_attempts (record_id, attempt, outcome, late, connector, provider_ids, segments, cost, `+errorColumns+`, started_at, finished_at)
			SELECT id, attempt, COALESCE(outcome, ''), false, connector,
				COALESCE(provider_ids, CASE WHEN provider_id IS NOT NULL THEN json_build_array(provider_id) END), segments, cost,
				CASE WHEN outcome IS DISTINCT FROM 'accepted' THEN error_code END, CASE WHEN outcome IS DISTINCT FROM 'accepted' THEN error_provider_code END,
				CASE WHEN outcome IS DISTINCT FROM 'accepted' THEN error_message END, CASE WHEN outcome IS DISTINCT FROM 'accepted' THEN error_fault END,
				started_at, finished_at
			FROM message_records WHERE id = ANY($1) AND started_at IS NOT NULL
			ON CONFLICT DO NOTHING RETURNING record_id)
		UPDATE message_records r SET started_at = NULL, finished_at = NULL, outcome = NULL FROM moved WHERE r.id = moved.record_id`), ids)
	return err
}

// setTimers makes the sweep look at messages when each is due. Open timers are for messages that are in no envelope
// although they are queued or being sent.
func setTimers(ctx context.Context, q querier, open bool, wakes map[time.Time][]int64) error {
	args := timerArgs(open, wakes)
	if args == nil {
		return nil
	}
	_, err := exec(ctx, q, insertTimers, args...)
	return err
}

const insertTimers = `INSERT INTO message_timers (wake_at, record_ids, open)
	SELECT w, r::bigint[], $3 FROM unnest($1::timestamptz[], $2::text[]) AS t(w, r)`

// timerArgs are the parameters of insertTimers, nil if there is nothing to wake. Messages of a time share rows of timerSize.
func timerArgs(open bool, wakes map[time.Time][]int64) []any {
	const timerSize = 100
	var times []time.Time
	var texts []string
	for wake, ids := range wakes {
		for part := range slices.Chunk(ids, timerSize) {
			times, texts = append(times, wake), append(texts, arrayText(part))
		}
	}
	if len(times) == 0 {
		return nil
	}
	return []any{times, texts, open}
}
