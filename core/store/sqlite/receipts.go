package sqlite

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// SaveReceipts implements store.Receipts.
func (s *Store) SaveReceipts(ctx context.Context, receipts []core.Receipt) ([]store.Applied, error) {
	var applied []store.Applied
	err := s.write(ctx, "store receipts", len(receipts), func(c conn) error {
		applied = nil
		for i := range receipts {
			a, ok, err := saveReceipt(c, &receipts[i])
			if err != nil {
				return err
			}
			if ok {
				applied = append(applied, a)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return applied, nil
}

// saveReceipt stores a receipt and applies it if it is new and finds its message.
func saveReceipt(c conn, r *core.Receipt) (store.Applied, bool, error) {
	ref, found, err := findMessage(c, r)
	if err != nil {
		return store.Applied{}, false, err
	}
	fresh, err := insertReceipt(c, r, found)
	if err != nil || !fresh || !found {
		return store.Applied{}, false, err
	}
	applied, err := apply(c, *r, ref, r.ReceivedAt)
	return applied, true, err
}

const receiptColumns = `connector, dedupe_key, provider_id, record_id, attempt, status, ` + errorColumns + `, happened_at, received_at`

// insertReceipt says whether the receipt is not a repeat.
func insertReceipt(c conn, r *core.Receipt, matched bool) (bool, error) {
	changed, err := c.prepare(`INSERT INTO receipts (` + receiptColumns + `, matched)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connector, dedupe_key) DO NOTHING`).
		text(string(r.Connector)).textOrNull(r.DedupeKey).textOrNull(r.ProviderID).intOrNull(int64(r.Record)).
		intOrNull(int64(r.Attempt)).text(string(r.Status)).error(r.Error).time(r.At).time(r.ReceivedAt).bool(matched).run()
	return changed > 0, err
}

// waitingReceipt is a receipt that found no message when it came.
type waitingReceipt struct {
	id int64
	core.Receipt
}

// readWaiting reads the id and receiptColumns.
func readWaiting(r *row) waitingReceipt {
	w := waitingReceipt{id: r.int()}
	w.Connector, w.DedupeKey, w.ProviderID = core.ConnectorID(r.text()), r.text(), r.text()
	w.Record, w.Attempt, w.Status = core.RecordID(r.int()), int(r.int()), core.ReceiptStatus(r.text())
	w.Error = readError(r)
	w.At, w.ReceivedAt = r.time(), r.time()
	return w
}

// waitingReceipts returns the receipts that wait for an attempt or for one of the provider's ids, in the
// order in which they came.
func waitingReceipts(c conn, connector core.ConnectorID, record core.RecordID, attempt int, ids []string) ([]waitingReceipt, error) {
	var waiting []waitingReceipt
	collect := func(r *row) error {
		waiting = append(waiting, readWaiting(r))
		return nil
	}
	const query = "SELECT id, " + receiptColumns + " FROM receipts WHERE matched = 0 AND connector = ? AND "
	byRecord := c.prepare(query + "record_id = ? AND attempt = ?")
	if err := byRecord.text(string(connector)).int(int64(record)).int(int64(attempt)).each(collect); err != nil {
		return nil, err
	}
	byID := c.prepare(query + "provider_id = ? AND (record_id IS NULL OR record_id <> ? OR attempt IS NOT ?)")
	for _, id := range ids {
		err := byID.text(string(connector)).text(id).int(int64(record)).int(int64(attempt)).each(collect)
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(waiting, func(a, b waitingReceipt) int { return cmp.Compare(a.id, b.id) })
	return waiting, nil
}

// reference is the attempt that a receipt is about.
type reference struct {
	record     core.RecordID
	attempt    int
	parts      int
	connector  core.ConnectorID
	providerID string // "": the receipt is about the whole attempt
	// overrule: the message was queued again in this very transaction, and the receipt knows better.
	overrule bool
}

// findMessage finds the attempt that a receipt is about. An attempt that is still running is not found:
// what becomes of it, and how many parts it has, is known when its end is recorded.
func findMessage(c conn, r *core.Receipt) (reference, bool, error) {
	ref := reference{parts: 1, connector: r.Connector}
	if r.ProviderID != "" {
		found, err := c.prepare("SELECT record_id, attempt, parts FROM provider_refs WHERE connector = ? AND provider_id = ?").
			text(string(r.Connector)).text(r.ProviderID).first(func(x *row) {
			ref.record, ref.attempt, ref.parts = core.RecordID(x.int()), int(x.int()), int(x.int())
		})
		if err != nil || found {
			ref.providerID = r.ProviderID
			return ref, found, err
		}
	}
	if r.Record == 0 || r.Attempt == 0 {
		return ref, false, nil
	}
	connector, err := connectorOf(c, r.Record, r.Attempt)
	if err != nil || connector != r.Connector || connector == "" {
		return ref, false, err
	}
	running, err := c.prepare("SELECT 1 FROM message_records WHERE id = ? AND attempt = ? AND status = 'sending'").
		int(int64(r.Record)).int(int64(r.Attempt)).first(func(*row) {})
	ref.record, ref.attempt = r.Record, r.Attempt
	return ref, !running, err
}

// apply raises the status of a message as far as a receipt allows.
func apply(c conn, r core.Receipt, ref reference, now time.Time) (store.Applied, error) {
	a := store.Applied{Receipt: r, Record: ref.record, Attempt: ref.attempt}
	var latest int
	var outcome core.Outcome
	found, err := c.prepare("SELECT trace_id, account_id, status, attempt, outcome FROM message_records WHERE id = ?").
		int(int64(ref.record)).first(func(x *row) {
		a.TraceID, a.Account, a.Before = core.TraceID(x.text()), core.AccountID(x.int()), core.Status(x.text())
		latest, outcome = int(x.int()), core.Outcome(x.text())
	})
	if err != nil || !found {
		return a, err
	}
	status, err := wholeStatus(c, r.Status, ref)
	if err != nil {
		return a, err
	}
	if ref.overrule && a.Before == core.StatusQueued {
		a.Before = core.StatusSending
	}
	a.After = a.Before
	// That a former attempt did not arrive says nothing of the latest; that it did arrive does.
	if ref.attempt == latest || status != core.ReceiptUndelivered {
		a.After = a.Before.AfterReceipt(status)
	}
	if a.After == a.Before {
		return a, nil
	}
	return a, raise(c, &a, outcome, now)
}

// raise writes a status that a receipt brought, with the receipt's error.
func raise(c conn, a *store.Applied, outcome core.Outcome, now time.Time) error {
	if outcome != "" && outcome != core.OutcomeAccepted {
		if err := archive(c, a.Record); err != nil { // the error becomes the receipt's
			return err
		}
	}
	_, err := c.prepare(`UPDATE message_records SET status = ?, error_code = ?, error_provider_code = ?, error_message = ?,
		error_fault = ?, next_attempt_at = NULL, wake_at = NULL, lease_until = NULL, sent_at = IFNULL(sent_at, ?), updated_at = ?
		WHERE id = ?`).text(string(a.After)).error(a.Receipt.Error).time(now).time(now).int(int64(a.Record)).run()
	return err
}

// wholeStatus is what a receipt says of the whole message: one of several parts is delivered only
// when all are, and undelivered when one is.
func wholeStatus(c conn, status core.ReceiptStatus, ref reference) (core.ReceiptStatus, error) {
	if _, ok := status.Status(); !ok || ref.parts < 2 {
		return status, nil
	}
	if err := raisePart(c, status, ref); err != nil {
		return "", err
	}
	counts := map[core.ReceiptStatus]int{}
	err := c.prepare(`SELECT IFNULL(state, ''), COUNT(*) FROM provider_refs
		WHERE record_id = ? AND attempt = ? AND parts > 1 GROUP BY state`).int(int64(ref.record)).int(int64(ref.attempt)).
		each(func(r *row) error {
			state := core.ReceiptStatus(r.text())
			counts[state] = int(r.int())
			return nil
		})
	switch {
	case err != nil:
		return "", err
	case counts[core.ReceiptUndelivered] > 0:
		return core.ReceiptUndelivered, nil
	case counts[core.ReceiptRead] == ref.parts:
		return core.ReceiptRead, nil
	case counts[core.ReceiptRead]+counts[core.ReceiptDelivered] == ref.parts:
		return core.ReceiptDelivered, nil
	default:
		return core.ReceiptProgress, nil
	}
}

// raisePart remembers what was heard of a part. Like a message's, its state only rises.
func raisePart(c conn, status core.ReceiptStatus, ref reference) error {
	_, err := c.prepare(`UPDATE provider_refs SET state = ?1
		WHERE connector = ?2 AND provider_id = ?3 AND (state IS NULL OR ?1 = 'read' AND state = 'delivered')`).
		text(string(status)).text(string(ref.connector)).text(ref.providerID).run()
	return err
}

// SaveInbound implements store.Receipts.
func (s *Store) SaveInbound(ctx context.Context, inbound []core.Inbound) error {
	attributes := make([]string, len(inbound))
	for i := range inbound {
		var err error
		if attributes[i], err = toJSON(inbound[i].Attributes, len(inbound[i].Attributes)); err != nil {
			return err
		}
	}
	return s.write(ctx, "store inbound messages", len(inbound), func(c conn) error {
		insert := c.prepare(`INSERT INTO inbound_messages (connector, dedupe_key, provider_id, sender, recipient, content,
			attributes, happened_at, received_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (connector, dedupe_key) DO NOTHING`)
		for i := range inbound {
			m := &inbound[i]
			_, err := insert.text(string(m.Connector)).textOrNull(m.DedupeKey).textOrNull(m.ProviderID).text(m.From).text(m.To).
				text(m.Text).textOrNull(attributes[i]).time(m.At).time(m.ReceivedAt).run()
			if err != nil {
				return err
			}
		}
		return nil
	})
}
