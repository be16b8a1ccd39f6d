package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// copyRows builds rows in the binary format of COPY, see
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.4: a message takes some forty values, and
// nothing takes them in for less. Few rows are inserted from arrays, which have the same values in another order.
type copyRows struct {
	buf   []byte
	count int
	types []uint32 // of the columns
}

// copyHeader is what rows begin with: signature, flags, length of the extension.
const copyHeader = "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"

func newCopyRows(room int) *copyRows {
	c := &copyRows{buf: make([]byte, 0, len(copyHeader)+room)}
	c.buf = append(c.buf, copyHeader...)
	return c
}

// row begins a row.
func (c *copyRows) row(columns int) *copyRows {
	c.count++
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(columns))
	return c
}

// value begins a value. The first row tells the types of all.
func (c *copyRows) value(oid uint32, size int) {
	if c.count == 1 {
		c.types = append(c.types, oid)
	}
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(size))
}

func (c *copyRows) null(oid uint32) *copyRows {
	const size = 0xffffffff
	c.value(oid, size)
	return c
}

// int8 writes a bigint.
func (c *copyRows) int8(v int64) *copyRows {
	c.value(pgtype.Int8OID, 8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
	return c
}

// int8OrNull writes a bigint, NULL for 0.
func (c *copyRows) int8OrNull(v int64) *copyRows {
	if v == 0 {
		return c.null(pgtype.Int8OID)
	}
	return c.int8(v)
}

// int4 writes an integer.
func (c *copyRows) int4(v int) *copyRows {
	c.value(pgtype.Int4OID, 4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(v))
	return c
}

// int4OrNull writes an integer, NULL for 0.
func (c *copyRows) int4OrNull(v int) *copyRows {
	if v == 0 {
		return c.null(pgtype.Int4OID)
	}
	return c.int4(v)
}

// int2 writes a smallint.
func (c *copyRows) int2(v int) *copyRows {
	c.value(pgtype.Int2OID, 2)
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(v))
	return c
}

// text writes a text.
func (c *copyRows) text(v string) *copyRows {
	c.value(pgtype.TextOID, len(v))
	c.buf = append(c.buf, v...)
	return c
}

// textOrNull writes a text, NULL for "".
func (c *copyRows) textOrNull(v string) *copyRows {
	if v == "" {
		return c.null(pgtype.TextOID)
	}
	return c.text(v)
}

// blob writes a bytea.
func (c *copyRows) blob(v []byte) *copyRows {
	c.value(pgtype.ByteaOID, len(v))
	c.buf = append(c.buf, v...)
	return c
}

// jsonOrNull writes what toJSON returned.
func (c *copyRows) jsonOrNull(v *string) *copyRows {
	if v == nil {
		return c.null(pgtype.JSONOID)
	}
	c.value(pgtype.JSONOID, len(*v))
	c.buf = append(c.buf, *v...)
	return c
}

// time writes a timestamptz, to the millisecond, NULL for the zero time.
func (c *copyRows) time(t time.Time) *copyRows {
	if t.IsZero() {
		return c.null(pgtype.TimestamptzOID)
	}
	c.value(pgtype.TimestamptzOID, 8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(t.Truncate(time.Millisecond).UnixMicro()-epoch))
	return c
}

// queue adds a statement that inserts the rows, an array for each column, to a batch.
func (c *copyRows) queue(batch *pgx.Batch, insert string) {
	if c.count > 0 {
		batch.Queue(insert, c.arrays()...)
	}
}

// copyTo copies the rows into a table.
func (c *copyRows) copyTo(ctx context.Context, tx pgx.Tx, table string) error {
	if c.count == 0 {
		return nil
	}
	c.buf = append(c.buf, 0xff, 0xff) // the trailer
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.buf), "COPY "+table+" FROM STDIN (FORMAT binary)")
	c.buf = c.buf[:len(c.buf)-2] // the transaction may run again
	return err
}

const (
	newRecordColumns = `id, account_id, batch_id, template_id, created_at, updated_at, next_attempt_at, expire_at, wake_at,
	budget, segments, lane, priority, status, channel, trace_id, recipient, recipient_given, pinned_connector`
	recordsTable  = `message_records (` + newRecordColumns + `)`
	insertRecords = `INSERT INTO ` + recordsTable + ` SELECT ` + newRecordColumns + ` FROM unnest(
		$1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[], $9::timestamptz[],
		$10::integer[], $11::integer[], $12::smallint[], $13::smallint[], $14::text[], $15::text[], $16::text[], $17::text[], $18::text[], $19::text[]
	) AS r(` + newRecordColumns + `)`
)

// record writes a row of newRecordColumns.
func (c *copyRows) record(account core.AccountID, m *core.Message, status core.Status, wake time.Time) {
	const columns = 19
	c.row(columns).int8(int64(m.ID)).int8(int64(account)).int8OrNull(int64(m.Batch)).int8OrNull(int64(m.Template)).
		time(m.CreatedAt).time(m.CreatedAt).time(m.NextAttempt).time(m.ExpireAt).time(wake).
		int4(m.Budget).int4OrNull(m.Segments).int2(int(m.Lane())).int2(int(m.Priority)).
		text(string(status)).text(m.Channel).text(string(m.TraceID)).text(m.Recipient).textOrNull(m.RecipientGiven).textOrNull(string(m.Pinned))
}

const (
	newContentColumns = `id, metadata, subject, content, html, attributes, provider_templates, attachments`
	contentsTable     = `message_contents (` + newContentColumns + `)`
	insertContents    = `INSERT INTO ` + contentsTable + ` SELECT ` + newContentColumns + ` FROM unnest(
		$1::bigint[], $2::json[], $3::text[], $4::text[], $5::text[], $6::json[], $7::json[], $8::json[]) AS r(` + newContentColumns + `)`
)

// content writes a row of newContentColumns.
func (c *copyRows) content(m *core.Message) error {
	const columns = 8
	metadata, err := toJSON(m.Metadata, len(m.Metadata))
	if err != nil {
		return err
	}
	attributes, err := toJSON(m.Content.Attributes, len(m.Content.Attributes))
	if err != nil {
		return err
	}
	attachments, err := toJSON(m.Content.Attachments, len(m.Content.Attachments))
	if err != nil {
		return err
	}
	var template *string
	if len(m.Content.ProviderTemplates) > 0 {
		if template, err = toJSON(m.Content.ProviderTemplates, 1); err != nil {
			return err
		}
	}
	c.row(columns).int8(int64(m.ID)).jsonOrNull(metadata).textOrNull(m.Content.Subject).textOrNull(m.Content.Text).
		textOrNull(m.Content.HTML).jsonOrNull(attributes).jsonOrNull(template).jsonOrNull(attachments)
	return nil
}

const (
	newKeyColumns = `account_id, key, body_hash, status, response, expires_at`
	insertKeys    = `INSERT INTO idempotency_keys (` + newKeyColumns + `) SELECT ` + newKeyColumns + ` FROM unnest(
		$1::bigint[], $2::text[], $3::bytea[], $4::integer[], $5::bytea[], $6::timestamptz[]) AS r(` + newKeyColumns + `)`
)

// key writes a row of newKeyColumns.
func (c *copyRows) key(k *store.IdempotencyRecord) {
	const columns = 6
	c.row(columns).int8(int64(k.Account)).text(k.Key).blob(k.BodyHash[:]).int4(k.Status).blob(k.Response).time(k.ExpiresAt)
}
