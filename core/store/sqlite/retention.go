package sqlite

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// purgeMessages removes up to limit messages that are done and past their retention, with all that belongs to them.
func (s *Store) purgeMessages(c conn, now time.Time, limit int) (int, error) {
	if s.keep == 0 || limit <= 0 {
		return 0, nil
	}
	before := now.Add(-s.keep)
	var old []purgeable
	err := c.prepare(`SELECT id, connector, provider_id, provider_ids FROM message_records
		WHERE id < ? AND status NOT IN ('scheduled', 'queued', 'sending', 'uncertain') ORDER BY id LIMIT ?`).
		int(int64(core.FirstRecordID(before))).int(int64(limit)).each(func(r *row) error {
		p := purgeable{id: r.int(), connector: r.text(), providerIDs: []string{r.text()}}
		err := r.json(&p.providerIDs)
		old = append(old, p)
		return err
	})
	if err != nil {
		return 0, err
	}
	for i := range old {
		if err := old[i].purge(c); err != nil {
			return 0, err
		}
	}
	return len(old), purgeBeside(c, before, limit)
}

// purgeable is a message that goes.
type purgeable struct {
	id          int64
	connector   string
	providerIDs []string
}

func (p *purgeable) purge(c conn) error {
	for _, id := range p.providerIDs {
		_, err := c.prepare("DELETE FROM provider_refs WHERE connector = ? AND provider_id = ? AND record_id = ?").
			text(p.connector).text(id).int(p.id).run()
		if err != nil {
			return err
		}
	}
	for _, statement := range []string{
		"DELETE FROM message_attempts WHERE record_id = ?", "DELETE FROM message_contents WHERE id = ?", "DELETE FROM message_records WHERE id = ?",
	} {
		if _, err := c.prepare(statement).int(p.id).run(); err != nil {
			return err
		}
	}
	return nil
}

// purgeBeside removes what is told of messages that went: batches without any, and old receipts. Only the first rows
// are looked at, which are the oldest.
func purgeBeside(c conn, before time.Time, limit int) error {
	_, err := c.prepare(`DELETE FROM message_batches WHERE id IN (
		SELECT b.id FROM (SELECT id, accepted FROM message_batches WHERE id < ? ORDER BY id LIMIT ?) AS b
		WHERE NOT EXISTS (SELECT 1 FROM message_records r WHERE r.id > b.id AND r.id <= b.id + b.accepted))`).
		int(int64(core.FirstRecordID(before))).int(int64(limit)).run()
	if err != nil {
		return err
	}
	for _, table := range []string{"receipts", "inbound_messages"} {
		_, err := c.prepare(`DELETE FROM ` + table + ` WHERE id IN (
			SELECT id FROM (SELECT id, received_at FROM ` + table + ` ORDER BY id LIMIT ?) WHERE received_at < ?)`).
			int(int64(limit)).time(before).run()
		if err != nil {
			return err
		}
	}
	return nil
}
