package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// recordCall is one call of Record on its way into a statement.
type recordCall struct {
	transitions []store.Transition
	now         time.Time
	counted     []bool
}

func (c recordCall) rows() int { return len(c.transitions) }

// Record implements store.Dispatch. Receipts that waited are looked for after the results are committed: whoever
// stores a receipt does the same, so that of two that happen at once one sees the other.
func (s *Store) Record(ctx context.Context, transitions []store.Transition, now time.Time) ([]bool, []store.Applied, error) {
	for i := range transitions {
		if !core.StatusSending.CanBecome(transitions[i].Status) {
			return nil, nil, core.Errorf(core.KindInternal, "an attempt cannot end as %q", transitions[i].Status)
		}
	}
	c := recordCall{transitions: transitions, now: now, counted: make([]bool, len(transitions))}
	if err := s.records.do(ctx, c); err != nil {
		return nil, nil, unknown("record outcomes", err)
	}
	if err := s.keepLate(ctx, transitions, c.counted); err != nil {
		return nil, nil, err
	}
	applied, err := s.matchWaiting(ctx, transitions, c.counted, now)
	if err != nil {
		// What was recorded stays recorded; the purge looks for waiting receipts again.
		s.logger.WarnContext(ctx, "postgres: receipts that wait are matched later", "error", err)
	}
	return c.counted, applied, nil
}

// recordMessages moves messages on that still are at their transition's attempt ($1 to $20), remembers the provider's
// ids of those ($21 to $24), and sets timers. A queued message without a time is due at once: it is in no envelope,
// so only the sweep finds it. An uncertain one without a time is left to people.
const recordMessages = `WITH t AS (
		SELECT id, attempt, status, outcome, error_code, error_provider_code, error_message, error_fault, provider_id, provider_ids,
			segments, cost, doubtful, next_attempt_at, wake_at, started_at, finished_at, sent_at, updated_at, budget, n FROM unnest($1::bigint[], $2::int[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
			$9::text[], $10::text[], $11::int[], $12::text[], $13::bool[], $14::timestamptz[], $15::timestamptz[],
			$16::timestamptz[], $17::timestamptz[], $18::timestamptz[], $19::timestamptz[], $20::int[]) WITH ORDINALITY
			AS t(id, attempt, status, outcome, error_code, error_provider_code, error_message, error_fault,
				provider_id, provider_ids, segments, cost, doubtful, next_attempt_at, wake_at,
				started_at, finished_at, sent_at, updated_at, budget, n)),
	done AS (
		UPDATE message_records r SET status = t.status, outcome = t.outcome,
			error_code = t.error_code, error_provider_code = t.error_provider_code, error_message = t.error_message, error_fault = t.error_fault,
			provider_id = t.provider_id, provider_ids = t.provider_ids::json, segments = COALESCE(t.segments, r.segments), cost = t.cost,
			doubtful = r.doubtful OR t.doubtful, next_attempt_at = t.next_attempt_at,
			wake_at = CASE WHEN t.status = 'queued' THEN LEAST(t.wake_at, r.expire_at) ELSE t.wake_at END, lease_until = NULL,
			started_at = COALESCE(t.started_at, r.started_at), finished_at = t.finished_at, sent_at = COALESCE(t.sent_at, r.sent_at),
			updated_at = t.updated_at, budget = COALESCE(t.budget, r.budget)
		FROM t WHERE r.id = t.id AND r.attempt = t.attempt AND r.status IN ('sending', 'uncertain')
		RETURNING t.n, r.id, r.account_id, r.attempt, r.status, r.wake_at, r.connector),
	timers AS (
		INSERT INTO message_timers (wake_at, record_ids)
		SELECT wake_at, array_agg(id) FROM done WHERE wake_at IS NOT NULL GROUP BY wake_at),
	exceptions AS (
		INSERT INTO message_exceptions (account_id, status, id)
		SELECT account_id, status, id FROM done WHERE status IN ` + exceptionStatuses + ` ON CONFLICT DO NOTHING),
	refs AS (
		INSERT INTO provider_refs AS p (connector, provider_id, record_id, attempt, part, parts)
		SELECT DISTINCT ON (done.connector, x.provider_id, done.id) done.connector, x.provider_id, done.id, done.attempt, x.part, x.parts
		FROM unnest($21::bigint[], $22::text[], $23::smallint[], $24::smallint[]) AS x(n, provider_id, part, parts) JOIN done ON done.n = x.n
		ORDER BY done.connector, x.provider_id, done.id, x.part
		` + replaceRef + `)
	SELECT id FROM done`

// replaceRef lets a provider that uses an id again mean the later attempt.
const replaceRef = `ON CONFLICT (connector, provider_id, record_id) DO UPDATE
	SET attempt = excluded.attempt, part = excluded.part, parts = excluded.parts, state = NULL`

// recordArrays are the parameters of recordMessages.
type recordArrays struct {
	ids                                    []int64
	attempts                               []int32
	statuses                               []string
	outcomes                               []*string
	codes, providerCodes, messages, faults []*string
	providerID, providerIDs                []*string
	segments                               []*int32
	costs                                  []*string
	doubtful                               []bool
	next, wake, started, finished, sent    []*time.Time
	updated                                []time.Time
	budgets                                []*int32

	refN           []int64
	refID          []string
	refPart, refOf []int16
}

func (a *recordArrays) args() []any {
	return []any{
		a.ids, a.attempts, a.statuses, a.outcomes, a.codes, a.providerCodes, a.messages, a.faults,
		a.providerID, a.providerIDs, a.segments, a.costs, a.doubtful, a.next, a.wake,
		a.started, a.finished, a.sent, a.updated, a.budgets,
		a.refN, a.refID, a.refPart, a.refOf,
	}
}

// add takes the transitions of a call that acceptedRuns leaves.
func (a *recordArrays) add(c *recordCall, counted map[int64]*bool) {
	for i := range c.transitions {
		t := &c.transitions[i]
		if isPlain(t) {
			continue
		}
		counted[int64(t.Record)] = &c.counted[i]
		a.ids, a.attempts = append(a.ids, int64(t.Record)), append(a.attempts, int32(t.Attempt))
		a.statuses, a.outcomes = append(a.statuses, string(t.Status)), append(a.outcomes, orNull(string(t.Outcome)))
		a.addError(t.Error)
		a.addProviderIDs(t)
		a.segments = append(a.segments, orNull(int32(t.Segments)))
		a.costs, a.doubtful = append(a.costs, orNull(t.Cost)), append(a.doubtful, t.Doubtful)
		a.addTimes(t, c.now)
		a.budgets = append(a.budgets, orNull(int32(t.Budget)))
	}
}

func (a *recordArrays) addError(e *core.SendError) {
	if e == nil {
		e = &core.SendError{}
	}
	a.codes, a.providerCodes = append(a.codes, orNull(e.Code)), append(a.providerCodes, orNull(e.ProviderCode))
	a.messages, a.faults = append(a.messages, orNull(e.Message)), append(a.faults, orNull(string(e.Fault)))
}

// addProviderIDs writes the first id into a column of its own, and all of them only where there are several.
func (a *recordArrays) addProviderIDs(t *store.Transition) {
	var one, all *string
	if len(t.ProviderIDs) > 0 {
		one = orNull(t.ProviderIDs[0])
	}
	if len(t.ProviderIDs) > 1 {
		all = orNull(stringsJSON(t.ProviderIDs))
	}
	a.providerID, a.providerIDs = append(a.providerID, one), append(a.providerIDs, all)
	if !t.ExpectReceipts {
		return
	}
	for i, id := range t.ProviderIDs {
		a.refN, a.refID = append(a.refN, int64(len(a.ids))), append(a.refID, id)
		a.refPart, a.refOf = append(a.refPart, int16(i+1)), append(a.refOf, int16(len(t.ProviderIDs)))
	}
}

func (a *recordArrays) addTimes(t *store.Transition, now time.Time) {
	var next, wake, sent time.Time
	finished := t.FinishedAt
	if finished.IsZero() {
		finished = now
	}
	switch t.Status {
	case core.StatusQueued:
		if next = t.NextAttempt; next.IsZero() {
			next = now
		}
		wake = next
	case core.StatusUncertain:
		wake = t.NextAttempt
	case core.StatusSent:
		sent = finished
	}
	a.next, a.wake = append(a.next, at(next)), append(a.wake, at(wake))
	a.started, a.finished = append(a.started, at(t.StartedAt)), append(a.finished, at(finished))
	a.sent, a.updated = append(a.sent, at(sent)), append(a.updated, *at(now))
}

// recordAll runs calls of Record together. A message that is in them twice is left to a transaction for each: one
// statement changes a row only once.
func (s *Store) recordAll(ctx context.Context, calls []recordCall) error {
	for _, part := range apart(calls) {
		if err := s.recordApart(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// recordApart writes what went well in stretches and the rest one by one, in one transaction.
func (s *Store) recordApart(ctx context.Context, calls []recordCall) error {
	counted := map[int64]*bool{}
	var plain acceptedRuns
	var rest recordArrays
	for i := range calls {
		plain.add(&calls[i], counted)
		rest.add(&calls[i], counted)
	}
	err := s.runRecords(ctx, &plain, &rest, counted)
	for n := 1; s.worthRepeating(err) && n < attempts; n++ {
		err = s.runRecords(ctx, &plain, &rest, counted)
	}
	return err
}

func (s *Store) runRecords(ctx context.Context, plain *acceptedRuns, rest *recordArrays, counted map[int64]*bool) error {
	batch := &pgx.Batch{}
	if len(plain.first) > 0 {
		batch.Queue(s.days.of(plain.first, plain.last).sql(recordAccepted), plain.args()...)
	}
	if len(rest.ids) > 0 {
		batch.Queue(s.days.of(rest.ids).sql(recordMessages), rest.args()...)
	}
	for _, c := range counted {
		*c = false
	}
	results := s.pool.SendBatch(ctx, batch)
	var err error
	for range batch.Len() {
		err = errors.Join(err, eachResult(results, func(r *row) error {
			*counted[r.int()] = true
			return nil
		}))
	}
	return errors.Join(err, results.Close())
}

// apart splits calls so that no part has a message twice, and keeps their order.
func apart(calls []recordCall) [][]recordCall {
	seen := map[core.RecordID]struct{}{}
	var parts [][]recordCall
	var part []recordCall
	cut := func() {
		if len(part) > 0 {
			parts = append(parts, part)
		}
		part, seen = nil, map[core.RecordID]struct{}{}
	}
	for _, c := range calls {
		from := 0
		for i := range c.transitions {
			id := c.transitions[i].Record
			if _, twice := seen[id]; twice {
				part = append(part, recordCall{c.transitions[from:i], c.now, c.counted[from:i]})
				cut()
				from = i
			}
			seen[id] = struct{}{}
		}
		part = append(part, recordCall{c.transitions[from:], c.now, c.counted[from:]})
	}
	cut()
	return parts
}

// keepLate puts the ends of attempts that came too late into the history, unless the message already says the same of
// them, and remembers the provider's ids.
func (s *Store) keepLate(ctx context.Context, transitions []store.Transition, counted []bool) error {
	for i := range transitions {
		if counted[i] {
			continue
		}
		if err := s.keepEvidence(ctx, &transitions[i]); err != nil {
			return unknown("record late outcomes", err)
		}
	}
	return nil
}

// connectorOf is the connector of attempt $2 of message $1, NULL if there was no such attempt.
const connectorOf = `COALESCE((SELECT connector FROM message_records WHERE id = $1 AND attempt = $2),
	(SELECT connector FROM message_attempts WHERE record_id = $1 AND attempt = $2 AND connector IS NOT NULL LIMIT 1))`

func (s *Store) keepEvidence(ctx context.Context, t *store.Transition) error {
	ids, err := toJSON(t.ProviderIDs, len(t.ProviderIDs))
	if err != nil {
		return err
	}
	e := t.Error
	if e == nil {
		e = &core.SendError{}
	}
	_, err = exec(ctx, s.pool, `INSERT INTO message_attempts (record_id, attempt, outcome, late, connector, provider_ids, segments, cost,
			`+errorColumns+`, started_at, finished_at)
		SELECT $1, $2, $3, true, `+connectorOf+`, $4::json, $5, $6, $7, $8, $9, $10, $11, $12
		FROM message_records WHERE id = $1 AND NOT (attempt = $2 AND COALESCE(outcome, '') = $3)
		ON CONFLICT DO NOTHING`, int64(t.Record), t.Attempt, string(t.Outcome), ids, orNull(t.Segments), orNull(t.Cost),
		orNull(e.Code), orNull(e.ProviderCode), orNull(e.Message), orNull(string(e.Fault)), at(t.StartedAt), at(t.FinishedAt))
	if err != nil || !t.ExpectReceipts || len(t.ProviderIDs) == 0 {
		return err
	}
	_, err = exec(ctx, s.pool, `INSERT INTO provider_refs AS p (connector, provider_id, record_id, attempt, part, parts)
		SELECT DISTINCT ON (x.id) c.connector, x.id, $1, $2, x.n, $4 FROM (SELECT `+connectorOf+` AS connector) AS c, unnest($3::text[]) WITH ORDINALITY AS x(id, n)
		WHERE c.connector IS NOT NULL ORDER BY x.id, x.n `+replaceRef, int64(t.Record), t.Attempt, t.ProviderIDs, len(t.ProviderIDs))
	return err
}
