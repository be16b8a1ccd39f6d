package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// standing is where a message stands while receipts are applied to it.
type standing struct {
	trace   core.TraceID
	account core.AccountID
	status  core.Status
	attempt int
	outcome core.Outcome

	raised  bool
	archive bool // the latest attempt's error makes room for the receipt's
	cause   *core.SendError
	sent    time.Time // when it was first raised
	updated time.Time
}

// apply raises the statuses of messages as far as receipts that found them allow, one receipt after the other. The
// messages are locked first, which also keeps the states of their parts.
func (s *Store) apply(ctx context.Context, tx pgx.Tx, found []arrival) ([]store.Applied, error) {
	if len(found) == 0 {
		return nil, nil
	}
	messages, err := s.lockMessages(ctx, tx, found)
	if err != nil {
		return nil, err
	}
	parts, err := readParts(ctx, tx, found)
	if err != nil {
		return nil, err
	}
	var applied []store.Applied
	for i := range found {
		// A message past its retention may be gone, while the provider's id is not.
		if m := messages[found[i].ref.record]; m != nil {
			applied = append(applied, m.apply(&found[i], parts.whole(&found[i])))
		}
	}
	if err := parts.write(ctx, tx); err != nil {
		return nil, err
	}
	return applied, s.raise(ctx, tx, messages)
}

func (s *Store) lockMessages(ctx context.Context, tx pgx.Tx, found []arrival) (map[core.RecordID]*standing, error) {
	ids, messages := make([]int64, len(found)), make(map[core.RecordID]*standing, len(found))
	for i := range found {
		ids[i] = int64(found[i].ref.record)
	}
	err := each(ctx, tx, func(r *row) error {
		messages[core.RecordID(r.int())] = &standing{
			trace: core.TraceID(r.text()), account: core.AccountID(r.int()), status: core.Status(r.text()),
			attempt: int(r.int()), outcome: core.Outcome(r.text()),
		}
		return nil
	}, s.days.of(ids).sql("SELECT id, trace_id, account_id, status, attempt, outcome FROM message_records WHERE id = ANY($1) ORDER BY id FOR UPDATE"), ids)
	return messages, err
}

// apply raises the status by a receipt, which says status of the whole message.
func (m *standing) apply(a *arrival, status core.ReceiptStatus) store.Applied {
	before := m.status
	if a.ref.overrule && before == core.StatusQueued && a.ref.attempt == m.attempt {
		before = core.StatusSending
	}
	after := before
	// That a former attempt did not arrive says nothing of the latest; that it did arrive does.
	if a.ref.attempt == m.attempt || status != core.ReceiptUndelivered {
		after = before.AfterReceipt(status)
	}
	if after != before {
		m.raise(after, a)
	}
	return store.Applied{
		Receipt: a.Receipt, Record: a.ref.record, Attempt: a.ref.attempt,
		TraceID: m.trace, Account: m.account, Before: before, After: after,
	}
}

func (m *standing) raise(to core.Status, a *arrival) {
	if m.outcome != "" && m.outcome != core.OutcomeAccepted {
		m.archive, m.outcome = true, ""
	}
	if !m.raised {
		m.sent = a.now
	}
	m.status, m.raised, m.cause, m.updated = to, true, a.Error, a.now
}

// raise writes the statuses that receipts brought, with the receipts' errors.
func (s *Store) raise(ctx context.Context, tx pgx.Tx, messages map[core.RecordID]*standing) error {
	var u raisedArrays
	for id, m := range messages {
		if m.raised {
			u.add(int64(id), m)
		}
	}
	if len(u.ids) == 0 {
		return nil
	}
	if len(u.archive) > 0 {
		if err := archive(ctx, tx, s.days.of(u.archive), u.archive); err != nil {
			return err
		}
	}
	_, err := exec(ctx, tx, s.days.of(u.ids).sql(`UPDATE message_records r SET status = u.status, error_code = u.code, error_provider_code = u.provider_code,
			error_message = u.message, error_fault = u.fault, next_attempt_at = NULL, wake_at = NULL, lease_until = NULL,
			sent_at = COALESCE(r.sent_at, u.sent_at), updated_at = u.updated_at
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[], $8::timestamptz[])
			AS u(id, status, code, provider_code, message, fault, sent_at, updated_at)
		WHERE r.id = u.id`), u.ids, u.statuses, u.codes, u.providerCodes, u.texts, u.faults, u.sent, u.updated)
	if err != nil || len(u.undelivered) == 0 {
		return err
	}
	_, err = exec(ctx, tx, s.days.of(u.undelivered).sql(listExceptions), u.undelivered)
	return err
}

// raisedArrays are the parameters of raise.
type raisedArrays struct {
	ids                                 []int64
	statuses                            []string
	codes, providerCodes, texts, faults []*string
	sent, updated                       []*time.Time
	archive, undelivered                []int64
}

func (u *raisedArrays) add(id int64, m *standing) {
	e := m.cause
	if e == nil {
		e = &core.SendError{}
	}
	u.ids, u.statuses = append(u.ids, id), append(u.statuses, string(m.status))
	u.codes, u.providerCodes = append(u.codes, orNull(e.Code)), append(u.providerCodes, orNull(e.ProviderCode))
	u.texts, u.faults = append(u.texts, orNull(e.Message)), append(u.faults, orNull(string(e.Fault)))
	u.sent, u.updated = append(u.sent, at(m.sent)), append(u.updated, at(m.updated))
	if m.archive {
		u.archive = append(u.archive, id)
	}
	if m.status == core.StatusUndelivered {
		u.undelivered = append(u.undelivered, id)
	}
}

// partKey names a part as a provider does.
type partKey struct {
	record     core.RecordID
	connector  core.ConnectorID
	providerID string
}

// attemptKey names an attempt.
type attemptKey struct {
	record  core.RecordID
	attempt int
}

// partStates is what was heard of the parts of messages that have several.
type partStates struct {
	attempts map[attemptKey][]partKey
	states   map[partKey]core.ReceiptStatus
	changed  map[partKey]bool
}

// hasParts says whether a receipt is about one of several parts and tells something of it.
func (a *arrival) hasParts() bool {
	_, ok := a.Status.Status()
	return ok && a.ref.part && a.ref.parts > 1
}

// readParts reads the states of the parts that receipts are about, and of the other parts of these messages.
func readParts(ctx context.Context, tx pgx.Tx, found []arrival) (*partStates, error) {
	p := &partStates{attempts: map[attemptKey][]partKey{}, states: map[partKey]core.ReceiptStatus{}, changed: map[partKey]bool{}}
	var records []int64
	var numbers []int32
	for i := range found {
		key := attemptKey{found[i].ref.record, found[i].ref.attempt}
		if _, asked := p.attempts[key]; asked || !found[i].hasParts() {
			continue
		}
		p.attempts[key] = nil
		records, numbers = append(records, int64(key.record)), append(numbers, int32(key.attempt))
	}
	if len(records) == 0 {
		return p, nil
	}
	return p, each(ctx, tx, func(r *row) error {
		attempt := attemptKey{core.RecordID(r.int()), int(r.int())}
		part := partKey{attempt.record, core.ConnectorID(r.text()), r.text()}
		p.attempts[attempt], p.states[part] = append(p.attempts[attempt], part), core.ReceiptStatus(r.text())
		return nil
	}, `SELECT i.record_id, i.attempt, p.connector, p.provider_id, p.state FROM unnest($1::bigint[], $2::int[]) AS i(record_id, attempt)
		CROSS JOIN LATERAL (
			SELECT connector, provider_id, state FROM provider_refs
			WHERE record_id = i.record_id AND attempt = i.attempt AND parts > 1 OFFSET 0) AS p`, records, numbers)
}

// whole is what a receipt says of the whole message: one of several parts is delivered only when all are, and
// undelivered when one is.
func (p *partStates) whole(a *arrival) core.ReceiptStatus {
	if !a.hasParts() {
		return a.Status
	}
	p.raise(partKey{a.ref.record, a.Connector, a.ProviderID}, a.Status)
	counts := map[core.ReceiptStatus]int{}
	for _, part := range p.attempts[attemptKey{a.ref.record, a.ref.attempt}] {
		counts[p.states[part]]++
	}
	switch {
	case counts[core.ReceiptUndelivered] > 0:
		return core.ReceiptUndelivered
	case counts[core.ReceiptRead] == a.ref.parts:
		return core.ReceiptRead
	case counts[core.ReceiptRead]+counts[core.ReceiptDelivered] == a.ref.parts:
		return core.ReceiptDelivered
	default:
		return core.ReceiptProgress
	}
}

// raise remembers what was heard of a part. Like a message's, its state only rises.
func (p *partStates) raise(part partKey, to core.ReceiptStatus) {
	if state := p.states[part]; state == "" || to == core.ReceiptRead && state == core.ReceiptDelivered {
		p.states[part], p.changed[part] = to, true
	}
}

func (p *partStates) write(ctx context.Context, tx pgx.Tx) error {
	if len(p.changed) == 0 {
		return nil
	}
	var records []int64
	var connectors, providerIDs, states []string
	for part := range p.changed {
		records, connectors = append(records, int64(part.record)), append(connectors, string(part.connector))
		providerIDs, states = append(providerIDs, part.providerID), append(states, string(p.states[part]))
	}
	_, err := exec(ctx, tx, `UPDATE provider_refs p SET state = u.state
		FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS u(record_id, connector, provider_id, state)
		WHERE p.record_id = u.record_id AND p.connector = u.connector AND p.provider_id = u.provider_id`, records, connectors, providerIDs, states)
	return err
}
