package postgres

import (
	"context"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// recentRows is how many of an account's newest messages are looked at for those that are queued or being sent.
	recentRows = 2000
	// idSkew is how far the time in an id may be from the message's created_at: ids are taken in blocks.
	idSkew = 2 * time.Second
)

// beginList begins a transaction in which the planner reads an index in its order wherever there is one, see listQuery,
// and which ends when a filter finds too little among too much.
const beginList = `BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
	SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_incremental_sort = off;
	SET LOCAL max_parallel_workers_per_gather = 0; SET LOCAL statement_timeout = '5s'`

// maxLists is how many lists are read at a time: what messages need comes first.
const maxLists = 4

// List implements store.Messages.
func (s *Store) List(ctx context.Context, account core.AccountID, f store.Filter) ([]core.Message, error) {
	select {
	case s.lists <- struct{}{}:
		defer func() { <-s.lists }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var messages []core.Message
	err := pgx.BeginTxFunc(ctx, s.pool, pgx.TxOptions{BeginQuery: beginList}, func(tx pgx.Tx) (err error) {
		messages, err = list(ctx, tx, newListQuery(account, f), f)
		return err
	})
	if err != nil {
		return nil, explain("list messages", err)
	}
	return messages, nil
}

// list chooses where to look: where the fewest messages are that the filter does not want.
func list(ctx context.Context, tx pgx.Tx, q *listQuery, f store.Filter) ([]core.Message, error) {
	switch {
	case f.Recipient != "":
		return q.read(ctx, tx, q.direct("recipient"))
	case f.Batch != 0:
		return q.read(ctx, tx, q.ofBatch())
	case isException(f.Status):
		return q.read(ctx, tx, q.exceptions())
	case f.Status == core.StatusQueued || f.Status == core.StatusSending:
		return listOpen(ctx, tx, q)
	case f.Template != 0:
		return q.read(ctx, tx, q.direct("template_id"))
	default:
		return q.read(ctx, tx, q.direct("account_id"))
	}
}

// listOpen lists what is queued or being sent. No index knows that, as every message passes through both. Mostly the
// account's newest messages are enough; else all that are in an envelope or have an open timer are looked up.
func listOpen(ctx context.Context, tx pgx.Tx, q *listQuery) ([]core.Message, error) {
	messages, err := q.read(ctx, tx, q.recent())
	if err != nil || len(messages) == q.limit {
		return messages, err
	}
	older, err := first(ctx, tx, func(*row) {}, "SELECT 1 FROM message_records r WHERE "+q.along("account_id")+
		" OFFSET "+strconv.Itoa(recentRows)+" LIMIT 1", q.args[:q.bounding]...)
	if err != nil || !older {
		return messages, err
	}
	return q.read(ctx, tx, q.open())
}

// listQuery is the query for a filter: the account and the range of ids, of which the partitions follow, and what
// else is asked of a message.
//
// Which index is read is not left to the planner, which plans once for all accounts: its guess is to read every
// message from the newest on until enough are found, or all of them. So the order asked for is one that only that index
// has, see along. Neither is the limit a parameter: one would be taken for a tenth of the table.
type listQuery struct {
	args     []any
	numbers  map[string]string // of the columns' parameters
	bounding int               // parameters up to here are account and range
	filters  []filter
	limit    int
}

// filter is what is asked of a column of a message.
type filter struct{ column, condition string }

// newListQuery makes the parts that queries are put together from. The range of ids is wider than that of the times
// by what these may differ.
func newListQuery(account core.AccountID, f store.Filter) *listQuery {
	q := &listQuery{limit: max(f.Limit, 0), numbers: map[string]string{}}
	from, end := int64(0), int64(math.MaxInt64)
	if !f.CreatedFrom.IsZero() {
		from = int64(core.FirstRecordID(f.CreatedFrom.Add(-idSkew)))
	}
	if !f.CreatedBefore.IsZero() {
		end = int64(core.FirstRecordID(f.CreatedBefore.Add(idSkew)))
	}
	if f.Before != 0 {
		end = min(end, int64(f.Before))
	}
	if f.Batch != 0 {
		from, end = max(from, int64(f.Batch)+1), min(end, int64(f.Batch)+batchSpan)
	}
	q.args = []any{from, end}
	q.filter("account_id", "=", int64(account), true)
	q.bounding = len(q.args)
	q.filter("created_at", ">=", at(f.CreatedFrom), !f.CreatedFrom.IsZero())
	q.filter("created_at", "<", at(f.CreatedBefore), !f.CreatedBefore.IsZero())
	q.filter("recipient", "=", f.Recipient, f.Recipient != "")
	q.filter("channel", "=", f.Channel, f.Channel != "")
	q.filter("status", "=", string(f.Status), f.Status != "")
	q.filter("template_id", "=", int64(f.Template), f.Template != 0)
	q.filter("batch_id", "=", int64(f.Batch), f.Batch != 0)
	if f.Batch != 0 {
		last := "(SELECT id + accepted FROM message_batches WHERE id = " + q.numbers["batch_id"] + ")"
		q.filters = append(q.filters, filter{"id", "id <= " + last})
	}
	return q
}

func (q *listQuery) filter(column, operator string, value any, wanted bool) {
	if !wanted {
		return
	}
	q.args = append(q.args, value)
	q.numbers[column] = "$" + strconv.Itoa(len(q.args))
	q.filters = append(q.filters, filter{column, column + " " + operator + " " + q.numbers[column]})
}

// read returns the messages that a query selects as r. Their metadata is looked up one by one, for which LIMIT sees,
// whatever the planner thinks of their number.
func (q *listQuery) read(ctx context.Context, tx pgx.Tx, from string) ([]core.Message, error) {
	var messages []core.Message
	err := each(ctx, tx, func(r *row) error {
		messages = append(messages, core.Message{})
		readRecord(r, &messages[len(messages)-1])
		readMetadata(r, &messages[len(messages)-1])
		return nil
	}, "SELECT "+recordColumns+metadataColumn+" FROM ("+from+") AS r LEFT JOIN LATERAL ("+
		"SELECT metadata FROM message_contents WHERE id = r.id LIMIT 1) AS c ON true ORDER BY r.id DESC", q.args...)
	return messages, err
}

// inRange bounds the ids of a table.
func inRange(table string) string { return table + ".id >= $1 AND " + table + ".id < $2" }

// where are the filters of messages r, but for that of a column.
func (q *listQuery) where(except string) string {
	conditions := []string{"true"}
	for _, f := range q.filters {
		if f.column != except {
			conditions = append(conditions, "r."+f.condition)
		}
	}
	return strings.Join(conditions, " AND ")
}

// along reads the index that has a column and then the id, from the newest on. Were the column compared by =, the
// planner would see that the id alone is the order, which the primary key has too. So it is one of an array of one; or,
// where the account comes before it in the index, compared together with the id.
func (q *listQuery) along(column string) string {
	c, n := "r."+column, q.numbers[column]
	one := c + " = ANY (ARRAY[" + n + "]::bigint[])"
	if column == "recipient" || column == "template_id" {
		one = "(" + c + ", r.id) >= (" + n + ", $1) AND (" + c + ", r.id) < (" + n + ", $2)"
	}
	return c + " IS NOT NULL AND " + one + " AND " + inRange("r") + " ORDER BY " + c + " DESC, r.id DESC"
}

// limited ends a query.
func limited(n int) string { return " LIMIT " + strconv.Itoa(n) }

// direct reads the messages themselves.
func (q *listQuery) direct(column string) string {
	return "SELECT * FROM message_records r WHERE " + q.where(column) + " AND " + q.along(column) + limited(q.limit) //nolint:unqueryvet // read names them
}

// ofBatch reads the messages of a batch, whose ids follow one another.
func (q *listQuery) ofBatch() string {
	return "SELECT * FROM message_records r WHERE " + q.where("") + " AND " + inRange("r") + " ORDER BY r.id DESC" + limited(q.limit) //nolint:unqueryvet // the same
}

// recent looks at the account's newest messages only.
func (q *listQuery) recent() string {
	return "SELECT * FROM (SELECT * FROM message_records r WHERE " + q.along("account_id") + limited(recentRows) + ") AS r WHERE " + //nolint:unqueryvet // the same
		q.where("account_id") + " ORDER BY r.id DESC" + limited(q.limit)
}

// exceptions reads the messages that had the status once.
func (q *listQuery) exceptions() string {
	return q.through("SELECT e.id FROM message_exceptions e WHERE e.account_id = " + q.numbers["account_id"] +
		" AND e.status = " + q.numbers["status"] + " AND " + inRange("e"))
}

// open reads those of the messages that are in an envelope or have an open timer.
func (q *listQuery) open() string {
	return q.through("SELECT DISTINCT o.id FROM (" +
		"SELECT unnest(record_ids) FROM outbox UNION ALL SELECT unnest(record_ids) FROM message_timers WHERE open) AS o(id) WHERE " + inRange("o") + " ORDER BY o.id DESC")
}

// through reads the messages that a query names as candidates, from the newest on until the page is full. LIMIT sees to
// that they are looked up one by one.
func (q *listQuery) through(candidates string) string {
	return "SELECT r.* FROM (" + candidates + ") AS e CROSS JOIN LATERAL (SELECT * FROM message_records r WHERE r.id = e.id AND " + //nolint:unqueryvet // the same
		q.where("") + " LIMIT 1) AS r ORDER BY e.id DESC" + limited(q.limit)
}
