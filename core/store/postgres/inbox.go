package postgres

import (
	"context"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// InboundMessages implements store.Inbox.
func (s *Store) InboundMessages(ctx context.Context, f store.InboundFilter) ([]core.Inbound, error) {
	var connectors []string
	if f.Connectors != nil {
		connectors = make([]string, len(f.Connectors))
	}
	for i, id := range f.Connectors {
		connectors[i] = string(id)
	}
	var inbound []core.Inbound
	err := each(ctx, s.pool, func(r *row) error {
		m := core.Inbound{
			ID: r.int(), Connector: core.ConnectorID(r.text()), DedupeKey: r.text(), ProviderID: r.text(),
			From: r.text(), To: r.text(), Text: r.text(),
		}
		r.json(&m.Attributes)
		m.At, m.ReceivedAt = r.time(), r.time()
		inbound = append(inbound, m)
		return nil
	}, `SELECT id, connector, dedupe_key, provider_id, sender, recipient, content, attributes, happened_at, received_at
		FROM inbound_messages WHERE ($1::text[] IS NULL OR connector = ANY($1)) AND ($2::text IS NULL OR starts_with(connector, $2 || '/'))
		AND ($3::text IS NULL OR sender = $3) AND ($4::bigint IS NULL OR id < $4) ORDER BY id DESC LIMIT $5`,
		connectors, orNull(f.Channel), orNull(f.From), orNull(f.Before), f.Limit)
	return inbound, explain("list inbound messages", err)
}

// WaitingReceipts implements store.Inbox.
func (s *Store) WaitingReceipts(ctx context.Context, before int64, limit int) ([]store.WaitingReceipt, error) {
	var waiting []store.WaitingReceipt
	err := each(ctx, s.pool, func(r *row) error {
		w := store.WaitingReceipt{ID: r.int()}
		readReceipt(r, &w.Receipt)
		waiting = append(waiting, w)
		return nil
	}, "SELECT id, "+receiptColumns+" FROM receipts_waiting WHERE $1::bigint IS NULL OR id < $1 ORDER BY id DESC LIMIT $2", orNull(before), limit)
	return waiting, explain("list receipts that wait", err)
}
