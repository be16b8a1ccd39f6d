package postgres

import (
	"context"
	"math"
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
		applied, err = s.apply(ctx, tx, found)
		return err
	})
	if err != nil {
		return nil, err
	}
	// What is found now was recorded in between, so that the receipt did wait for it.
	late, err := s.match(ctx, waiting, func(reference) bool { return true })
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

// findAttempts finds the attempts that receipts are about: by the provider's id, mostly of a message of the last day,
// or by our own reference.
func findAttempts(ctx context.Context, q querier, arrivals []arrival) error {
	var newest time.Time
	for i := range arrivals {
		newest = later(newest, arrivals[i].ReceivedAt)
	}
	recent, end := int64(core.FirstRecordID(newest.Add(-day))), int64(core.FirstRecordID(newest.Add(time.Hour)))
	if err := findByProvider(ctx, q, arrivals, recent, end); err != nil {
		return err
	}
	if err := findByProvider(ctx, q, arrivals, 0, math.MaxInt64); err != nil {
		return err
	}
	return findByReference(ctx, q, arrivals)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// providerName is how a provider names a message.
type providerName struct {
	connector core.ConnectorID
	id        string
}

// findByProvider finds the attempts of receipts that have none yet, in a range of messages. A provider that uses an id
// again means the newer message. It asks for one connector at a time: for several the planner would read all they have.
func findByProvider(ctx context.Context, q querier, arrivals []arrival, from, end int64) error {
	wanted := map[providerName][]*arrival{}
	ids := map[core.ConnectorID][]string{}
	for i := range arrivals {
		a := &arrivals[i]
		if a.found || a.ProviderID == "" {
			continue
		}
		name := providerName{a.Connector, a.ProviderID}
		wanted[name] = append(wanted[name], a)
		ids[a.Connector] = append(ids[a.Connector], a.ProviderID)
	}
	for connector, ids := range ids {
		err := each(ctx, q, func(r *row) error {
			id := r.text()
			ref := reference{record: core.RecordID(r.int()), attempt: int(r.int()), parts: int(r.int()), part: true}
			for _, a := range wanted[providerName{connector, id}] {
				if !a.found || ref.record > a.ref.record {
					a.ref, a.found = ref, true
				}
			}
			return nil
		}, `SELECT provider_id, record_id, attempt, parts FROM provider_refs
			WHERE connector = $1 AND provider_id = ANY($2) AND record_id >= $3 AND record_id < $4`, string(connector), ids, from, end)
		if err != nil {
			return err
		}
	}
	return nil
}

// findByReference finds the attempts of receipts that have none yet. One that is still running is not found: what
// becomes of it, and how many parts it has, is known when its end is recorded.
func findByReference(ctx context.Context, q querier, arrivals []arrival) error {
	var wanted []*arrival
	var records []int64
	var numbers []int32
	var connectors []string
	for i := range arrivals {
		a := &arrivals[i]
		if a.found || a.Record == 0 || a.Attempt == 0 {
			continue
		}
		wanted, connectors = append(wanted, a), append(connectors, string(a.Connector))
		records, numbers = append(records, int64(a.Record)), append(numbers, int32(a.Attempt))
	}
	if len(wanted) == 0 {
		return nil
	}
	return each(ctx, q, func(r *row) error {
		a := wanted[r.int()-1]
		a.ref, a.found = reference{record: a.Record, attempt: a.Attempt, parts: 1}, true
		return nil
	}, `SELECT i.n FROM unnest($1::bigint[], $2::int[], $3::text[]) WITH ORDINALITY AS i(record_id, attempt, connector, n)
		WHERE EXISTS (
			SELECT FROM message_records WHERE id = i.record_id AND attempt = i.attempt AND connector = i.connector AND status <> 'sending' OFFSET 0)
		OR EXISTS (
			SELECT FROM message_attempts WHERE record_id = i.record_id AND attempt = i.attempt AND connector = i.connector OFFSET 0)`,
		records, numbers, connectors)
}

// receiptColumns are those of readReceipt, and of receiptArrays.
const receiptColumns = `connector, dedupe_key, provider_id, record_id, attempt, status, ` + errorColumns + `, happened_at, received_at`

func readReceipt(r *row, x *core.Receipt) {
	x.Connector, x.DedupeKey, x.ProviderID = core.ConnectorID(r.text()), r.text(), r.text()
	x.Record, x.Attempt, x.Status = core.RecordID(r.int()), int(r.int()), core.ReceiptStatus(r.text())
	x.Error = readError(r)
	x.At, x.ReceivedAt = r.time(), r.time()
}

// event names what a provider tells, however often it does.
type event struct {
	connector core.ConnectorID
	key       string
}

// repeats remembers what was told before.
type repeats map[event]bool

// knownEvents returns those of the events that a table has, of whatever day: its key is unique for one.
func knownEvents(ctx context.Context, q querier, table string, events []event) (repeats, error) {
	keys := map[core.ConnectorID][]string{}
	for _, e := range events {
		if e.key != "" {
			keys[e.connector] = append(keys[e.connector], e.key)
		}
	}
	known := repeats{}
	for connector, keys := range keys {
		err := each(ctx, q, func(r *row) error {
			known[event{connector, r.text()}] = true
			return nil
		}, "SELECT dedupe_key FROM "+table+" WHERE connector = $1 AND dedupe_key = ANY($2)", string(connector), keys)
		if err != nil {
			return nil, err
		}
	}
	return known, nil
}

// fresh says whether an event is none of those remembered, and remembers it. Without a key repeats cannot be told.
func (x repeats) fresh(e event) bool {
	if e.key == "" {
		return true
	}
	told := x[e]
	x[e] = true
	return !told
}

// storeReceipts stores receipts, and those without an attempt a second time as waiting. They are written in the order
// of their keys, so that two gateways never wait for each other; their ids keep the order in which they came. Of
// repeats that come at once the key refuses one. The planner, which takes any array for ten rows, would join by
// comparing all with all: IS TRUE makes it hash.
const storeReceipts = `WITH i AS MATERIALIZED (
		SELECT nextval('receipts_id_seq') AS id, (received_at AT TIME ZONE 'UTC')::date AS received_on, x.*
		FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::int[], $6::text[], $7::text[], $8::text[], $9::text[], $10::text[],
			$11::timestamptz[], $12::timestamptz[], $13::bool[], $14::int[]) AS x(` + receiptColumns + `, found, n)),
	fresh AS (
		INSERT INTO receipts (id, received_on, ` + receiptColumns + `)
		SELECT id, received_on, ` + receiptColumns + ` FROM i ORDER BY connector, dedupe_key, n ON CONFLICT DO NOTHING RETURNING id),
	waiting AS (
		INSERT INTO receipts_waiting (id, ` + receiptColumns + `)
		SELECT id, ` + receiptColumns + ` FROM i WHERE NOT found AND (id IN (SELECT id FROM fresh)) IS TRUE)
	SELECT n, id FROM i WHERE (id IN (SELECT id FROM fresh)) IS TRUE`

// insertReceipts stores the receipts that are no repeats and gives them their ids.
func insertReceipts(ctx context.Context, tx pgx.Tx, arrivals []arrival) error {
	events := make([]event, len(arrivals))
	for i := range arrivals {
		events[i] = event{arrivals[i].Connector, arrivals[i].DedupeKey}
	}
	known, err := knownEvents(ctx, tx, "receipts", events)
	if err != nil {
		return err
	}
	var a receiptArrays
	for i := range arrivals {
		if known.fresh(events[i]) {
			a.add(i, &arrivals[i])
		}
	}
	if len(a.connectors) == 0 {
		return nil
	}
	return each(ctx, tx, func(r *row) error {
		n := r.int()
		arrivals[n].id = r.int()
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
	n                                      []int32 // of the receipt in the call
}

func (a *receiptArrays) args() []any {
	return []any{
		a.connectors, a.keys, a.providerIDs, a.records, a.numbers, a.statuses,
		a.codes, a.providerCodes, a.messages, a.faults, a.happened, a.received, a.found, a.n,
	}
}

func (a *receiptArrays) add(n int, x *arrival) {
	a.connectors, a.keys, a.providerIDs = append(a.connectors, string(x.Connector)), append(a.keys, orNull(x.DedupeKey)), append(a.providerIDs, orNull(x.ProviderID))
	a.records, a.numbers = append(a.records, orNull(int64(x.Record))), append(a.numbers, orNull(int32(x.Attempt)))
	a.statuses = append(a.statuses, string(x.Status))
	e := x.Error
	if e == nil {
		e = &core.SendError{}
	}
	a.codes, a.providerCodes = append(a.codes, orNull(e.Code)), append(a.providerCodes, orNull(e.ProviderCode))
	a.messages, a.faults = append(a.messages, orNull(e.Message)), append(a.faults, orNull(string(e.Fault)))
	a.happened, a.received = append(a.happened, at(x.At)), append(a.received, at(x.ReceivedAt))
	a.found, a.n = append(a.found, x.found), append(a.n, int32(n))
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
	overrule := map[attemptKey]bool{}
	for i := range transitions {
		t := &transitions[i]
		records[i] = int64(t.Record)
		if t.ExpectReceipts {
			providerIDs = append(providerIDs, t.ProviderIDs...)
		}
		if counted[i] && t.Status == core.StatusQueued {
			overrule[attemptKey{t.Record, t.Attempt}] = true
		}
	}
	waiting, err := s.waiting(ctx, now, "provider_id = ANY($1) OR record_id = ANY($2) ORDER BY id", providerIDs, records)
	if err != nil || len(waiting) == 0 {
		return nil, err
	}
	return s.match(ctx, waiting, func(r reference) bool { return overrule[attemptKey{r.record, r.attempt}] })
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
	_, err = s.match(ctx, waiting, func(reference) bool { return false })
	return err
}

// match applies those of the waiting receipts whose attempt is known by now, unless somebody else did.
func (s *Store) match(ctx context.Context, waiting []arrival, overrules func(reference) bool) ([]store.Applied, error) {
	if err := findAttempts(ctx, s.pool, waiting); err != nil {
		return nil, explain("look for waiting receipts", err)
	}
	found, _ := sortArrivals(waiting)
	if len(found) == 0 {
		return nil, nil
	}
	for i := range found {
		found[i].ref.overrule = overrules(found[i].ref)
	}
	var applied []store.Applied
	err := s.tx(ctx, "apply receipts", func(tx pgx.Tx) error {
		mine, err := take(ctx, tx, found)
		if err != nil {
			return err
		}
		applied, err = s.apply(ctx, tx, mine)
		return err
	})
	return applied, err
}

// take removes the rows of waiting receipts and returns those that were still there.
func take(ctx context.Context, tx pgx.Tx, waiting []arrival) ([]arrival, error) {
	ids := make([]int64, len(waiting))
	for i := range waiting {
		ids[i] = waiting[i].id
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
	if len(inbound) == 0 {
		return nil
	}
	events := make([]event, len(inbound))
	for i := range inbound {
		events[i] = event{inbound[i].Connector, inbound[i].DedupeKey}
	}
	return s.tx(ctx, "store inbound messages", func(tx pgx.Tx) error {
		known, err := knownEvents(ctx, tx, "inbound_messages", events)
		if err != nil {
			return err
		}
		var a inboundArrays
		for i := range inbound {
			if known.fresh(events[i]) {
				if err := a.add(&inbound[i]); err != nil {
					return err
				}
			}
		}
		_, err = exec(ctx, tx, storeInbound, a.connectors, a.keys, a.providerIDs, a.senders, a.recipients, a.contents, a.attributes, a.happened, a.received)
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
	ORDER BY connector, dedupe_key, n ON CONFLICT DO NOTHING`

// inboundArrays are the parameters of storeInbound.
type inboundArrays struct {
	connectors, senders, recipients, contents []string
	keys, providerIDs, attributes             []*string
	happened, received                        []*time.Time
}

func (a *inboundArrays) add(m *core.Inbound) error {
	attributes, err := toJSON(m.Attributes, len(m.Attributes))
	if err != nil {
		return err
	}
	a.connectors, a.keys = append(a.connectors, string(m.Connector)), append(a.keys, orNull(m.DedupeKey))
	a.providerIDs, a.attributes = append(a.providerIDs, orNull(m.ProviderID)), append(a.attributes, attributes)
	a.senders, a.recipients, a.contents = append(a.senders, m.From), append(a.recipients, m.To), append(a.contents, m.Text)
	a.happened, a.received = append(a.happened, at(m.At)), append(a.received, at(m.ReceivedAt))
	return nil
}
