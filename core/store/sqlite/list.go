package sqlite

import (
	"context"
	"strings"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// List implements store.Messages.
func (s *Store) List(ctx context.Context, account core.AccountID, f store.Filter) ([]core.Message, error) {
	var messages []core.Message
	read := func(r *row) error {
		messages = append(messages, core.Message{})
		return readRecord(r, &messages[len(messages)-1])
	}
	q := newListQuery(account, f)
	err := s.read(ctx, "list messages", func(c conn) error {
		if f.Recipient != "" {
			return c.snapshot(func() error { return listByRecipient(c, q, f, read) })
		}
		return q.statement(c, 0, f.Limit).each(read)
	})
	return messages, err
}

// listQuery is the query for a filter: conditions, and their values in the same order.
type listQuery struct {
	sql    strings.Builder
	values []any // int64 or string
}

func newListQuery(account core.AccountID, f store.Filter) *listQuery {
	q := &listQuery{}
	index, condition := listIndex(f)
	// The query names its index: SQLite keeps no statistics here, and with a wrong guess it would sort
	// what it can read in order.
	q.sql.WriteString("SELECT " + recordColumns + " FROM message_records r INDEXED BY " + index +
		" JOIN message_contents c ON c.id = r.id WHERE " + condition)
	q.where("r.account_id = ?", int64(account), true)
	q.where("r.recipient = ?", f.Recipient, f.Recipient != "")
	q.where("r.channel = ?", f.Channel, f.Channel != "")
	q.where("r.status = ?", string(f.Status), f.Status != "")
	q.where("r.template_id = ?", int64(f.Template), f.Template != 0)
	q.where("r.batch_id = ?", int64(f.Batch), f.Batch != 0)
	q.where("r.id > ?", int64(f.Batch), f.Batch != 0)
	q.where("r.id <= (SELECT id + accepted FROM message_batches WHERE id = ?)", int64(f.Batch), f.Batch != 0)
	q.where("r.id >= ?", int64(core.FirstRecordID(f.CreatedFrom)), !f.CreatedFrom.IsZero())
	q.where("r.id < ?", int64(before(f)), before(f) != 0)
	q.sql.WriteString(" ORDER BY r.id DESC LIMIT ?")
	return q
}

func (q *listQuery) where(condition string, value any, wanted bool) {
	if wanted {
		q.sql.WriteString(" AND " + condition)
		q.values = append(q.values, value)
	}
}

// statement binds the query. The first parameter of every condition from listIndex is the block.
func (q *listQuery) statement(c conn, block int64, limit int) *statement {
	s := c.prepare(q.sql.String()).int(block)
	for _, v := range q.values {
		switch v := v.(type) {
		case int64:
			s.int(v)
		case string:
			s.text(v)
		}
	}
	return s.int(int64(limit))
}

// before is the id that all of a list are below, 0 if there is none: of the cursor and the end of the
// time the lower one.
func before(f store.Filter) core.RecordID {
	if f.CreatedBefore.IsZero() {
		return f.Before
	}
	end := max(core.FirstRecordID(f.CreatedBefore), 1)
	if f.Before != 0 {
		end = min(end, f.Before)
	}
	return end
}

// listIndex chooses the index that leaves the fewest rows to read, and the condition by which SQLite sees
// that a partial one holds them.
func listIndex(f store.Filter) (index, condition string) {
	const all = "? IS NOT NULL"
	switch {
	case f.Recipient != "":
		return "message_records_recipient", "r.recipient_block = ?"
	case f.Batch != 0: // their ids follow one another
		return "message_records_account", all
	case f.Status == core.StatusQueued || f.Status == core.StatusSending:
		return "message_records_open", all + " AND r.status IN ('queued', 'sending')"
	case f.Status != "" && f.Status != core.StatusSent && !f.Status.Success():
		return "message_records_status",
			all + " AND (r.status = 'scheduled' OR r.status = 'uncertain' OR r.status = 'failed' OR r.status = 'expired'" +
				" OR r.status = 'canceled' OR r.status = 'undelivered')"
	case f.Template != 0:
		return "message_records_template", all
	default:
		return "message_records_account", all
	}
}
