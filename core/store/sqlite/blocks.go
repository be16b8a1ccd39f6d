package sqlite

import (
	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// blockRows is how many messages share a block of the index by recipient. Larger blocks make more pages
// change with each commit, smaller ones make a list look into more of them.
const blockRows = 8192

// blocks numbers messages off in blocks that never decrease with the id: see message_records_recipient.
type blocks struct {
	current int64
	rows    int           // in the current block, since the store was opened
	highest core.RecordID // that was given a block
}

// resume goes on after the blocks that the database has.
func (b *blocks) resume(c conn) error {
	_, err := c.prepare("SELECT id, recipient_block FROM message_records ORDER BY id DESC LIMIT 1").first(func(r *row) {
		b.highest, b.current = core.RecordID(r.int()), r.int()+1
	})
	return err
}

// of returns the block of a new message. One that comes after a higher id was stored gets the block of
// the message below it.
func (b *blocks) of(c conn, id core.RecordID) (int64, error) {
	if id <= b.highest {
		return blockBelow(c, id)
	}
	b.highest = id
	if b.rows++; b.rows > blockRows {
		b.current, b.rows = b.current+1, 1
	}
	return b.current, nil
}

// blockBelow is the block of the message with the highest id below one.
func blockBelow(c conn, id core.RecordID) (int64, error) {
	var block int64
	_, err := c.prepare("SELECT recipient_block FROM message_records WHERE id < ? ORDER BY id DESC LIMIT 1").
		int(int64(id)).first(func(r *row) { block = r.int() })
	return block, err
}

// listByRecipient lists messages block by block until the list is full.
func listByRecipient(c conn, q *listQuery, f store.Filter, read func(*row) error) error {
	end := before(f)
	if end == 0 {
		end = 1 << 53 // above all ids
	}
	block, err := blockBelow(c, end)
	if err != nil {
		return err
	}
	last := int64(0)
	if !f.CreatedFrom.IsZero() {
		if last, err = blockBelow(c, core.FirstRecordID(f.CreatedFrom)); err != nil {
			return err
		}
	}
	for left := f.Limit; block >= last && left > 0; block-- {
		err := q.statement(c, block, left).each(func(r *row) error {
			left--
			return read(r)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
