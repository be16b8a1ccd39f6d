package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// How receipts and ends of attempts, which may come at once, find each other: a receipt whose attempt is not known
// yet is stored as waiting, and after that commit its attempt is looked for once more; an end of an attempt is
// stored, and after that commit the receipts that wait for it are looked for. So at least one sees the other. Who
// removes the row of a waiting receipt applies it, so that it is not both.

// arrival is a receipt on its way to its message.
type arrival struct {
	core.Receipt
	id    int64     // 0: not stored yet
	now   time.Time // when the message changes
	ref   reference
	found bool
}

// reference is the attempt that a receipt is about.
type reference struct {
	record  core.RecordID
	attempt int
	parts   int
	part    bool // the receipt is about one part, not about the whole attempt
	// overrule: the receipt waited for the end of the attempt. Where that queues the message again, the receipt
	// knows better.
	overrule bool
}

// SaveReceipts implements store.Receipts.
func (s *Store) SaveReceipts(ctx context.Context, receipts []core.Receipt) ([]store.Applied, error) {
	if len(receipts) == 0 {
		return nil, nil
	}
	var applied []store.Applied
	var waiting []arrival
	err := s.tx(ctx, "store receipts", func(tx pgx.Tx) error {
		arrivals := make([]arrival, len(receipts))
		for i := range receipts {
			arrivals[i] = arrival{Receipt: receipts[i], now: receipts[i].ReceivedAt}
		}
		if err := findAttempts(ctx, tx, arrivals); err != nil {
			return err
		}
		err := insertReceipts(ctx, tx, arrivals)
		if err != nil {
			return err
		}
		var found []arrival
		found, waiting = sortArrivals(arrivals)
		applied, err = apply(ctx, tx, found)
		return err
	})
	if err != nil {
		return nil, err
	}
	for i := range waiting {
		waiting[i].ref.overrule = true // else it would have been found above
	}
	late, err := s.match(ctx, waiting)
	if err != nil {
		// All receipts are stored, which is what the provider was promised. The next purge comes back to those
		// that were to be matched here.
		return applied, nil //nolint:nilerr // see above
	}
	return append(applied, late...), nil
}

// sortArrivals returns the new receipts that found their attempt, and those that wait for it.
func sortArrivals(arrivals []arrival) (found, waiting []arrival) {
	for i := range arrivals {
		switch {
		case arrivals[i].id == 0: // a repeat
		case arrivals[i].found:
			found = append(found, arrivals[i])
		default:
			waiting = append(waiting, arrivals[i])
		}
	}
	return found, waiting
}

// findAttempts finds the attempts that receipts are about. One that is still running is not found: what becomes of
// it, and how many parts it has, is known when its end is recorded.
func findAttempts(ctx context.Context, q querier, arrivals []arrival) error {
	connectors, providerIDs := make([]string, len(arrivals)), make([]*string, len(arrivals))
	records, numbers := make([]*int64, len(arrivals)), make([]*int64, len(arrivals))
	for i := range arrivals {
		a := &arrivals[i]
		connectors[i], providerIDs[i] = string(a.Connector), orNull(a.ProviderID)
		records[i], numbers[i] = orNull(int64(a.Record)), orNull(int64(a.Attempt))
	}
	return each(ctx, q, func(r *row) error {
		a := &arrivals[r.int()-1]
		a.found = true
		a.ref.record, a.ref.attempt, a.ref.parts, a.ref.part = core.RecordID(r.int()), int(r.int()), max(int(r.int()), 1), r.bool()
		return nil
	}, `SELECT i.n, COALESCE(p.record_id, a.record_id), COALESCE(p.attempt, i.attempt), p.parts, p.record_id IS NOT NULL
		FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS i(connector, provider_id, record_id, attempt, n)
		LEFT JOIN LATERAL (
			SELECT record_id, attempt, parts FROM provider_refs
			WHERE connector = i.connector AND provider_id = i.provider_id ORDER BY record_id DESC LIMIT 1) AS p ON true
		LEFT JOIN LATERAL (
			SELECT id FROM message_records
			WHERE id = i.record_id AND attempt = i.attempt AND connector = i.connector AND status <> 'sending' AND p.record_id IS NULL
			UNION ALL
			SELECT record_id FROM message_attempts
			WHERE record_id = i.record_id AND attempt = i.attempt AND connector = i.connector AND p.record_id IS NULL
			LIMIT 1) AS a(record_id) ON true
		WHERE p.record_id IS NOT NULL OR a.record_id IS NOT NULL`, connectors, providerIDs, records, numbers)
}

// receiptColumns are those of readReceipt, and of receiptArrays.
const receiptColumns = `connector, dedupe_key, provider_id, record_id, attempt, status, ` + errorColumns + `, happened_at, received_at`

func readReceipt(r *row, x *core.Receipt) {
	x.Connector, x.DedupeKey, x.ProviderID = core.ConnectorID(r.text()), r.text(), r.text()
	x.Record, x.Attempt, x.Status = core.RecordID(r.int()), int(r.int()), core.ReceiptStatus(r.text())
	x.Error = readError(r)
	x.At, x.ReceivedAt = r.time(), r.time()
}

// storeReceipts stores receipts that are no repeats, and those without an attempt a second time as waiting. They are
// written in the order of their keys, so that two gateways never wait for each other; their ids keep the order in
// which they came. Repeats of other days are looked for by OFFSET 0 one at a time, whatever the planner thinks of
// their number.
const storeReceipts = `WITH i AS MATERIALIZED (
		SELECT nextval('receipts_id_seq') AS id, (received_at AT TIME ZONE 'UTC')::date AS received_on, x.*
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
			$11::timestamptz[], $12::timestamptz[], $13::bool[]) WITH ORDINALITY AS x(` + receiptColumns + `, found, n)),
	fresh AS (
		INSERT INTO receipts (id, received_on, ` + receiptColumns + `)
		SELECT id, received_on, ` + receiptColumns + ` FROM i
		WHERE dedupe_key IS NULL OR NOT EXISTS (
			SELECT FROM receipts r WHERE r.connector = i.connector AND r.dedupe_key = i.dedupe_key OFFSET 0)
		ORDER BY connector, dedupe_key, n ON CONFLICT DO NOTHING RETURNING id),
	waiting AS (
		INSERT INTO receipts_waiting (id, ` + receiptColumns + `)
		SELECT id, ` + receiptColumns + ` FROM i WHERE NOT found AND id IN (SELECT id FROM fresh))
	SELECT n, id FROM i JOIN fresh USING (id)`

// insertReceipts gives the receipts that are no repeats their ids.
func insertReceipts(ctx context.Context, tx pgx.Tx, arrivals []arrival) error {
	var a receiptArrays
	for i := range arrivals {
		a.add(&arrivals[i])
	}
	return each(ctx, tx, func(r *row) error {
		arrivals[r.int()-1].id = r.int()
		return nil
	}, storeReceipts, a.args()...)
}

// receiptArrays are the parameters of storeReceipts.
type receiptArrays struct {
	connectors, statuses                   []string
	keys, providerIDs                      []*string
	records                                []*int64
	numbers                                []*int32
	codes, providerCodes, messages, faults []*string
	happened, received                     []*time.Time
	found                                  []bool
}

func (a *receiptArrays) args() []any {
	return []any{
		a.connectors, a.keys, a.providerIDs, a.records, a.numbers, a.statuses,
		a.codes, a.providerCodes, a.messages, a.faults, a.happened, a.received, a.found,
	}
}

func (a *receiptArrays) add(x *arrival) {
	a.connectors, a.keys, a.providerIDs = append(a.connectors, string(x.Connector)), append(a.keys, orNull(x.DedupeKey)), append(a.providerIDs, orNull(x.ProviderID))
	a.records, a.numbers = append(a.records, orNull(int64(x.Record))), append(a.numbers, orNull(int32(x.Attempt))) //nolint:gosec // a budget of hundreds
	a.statuses = append(a.statuses, string(x.Status))
	e := x.Error
	if e == nil {
		e = &core.SendError{}
	}
	a.codes, a.providerCodes = append(a.codes, orNull(e.Code)), append(a.providerCodes, orNull(e.ProviderCode))
	a.messages, a.faults = append(a.messages, orNull(e.Message)), append(a.faults, orNull(string(e.Fault)))
	a.happened, a.received = append(a.happened, at(x.At)), append(a.received, at(x.ReceivedAt))
	a.found = append(a.found, x.found)
}

// waiting returns waiting receipts, in the order in which they came.
func (s *Store) waiting(ctx context.Context, now time.Time, condition string, args ...any) ([]arrival, error) {
	var waiting []arrival
	err := each(ctx, s.pool, func(r *row) error {
		a := arrival{id: r.int(), now: now}
		readReceipt(r, &a.Receipt)
		waiting = append(waiting, a)
		return nil
	}, "SELECT id, "+receiptColumns+" FROM receipts_waiting WHERE "+condition, args...)
	return waiting, explain("look for waiting receipts", err)
}

// matchWaiting applies the receipts that came before the ends of their attempts were recorded. It runs after the
// commit of these. A receipt about an attempt that is to be repeated goes first: the provider knows better.
func (s *Store) matchWaiting(ctx context.Context, transitions []store.Transition, counted []bool, now time.Time) ([]store.Applied, error) {
	var providerIDs []string
	records := make([]int64, len(transitions))
	overrule := map[reference]bool{}
	for i := range transitions {
		t := &transitions[i]
		records[i] = int64(t.Record)
		if t.ExpectReceipts {
			providerIDs = append(providerIDs, t.ProviderIDs...)
		}
		if counted[i] && t.Status == core.StatusQueued {
			overrule[reference{record: t.Record, attempt: t.Attempt}] = true
		}
	}
	waiting, err := s.waiting(ctx, now, "provider_id = ANY($1) OR record_id = ANY($2) ORDER BY id", providerIDs, records)
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	if err := findAttempts(ctx, s.pool, waiting); err != nil {
		return nil, explain("look for waiting receipts", err)
	}
	for i := range waiting {
		ref := &waiting[i].ref
		ref.overrule = overrule[reference{record: ref.record, attempt: ref.attempt}]
	}
	return s.applyWaiting(ctx, waiting)
}

// rematchRows is how many waiting receipts a purge looks at again.
const rematchRows = 1000

// rematch applies waiting receipts whose attempt is known after all: a gateway died, or lost the database, between
// the commit and the look that follows it. Where more wait than it looks at, it begins anywhere, so that each gets
// its turn. What it applied is in no trace: nobody is there to hear of it.
func (s *Store) rematch(ctx context.Context, now time.Time) error {
	waiting, err := s.waiting(ctx, now, "true ORDER BY id LIMIT $1", rematchRows)
	if err == nil && len(waiting) == rematchRows {
		waiting, err = s.waiting(ctx, now, `id >= (SELECT min(id) + floor(random() * (max(id) - min(id)))::bigint FROM receipts_waiting)
			ORDER BY id LIMIT $1`, rematchRows)
	}
	if err != nil {
		return err
	}
	_, err = s.match(ctx, waiting)
	return err
}

// match applies those of the waiting receipts whose attempt is known by now.
func (s *Store) match(ctx context.Context, waiting []arrival) ([]store.Applied, error) {
	if len(waiting) == 0 {
		return nil, nil
	}
	if err := findAttempts(ctx, s.pool, waiting); err != nil {
		return nil, explain("look for waiting receipts", err)
	}
	return s.applyWaiting(ctx, waiting)
}

// applyWaiting applies those of the waiting receipts that found their attempt, unless somebody else did.
func (s *Store) applyWaiting(ctx context.Context, waiting []arrival) ([]store.Applied, error) {
	found, _ := sortArrivals(waiting)
	if len(found) == 0 {
		return nil, nil
	}
	var applied []store.Applied
	err := s.tx(ctx, "apply receipts", func(tx pgx.Tx) error {
		mine, err := take(ctx, tx, found)
		if err != nil {
			return err
		}
		applied, err = apply(ctx, tx, mine)
		return err
	})
	return applied, err
}

// take removes the rows of waiting receipts and returns those that were still there.
func take(ctx context.Context, tx pgx.Tx, waiting []arrival) ([]arrival, error) {
	ids, byID := make([]int64, len(waiting)), make(map[int64]*arrival, len(waiting))
	for i := range waiting {
		ids[i], byID[waiting[i].id] = waiting[i].id, &waiting[i]
	}
	taken := map[int64]bool{}
	err := each(ctx, tx, func(r *row) error {
		taken[r.int()] = true
		return nil
	}, `DELETE FROM receipts_waiting WHERE id IN (SELECT id FROM receipts_waiting WHERE id = ANY($1) ORDER BY id FOR UPDATE) RETURNING id`, ids)
	mine := make([]arrival, 0, len(taken))
	for i := range waiting {
		if taken[waiting[i].id] {
			mine = append(mine, waiting[i])
		}
	}
	return mine, err
}

// SaveInbound implements store.Receipts.
func (s *Store) SaveInbound(ctx context.Context, inbound []core.Inbound) error {
	n := len(inbound)
	if n == 0 {
		return nil
	}
	connectors, keys, providerIDs, attributes := make([]string, n), make([]*string, n), make([]*string, n), make([]*string, n)
	senders, recipients, contents := make([]string, n), make([]string, n), make([]string, n)
	happened, received := make([]*time.Time, n), make([]*time.Time, n)
	for i := range inbound {
		m := &inbound[i]
		connectors[i], keys[i], providerIDs[i] = string(m.Connector), orNull(m.DedupeKey), orNull(m.ProviderID)
		senders[i], recipients[i], contents[i] = m.From, m.To, m.Text
		happened[i], received[i] = at(m.At), at(m.ReceivedAt)
		var err error
		if attributes[i], err = toJSON(m.Attributes, len(m.Attributes)); err != nil {
			return err
		}
	}
	return s.tx(ctx, "store inbound messages", func(tx pgx.Tx) error {
		_, err := exec(ctx, tx, storeInbound, connectors, keys, providerIDs, senders, recipients, contents, attributes, happened, received)
		return err
	})
}

// storeInbound stores inbound messages as storeReceipts does receipts.
const storeInbound = `INSERT INTO inbound_messages (connector, dedupe_key, provider_id, sender, recipient, content, attributes,
		happened_at, received_at, received_on)
	SELECT connector, dedupe_key, provider_id, sender, recipient, content, attributes::json,
		happened_at, received_at, (received_at AT TIME ZONE 'UTC')::date
	FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[], $9::timestamptz[])
		WITH ORDINALITY AS i(connector, dedupe_key, provider_id, sender, recipient, content, attributes, happened_at, received_at, n)
	WHERE dedupe_key IS NULL OR NOT EXISTS (
		SELECT FROM inbound_messages m WHERE m.connector = i.connector AND m.dedupe_key = i.dedupe_key OFFSET 0)
	ORDER BY connector, dedupe_key, n ON CONFLICT DO NOTHING`
