package sqlite

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// Record implements store.Dispatch.
func (s *Store) Record(ctx context.Context, transitions []store.Transition, now time.Time) ([]bool, []store.Applied, error) {
	for i := range transitions {
		if !core.StatusSending.CanBecome(transitions[i].Status) {
			return nil, nil, core.Errorf(core.KindInternal, "an attempt cannot end as %q", transitions[i].Status)
		}
	}
	var counted []bool
	var applied []store.Applied
	err := s.write(ctx, "record outcomes", len(transitions), func(c conn) error {
		r := recorder{conn: c, now: now}
		if err := r.lookForWaiting(); err != nil {
			return err
		}
		counted = make([]bool, len(transitions))
		for i := range transitions {
			var err error
			if counted[i], err = r.record(&transitions[i]); err != nil {
				return err
			}
		}
		applied = r.applied
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return counted, applied, nil
}

// recorder records the ends of attempts within one transaction.
type recorder struct {
	conn    conn
	now     time.Time
	waiting bool // some receipt waits for its message
	applied []store.Applied
}

// lookForWaiting finds out whether any receipt waits at all: mostly none does, and then no message needs
// to be looked up among them.
func (r *recorder) lookForWaiting() (err error) {
	r.waiting, err = r.conn.prepare("SELECT 1 FROM receipts WHERE matched = 0 LIMIT 1").first(func(*row) {})
	return err
}

func (r *recorder) record(t *store.Transition) (bool, error) {
	counted, err := r.update(t)
	if err != nil {
		return false, err
	}
	if !counted {
		if err := r.keepEvidence(t); err != nil {
			return false, err
		}
	}
	if t.ExpectReceipts {
		if err := r.keepProviderIDs(t); err != nil {
			return false, err
		}
	}
	if r.waiting {
		err = r.applyWaiting(t, counted)
	}
	return counted, err
}

// A queued message without a time is due at once: it is in no envelope, so only the sweep finds it. An
// uncertain one without a time is left to people.
const updateRecord = `UPDATE message_records SET status = ?3, outcome = ?4,
		error_code = ?5, error_provider_code = ?6, error_message = ?7, error_fault = ?8,
		provider_id = ?9, provider_ids = ?10, segments = IFNULL(?11, segments), cost = ?12, doubtful = MAX(doubtful, ?13),
		next_attempt_at = ?14, wake_at = IIF(?3 = 'queued', MIN(?15, IFNULL(expire_at, ?15)), ?15), lease_until = NULL,
		started_at = IFNULL(?16, started_at), finished_at = ?17, sent_at = IFNULL(?18, sent_at), updated_at = ?19,
		budget = IFNULL(?20, budget)
	WHERE id = ?1 AND attempt = ?2 AND status IN ('sending', 'uncertain')`

// update moves the message on, if it still is at the transition's attempt.
func (r *recorder) update(t *store.Transition) (bool, error) {
	var next, wake, sent time.Time
	finished := t.FinishedAt
	if finished.IsZero() {
		finished = r.now
	}
	switch t.Status {
	case core.StatusQueued:
		if next = t.NextAttempt; next.IsZero() {
			next = r.now
		}
		wake = next
	case core.StatusUncertain:
		wake = t.NextAttempt
	case core.StatusSent:
		sent = finished
	}
	changed, err := r.conn.prepare(updateRecord).int(int64(t.Record)).int(int64(t.Attempt)).
		text(string(t.Status)).textOrNull(string(t.Outcome)).error(t.Error).
		textOrNull(firstOf(t.ProviderIDs)).textOrNull(partsJSON(t.ProviderIDs)).
		intOrNull(int64(t.Segments)).textOrNull(t.Cost).bool(t.Doubtful).time(next).time(wake).
		time(t.StartedAt).time(finished).time(sent).time(r.now).intOrNull(int64(t.Budget)).run()
	return changed > 0, err
}

// keepEvidence puts the end of an attempt that came too late into the history, unless the message
// already says the same of it.
func (r *recorder) keepEvidence(t *store.Transition) error {
	known := false
	var connector string
	found, err := r.conn.prepare("SELECT IIF(attempt = ?2, connector, NULL), attempt = ?2 AND IFNULL(outcome, '') = ?3 FROM message_records WHERE id = ?1").
		int(int64(t.Record)).int(int64(t.Attempt)).text(string(t.Outcome)).first(func(r *row) { connector, known = r.text(), r.bool() })
	if err != nil || !found || known {
		return err
	}
	ids, err := toJSON(t.ProviderIDs, len(t.ProviderIDs))
	if err != nil {
		return err
	}
	_, err = r.conn.prepare(`INSERT OR IGNORE INTO message_attempts (record_id, attempt, outcome, late, connector, provider_ids,
			segments, cost, ` + errorColumns + `, started_at, finished_at)
		VALUES (?1, ?2, ?3, 1, IFNULL(?4, (SELECT connector FROM message_attempts WHERE record_id = ?1 AND attempt = ?2)),
			?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)`).
		int(int64(t.Record)).int(int64(t.Attempt)).text(string(t.Outcome)).textOrNull(connector).textOrNull(ids).
		intOrNull(int64(t.Segments)).textOrNull(t.Cost).error(t.Error).time(t.StartedAt).time(t.FinishedAt).run()
	return err
}

// connectorOf returns the connector of an attempt, "" if there was no such attempt.
func connectorOf(c conn, id core.RecordID, attempt int) (core.ConnectorID, error) {
	var connector core.ConnectorID
	_, err := c.prepare(`SELECT connector FROM message_records WHERE id = ?1 AND attempt = ?2
		UNION ALL SELECT connector FROM message_attempts WHERE record_id = ?1 AND attempt = ?2`).
		int(int64(id)).int(int64(attempt)).first(func(r *row) { connector = core.ConnectorID(r.text()) })
	return connector, err
}

// keepProviderIDs remembers which message the provider means when it names one of its own ids.
func (r *recorder) keepProviderIDs(t *store.Transition) error {
	if len(t.ProviderIDs) == 0 {
		return nil
	}
	connector, err := connectorOf(r.conn, t.Record, t.Attempt)
	if err != nil || connector == "" {
		return err
	}
	insert := r.conn.prepare(`INSERT OR REPLACE INTO provider_refs (connector, provider_id, record_id, attempt, part, parts)
		VALUES (?, ?, ?, ?, ?, ?)`)
	for i, id := range t.ProviderIDs {
		_, err := insert.text(string(connector)).text(id).int(int64(t.Record)).int(int64(t.Attempt)).
			int(int64(i + 1)).int(int64(len(t.ProviderIDs))).run()
		if err != nil {
			return err
		}
	}
	return nil
}

// applyWaiting applies the receipts that came before the end of their attempt was recorded.
func (r *recorder) applyWaiting(t *store.Transition, counted bool) error {
	connector, err := connectorOf(r.conn, t.Record, t.Attempt)
	if err != nil || connector == "" {
		return err
	}
	ids := t.ProviderIDs
	if !t.ExpectReceipts {
		ids = nil
	}
	receipts, err := waitingReceipts(r.conn, connector, t.Record, t.Attempt, ids)
	if err != nil {
		return err
	}
	for i := range receipts {
		w := &receipts[i]
		ref, found, err := findMessage(r.conn, &w.Receipt)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		// The provider has spoken about an attempt that would be repeated: its word goes first.
		ref.overrule = counted && t.Status == core.StatusQueued
		applied, err := apply(r.conn, w.Receipt, ref, r.now)
		if err != nil {
			return err
		}
		if _, err := r.conn.prepare("UPDATE receipts SET matched = 1 WHERE id = ?").int(w.id).run(); err != nil {
			return err
		}
		r.applied = append(r.applied, applied)
	}
	return nil
}
