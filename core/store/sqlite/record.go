package sqlite

import "github.com/pigeonry/pigeonry/core"

// What is read of a message: the columns and their scanner are changed together.

// recordColumns are those of readRecord, from message_records r and message_contents c.
const recordColumns = `r.id, r.trace_id, r.account_id, r.batch_id, r.template_id, r.channel, r.priority,
	r.recipient, r.recipient_given, r.pinned_connector, r.status, r.attempt, r.budget, r.connector, r.outcome, r.doubtful,
	r.provider_id, r.segments, r.error_code, r.error_provider_code, r.error_message, r.error_fault,
	r.next_attempt_at, r.expire_at, r.lease_until, r.created_at, r.updated_at, r.sent_at, r.started_at, c.metadata`

const fromRecords = ` FROM message_records r JOIN message_contents c ON c.id = r.id `

func readRecord(r *row, m *core.Message) error {
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
	return r.json(&m.Metadata)
}

// contentColumns follow recordColumns where the content is wanted.
const contentColumns = `, c.subject, c.content, c.html, c.attributes, c.provider_templates, c.attachments`

func readContent(r *row, content *core.Content) error {
	content.Subject, content.Text, content.HTML = r.text(), r.text(), r.text()
	if err := r.json(&content.Attributes); err != nil {
		return err
	}
	if err := r.json(&content.ProviderTemplates); err != nil {
		return err
	}
	return r.json(&content.Attachments)
}

// errorColumns are those of readError and bindError.
const errorColumns = "error_code, error_provider_code, error_message, error_fault"

func readError(r *row) *core.SendError {
	e := core.SendError{Code: r.text(), ProviderCode: r.text(), Message: r.text(), Fault: core.Fault(r.text())}
	if e == (core.SendError{}) {
		return nil
	}
	return &e
}

func (s *statement) error(e *core.SendError) *statement {
	if e == nil {
		e = &core.SendError{}
	}
	return s.textOrNull(e.Code).textOrNull(e.ProviderCode).textOrNull(e.Message).textOrNull(string(e.Fault))
}

// attemptColumns are those of readAttempt. They have the same names in both tables that hold attempts.
const attemptColumns = `attempt, connector, outcome, ` + errorColumns + `, provider_ids, started_at, finished_at`

func readAttempt(r *row) (core.Attempt, error) {
	a := core.Attempt{Number: int(r.int()), Connector: core.ConnectorID(r.text()), Outcome: core.Outcome(r.text())}
	a.Error = readError(r)
	err := r.json(&a.ProviderIDs)
	a.StartedAt, a.FinishedAt = r.time(), r.time()
	return a, err
}

// partsJSON is what the column provider_ids of a message holds: NULL unless there are several parts, as
// a single id has a column of its own.
func partsJSON(ids []string) string {
	if len(ids) < 2 {
		return ""
	}
	return stringsJSON(ids)
}

// firstOf returns the first id, "" if there is none.
func firstOf(ids []string) string {
	if len(ids) == 0 {
		return ""
	}
	return ids[0]
}

// archive moves the latest attempt of a message from its row into the history, where the row is about
// to hold something else. An accepted attempt had no error: what the row says came with a receipt.
func archive(c conn, id core.RecordID) error {
	changed, err := c.prepare(`INSERT OR IGNORE INTO message_attempts (record_id, attempt, outcome, late, connector,
			provider_ids, segments, cost, ` + errorColumns + `, started_at, finished_at)
		SELECT id, attempt, IFNULL(outcome, ''), 0, connector,
			IFNULL(provider_ids, CASE WHEN provider_id IS NOT NULL THEN json_array(provider_id) END), segments, cost,
			IIF(outcome = 'accepted', NULL, error_code), IIF(outcome = 'accepted', NULL, error_provider_code),
			IIF(outcome = 'accepted', NULL, error_message), IIF(outcome = 'accepted', NULL, error_fault),
			started_at, finished_at
		FROM message_records WHERE id = ? AND started_at IS NOT NULL`).int(int64(id)).run()
	if err != nil || changed == 0 {
		return err
	}
	_, err = c.prepare("UPDATE message_records SET started_at = NULL, finished_at = NULL, outcome = NULL WHERE id = ?").
		int(int64(id)).run()
	return err
}
