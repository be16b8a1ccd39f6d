package sqlite

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// InboundMessages implements store.Inbox.
func (s *Store) InboundMessages(ctx context.Context, f store.InboundFilter) ([]core.Inbound, error) {
	connectors, err := connectorsJSON(f.Connectors)
	if err != nil {
		return nil, err
	}
	var inbound []core.Inbound
	err = s.read(ctx, "list inbound messages", func(c conn) error {
		return c.prepare(`SELECT id, connector, dedupe_key, provider_id, sender, recipient, content, attributes, happened_at, received_at
			FROM inbound_messages WHERE (?1 IS NULL OR connector IN (SELECT value FROM json_each(?1)))
			AND (?2 IS NULL OR substr(connector, 1, length(?2) + 1) = ?2 || '/') AND (?3 IS NULL OR sender = ?3) AND (?4 IS NULL OR id < ?4)
			ORDER BY id DESC LIMIT ?5`).
			textOrNull(connectors).textOrNull(f.Channel).textOrNull(f.From).intOrNull(f.Before).int(int64(f.Limit)).
			each(func(r *row) error {
				m := core.Inbound{
					ID: r.int(), Connector: core.ConnectorID(r.text()), DedupeKey: r.text(), ProviderID: r.text(),
					From: r.text(), To: r.text(), Text: r.text(),
				}
				if err := r.json(&m.Attributes); err != nil {
					return err
				}
				m.At, m.ReceivedAt = r.time(), r.time()
				inbound = append(inbound, m)
				return nil
			})
	})
	return inbound, err
}

// connectorsJSON is a JSON array, "" for all connectors.
func connectorsJSON(list []core.ConnectorID) (string, error) {
	if list == nil {
		return "", nil
	}
	return toJSON(list, 1)
}

// WaitingReceipts implements store.Inbox.
func (s *Store) WaitingReceipts(ctx context.Context, before int64, limit int) ([]store.WaitingReceipt, error) {
	var waiting []store.WaitingReceipt
	err := s.read(ctx, "list receipts that wait", func(c conn) error {
		return c.prepare("SELECT id, " + receiptColumns + ` FROM receipts INDEXED BY receipts_waiting_age WHERE matched = 0 AND (?1 IS NULL OR id < ?1)
			ORDER BY id DESC LIMIT ?2`).intOrNull(before).int(int64(limit)).each(func(r *row) error {
			w := readWaiting(r)
			waiting = append(waiting, store.WaitingReceipt{ID: w.id, Receipt: w.Receipt})
			return nil
		})
	})
	return waiting, err
}
