package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/url"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

const (
	defaultTables = 10_000_000
	// calls is how often each kind of request is made.
	calls = 300
	// mostCall is what the slowest of a hundred calls may take, in milliseconds.
	mostCall = 20
)

// measureTables fills the database with messages that are done, and measures what people ask about them.
func measureTables(ctx context.Context, o options) (r report, err error) {
	if o.engines != production {
		return r, errors.New("the tables that are filled are those of PostgreSQL: use -engines production")
	}
	raw, s, err := prepare(ctx, o, plain("")) // the gateway makes the schema and the account
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	if err := s.gateway.stop(); err != nil {
		return r, err
	}
	messages := cmp.Or(o.messages, defaultTables)
	filled, err := fillTables(ctx, s.engines.url(engine.Postgres), messages)
	if err != nil {
		return r, fmt.Errorf("fill the tables: %w", err)
	}
	if err := s.start(ctx, s, ""); err != nil {
		return r, err
	}
	began := time.Now()
	r = report{What: "tables", Engines: o.engines, Messages: messages, Limits: raw}
	if r.Parts, err = measureCalls(ctx, s, filled); err != nil {
		return r, err
	}
	r.Seconds = time.Since(began).Seconds()
	r.RSS, r.RSSWithPlugins = s.rss()
	for _, p := range r.Parts {
		r.Aims = append(r.Aims, atMost(p.Name+": p99", p.P99, mostCall, "ms"))
	}
	failures, err := measureFailures(ctx, s.engines.url(engine.Postgres))
	r.Parts = append(r.Parts, failures)
	return r, err
}

// failuresOfAnHour is what an operator asks the database itself.
const failuresOfAnHour = `SELECT error_message, COUNT(*) FROM message_records
	WHERE status = 'failed' AND created_at > NOW() - INTERVAL '1 hour' GROUP BY error_message`

// measureFailures asks it, beside the gateway.
func measureFailures(ctx context.Context, url string) (p part, err error) {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return p, err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	times := make([]time.Duration, calls)
	for i := range times {
		began := time.Now()
		if _, err := conn.Exec(ctx, failuresOfAnHour); err != nil {
			return p, fmt.Errorf("count failures: %w", err)
		}
		times[i] = time.Since(began)
	}
	return timed("failures of an hour, in SQL", times), nil
}

// listed is a message as lists show it.
type listed struct {
	RecordID  int64  `json:"record_id"`
	TraceID   string `json:"trace_id"`
	Recipient string `json:"recipient"`
}

// list is a page of them.
type list struct {
	Items      []listed `json:"items"`
	NextCursor string   `json:"next_cursor"`
}

// reader asks about the messages of the account, one request after the other.
type reader struct {
	client *client
	filled filled
	found  []listed // some messages of all days
	cursor string   // of the next page
}

// call is one kind of request. It says where to, and what becomes of the page if it is a list.
type call struct {
	name string
	path func(*reader) string
	then func(*reader, list)
}

func tableCalls(f filled) []call {
	remember := func(r *reader, l list) { r.found = append(r.found, l.Items...) }
	return []call{
		{"list, by time", (*reader).hour, remember},
		{"list, first page", func(*reader) string { return listPath() }, remember},
		{"list, by recipient", func(r *reader) string { return listPath("recipient", r.any().Recipient) }, nil},
		{"list, by status failed", func(*reader) string { return listPath("status", "failed") }, nil},
		{"list, by template", func(r *reader) string {
			return listPath("template_id", strconv.FormatInt(pickOne(r.filled.templates), 10))
		}, nil},
		{"list, next page", (*reader).nextPage, func(r *reader, l list) { r.cursor = l.NextCursor }},
		{"message", func(r *reader) string { return fmt.Sprintf("/api/messages/%d", r.any().RecordID) }, nil},
		{"trace", func(r *reader) string { return "/api/messages/traces/" + r.any().TraceID }, nil},
		{"batch of " + thousands(float64(f.batchSize)), func(r *reader) string {
			return fmt.Sprintf("/api/messages/batches/%d", pickOne(r.filled.batches))
		}, nil},
	}
}

// listPath is the path of a list with names and values of its filters.
func listPath(filters ...string) string {
	query := url.Values{"limit": {"50"}}
	for i := 0; i < len(filters); i += 2 {
		query.Set(filters[i], filters[i+1])
	}
	return "/api/messages?" + query.Encode()
}

// hour lists a random hour of the time that is filled.
func (r *reader) hour() string {
	from := r.filled.from.Add(rand.N(r.filled.until.Sub(r.filled.from))).UTC()
	return listPath("created_from", from.Format(time.RFC3339), "created_before", from.Add(time.Hour).Format(time.RFC3339))
}

func (r *reader) nextPage() string {
	if r.cursor == "" { // the first, or the last was the end
		return listPath()
	}
	return listPath("cursor", r.cursor)
}

// any is a message that a list has shown.
func (r *reader) any() listed {
	if len(r.found) == 0 {
		return listed{}
	}
	return pickOne(r.found)
}

func pickOne[T any](of []T) T { return of[rand.IntN(len(of))] }

func measureCalls(ctx context.Context, s *subject, f filled) ([]part, error) {
	r := &reader{client: &client{address: s.address}, filled: f}
	defer r.client.close()
	parts := make([]part, 0, len(tableCalls(f)))
	for _, c := range tableCalls(f) {
		times := make([]time.Duration, 0, calls)
		for range calls {
			took, err := r.once(ctx, c)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", c.name, err)
			}
			times = append(times, took)
		}
		parts = append(parts, timed(c.name, times))
	}
	return parts, ctx.Err()
}

func (r *reader) once(ctx context.Context, c call) (time.Duration, error) {
	path := c.path(r)
	began := time.Now()
	var answer list
	err := r.client.get(ctx, path, &answer)
	took := time.Since(began)
	if err == nil && c.then != nil {
		c.then(r, answer)
	}
	return took, err
}
