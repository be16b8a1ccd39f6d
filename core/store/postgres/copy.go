package postgres

import (
	"bytes"
	"context"
	"encoding/binary"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
)

// copyRows builds rows in the binary format of COPY, see
// https://www.postgresql.org/docs/current/sql-copy.html#id-1.9.55.9.4: a message takes some forty values, and
// nothing takes them in for less.
type copyRows struct {
	buf   []byte
	count int
}

// newCopyRows begins with the header: signature, flags, length of the extension.
func newCopyRows(room int) *copyRows {
	c := &copyRows{buf: make([]byte, 0, room)}
	c.buf = append(c.buf, "PGCOPY\n\xff\r\n\x00\x00\x00\x00\x00\x00\x00\x00\x00"...)
	return c
}

// row begins a row.
func (c *copyRows) row(columns int) *copyRows {
	c.count++
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(columns))
	return c
}

// length begins a value.
func (c *copyRows) length(n int) { c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(n)) }

func (c *copyRows) null() *copyRows {
	c.buf = append(c.buf, 0xff, 0xff, 0xff, 0xff)
	return c
}

// int8 writes a bigint.
func (c *copyRows) int8(v int64) *copyRows {
	c.length(8)
	c.buf = binary.BigEndian.AppendUint64(c.buf, uint64(v))
	return c
}

// int8OrNull writes a bigint, NULL for 0.
func (c *copyRows) int8OrNull(v int64) *copyRows {
	if v == 0 {
		return c.null()
	}
	return c.int8(v)
}

// int4 writes an integer.
func (c *copyRows) int4(v int) *copyRows {
	c.length(4)
	c.buf = binary.BigEndian.AppendUint32(c.buf, uint32(v))
	return c
}

// int4OrNull writes an integer, NULL for 0.
func (c *copyRows) int4OrNull(v int) *copyRows {
	if v == 0 {
		return c.null()
	}
	return c.int4(v)
}

// int2 writes a smallint.
func (c *copyRows) int2(v int) *copyRows {
	c.length(2)
	c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(v))
	return c
}

// text writes a text, or a json.
func (c *copyRows) text(v string) *copyRows {
	c.length(len(v))
	c.buf = append(c.buf, v...)
	return c
}

// textOrNull writes a text, NULL for "".
func (c *copyRows) textOrNull(v string) *copyRows {
	if v == "" {
		return c.null()
	}
	return c.text(v)
}

// jsonOrNull writes what toJSON returned.
func (c *copyRows) jsonOrNull(v *string) *copyRows {
	if v == nil {
		return c.null()
	}
	return c.text(*v)
}

// time writes a timestamptz, to the millisecond, NULL for the zero time.
func (c *copyRows) time(t time.Time) *copyRows {
	if t.IsZero() {
		return c.null()
	}
	return c.int8(t.Truncate(time.Millisecond).UnixMicro() - epoch)
}

// copyTo writes the rows to a table.
func (c *copyRows) copyTo(ctx context.Context, tx pgx.Tx, columns string) error {
	if c.count == 0 {
		return nil
	}
	c.buf = append(c.buf, 0xff, 0xff) // the trailer
	_, err := tx.Conn().PgConn().CopyFrom(ctx, bytes.NewReader(c.buf), "COPY "+columns+" FROM STDIN (FORMAT binary)")
	c.buf = c.buf[:len(c.buf)-2] // the transaction may run again
	return err
}

const recordsCopy = `message_records (id, account_id, batch_id, template_id, created_at, updated_at, next_attempt_at, expire_at, wake_at,
	budget, segments, lane, priority, status, channel, trace_id, recipient, recipient_given, pinned_connector)`

// record writes a row of recordsCopy.
func (c *copyRows) record(account core.AccountID, m *core.Message, status core.Status, wake time.Time) {
	const columns = 19
	c.row(columns).int8(int64(m.ID)).int8(int64(account)).int8OrNull(int64(m.Batch)).int8OrNull(int64(m.Template)).
		time(m.CreatedAt).time(m.CreatedAt).time(m.NextAttempt).time(m.ExpireAt).time(wake).
		int4(m.Budget).int4OrNull(m.Segments).int2(int(m.Lane())).int2(int(m.Priority)).
		text(string(status)).text(m.Channel).text(string(m.TraceID)).text(m.Recipient).textOrNull(m.RecipientGiven).textOrNull(string(m.Pinned))
}

const contentsCopy = `message_contents (id, metadata, subject, content, html, attributes, provider_template, attachments)`

// content writes a row of contentsCopy.
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
	if m.Content.ProviderTemplate != nil {
		if template, err = toJSON(m.Content.ProviderTemplate, 1); err != nil {
			return err
		}
	}
	c.row(columns).int8(int64(m.ID)).jsonOrNull(metadata).textOrNull(m.Content.Subject).textOrNull(m.Content.Text).
		textOrNull(m.Content.HTML).jsonOrNull(attributes).jsonOrNull(template).jsonOrNull(attachments)
	return nil
}
