package postgres

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// recordAccepted is recordMessages for what nearly all messages come to: they went out at the first go, next to each
// other, and differ in the provider's id alone.
const recordAccepted = `WITH t AS MATERIALIZED (
		SELECT first, last, attempt, segments, cost, started_at, finished_at, updated_at, expects, ids::text[] AS ids
		FROM unnest($1::bigint[], $2::bigint[], $3::int[], $4::int[], $5::text[], $6::timestamptz[], $7::timestamptz[], $8::timestamptz[],
			$9::bool[], $10::text[]) AS t(first, last, attempt, segments, cost, started_at, finished_at, updated_at, expects, ids)),
	done AS (
		UPDATE message_records r SET status = 'sent', outcome = 'accepted',
			error_code = NULL, error_provider_code = NULL, error_message = NULL, error_fault = NULL,
			provider_id = t.ids[(r.id - t.first)::int + 1], provider_ids = NULL, segments = COALESCE(t.segments, r.segments), cost = t.cost,
			next_attempt_at = NULL, wake_at = NULL, lease_until = NULL, started_at = COALESCE(t.started_at, r.started_at),
			finished_at = t.finished_at, sent_at = t.finished_at, updated_at = t.updated_at
		FROM t WHERE r.id BETWEEN t.first AND t.last AND r.attempt = t.attempt AND r.status IN ('sending', 'uncertain')
		RETURNING r.id, r.attempt, r.connector, r.provider_id, t.expects),
	refs AS (
		INSERT INTO provider_refs AS p (connector, provider_id, record_id, attempt, part, parts)
		SELECT connector, provider_id, id, attempt, 1, 1 FROM done WHERE expects AND provider_id IS NOT NULL
		` + replaceRef + `)
	SELECT id FROM done`

// isPlain says whether recordAccepted can write a transition.
func isPlain(t *store.Transition) bool {
	return t.Status == core.StatusSent && t.Outcome == core.OutcomeAccepted && t.Error == nil && len(t.ProviderIDs) < 2 &&
		!t.Doubtful && t.Budget == 0
}

// acceptedRuns are the parameters of recordAccepted: stretches of messages that differ in the provider's id alone.
type acceptedRuns struct {
	runs
	attempts, segments         []int32
	costs                      []*string
	started, finished, updated []*time.Time
	expects                    []bool
	ids                        [][]string
}

func (a *acceptedRuns) args() []any {
	segments, ids := make([]*int32, len(a.segments)), make([]string, len(a.ids))
	for i := range a.ids {
		segments[i], ids[i] = orNull(a.segments[i]), textArray(a.ids[i])
	}
	return []any{a.first, a.last, a.attempts, segments, a.costs, a.started, a.finished, a.updated, a.expects, ids}
}

// add takes the plain transitions of a call.
func (a *acceptedRuns) add(c *recordCall, counted map[int64]*bool) {
	var order []int
	for i := range c.transitions {
		if isPlain(&c.transitions[i]) {
			order = append(order, i)
		}
	}
	slices.SortFunc(order, func(x, y int) int { return cmp.Compare(c.transitions[x].Record, c.transitions[y].Record) })
	var previous *store.Transition
	for _, i := range order {
		t := &c.transitions[i]
		id := int64(t.Record)
		counted[id] = &c.counted[i]
		if previous == nil || !alike(previous, t) || int64(previous.Record) != id-1 {
			a.begin(t, c.now)
		}
		previous = t
		last := len(a.last) - 1
		a.last[last] = id
		a.ids[last] = append(a.ids[last], strings.Join(t.ProviderIDs, ""))
	}
}

// alike says whether two transitions can be in one stretch.
func alike(x, y *store.Transition) bool {
	return x.Attempt == y.Attempt && x.Segments == y.Segments && x.Cost == y.Cost && x.ExpectReceipts == y.ExpectReceipts &&
		x.StartedAt.Equal(y.StartedAt) && x.FinishedAt.Equal(y.FinishedAt)
}

// begin begins a stretch.
func (a *acceptedRuns) begin(t *store.Transition, now time.Time) {
	finished := t.FinishedAt
	if finished.IsZero() {
		finished = now
	}
	a.first, a.last = append(a.first, int64(t.Record)), append(a.last, int64(t.Record))
	a.attempts, a.segments = append(a.attempts, int32(t.Attempt)), append(a.segments, int32(t.Segments))
	a.costs, a.expects = append(a.costs, orNull(t.Cost)), append(a.expects, t.ExpectReceipts)
	a.started, a.finished, a.updated = append(a.started, at(t.StartedAt)), append(a.finished, at(finished)), append(a.updated, at(now))
	a.ids = append(a.ids, nil)
}

// quote escapes what means something in the literal of a text[].
var quote = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

// textArray is the literal of a text[], in which "" stands for NULL: a parameter of arrays of different lengths does not
// exist.
func textArray(list []string) string {
	var b strings.Builder
	b.WriteByte('{')
	for i, s := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if s == "" {
			b.WriteString("NULL")
			continue
		}
		b.WriteByte('"')
		b.WriteString(quote.Replace(s))
		b.WriteByte('"')
	}
	b.WriteByte('}')
	return b.String()
}
