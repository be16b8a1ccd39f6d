package postgres

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// each calls f for every row of a query's result.
func each(ctx context.Context, q querier, f func(*row) error, sql string, args ...any) error {
	rows, err := q.Query(ctx, sql, args...)
	if err != nil {
		return err
	}
	return eachRow(rows, f)
}

// eachResult calls f for every row of the next result of a batch.
func eachResult(results pgx.BatchResults, f func(*row) error) error {
	rows, err := results.Query()
	if err != nil {
		return err
	}
	return eachRow(rows, f)
}

func eachRow(rows pgx.Rows, f func(*row) error) error {
	defer rows.Close()
	for rows.Next() {
		r := row{rows: rows, values: rows.RawValues()}
		if err := f(&r); err != nil {
			return err
		}
		if r.err != nil {
			return r.err
		}
	}
	return rows.Err()
}

// first calls f for the first row of a query's result and says whether there was one.
func first(ctx context.Context, q querier, f func(*row), sql string, args ...any) (bool, error) {
	found := false
	err := each(ctx, q, func(r *row) error {
		if !found {
			f(r)
		}
		found = true
		return nil
	}, sql, args...)
	return found, err
}

// exec runs a statement and returns how many rows it changed.
func exec(ctx context.Context, q querier, sql string, args ...any) (int, error) {
	tag, err := q.Exec(ctx, sql, args...)
	return int(tag.RowsAffected()), err
}

// row reads the columns of a result in their order, from the binary format that pgx asks for: a message has
// dozens of columns, and most are absent. NULL reads as the zero value.
type row struct {
	rows   pgx.Rows
	values [][]byte
	col    int
	err    error
}

func (r *row) next() []byte {
	r.col++
	return r.values[r.col-1]
}

func (r *row) int() int64 {
	switch b := r.next(); len(b) {
	case 0:
		return 0
	case 2:
		return int64(int16(binary.BigEndian.Uint16(b)))
	case 4:
		return int64(int32(binary.BigEndian.Uint32(b)))
	case 8:
		return int64(binary.BigEndian.Uint64(b))
	default:
		r.fail("a number of %d bytes", len(b))
		return 0
	}
}

func (r *row) bool() bool {
	b := r.next()
	return len(b) == 1 && b[0] == 1
}

func (r *row) text() string { return string(r.next()) }

func (r *row) blob() []byte { return append([]byte{}, r.next()...) }

// epoch is where PostgreSQL's times begin, in microseconds since 1970.
var epoch = time.Date(2000, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

func (r *row) time() time.Time {
	b := r.next()
	if len(b) != 8 {
		return time.Time{}
	}
	return time.UnixMicro(int64(binary.BigEndian.Uint64(b)) + epoch).UTC()
}

// ids reads a bigint[] and appends it to a list. The format: dimensions, flags, type, length, lower bound, then
// each element behind its length.
func (r *row) ids(list []int64) []int64 {
	const header, element = 20, 12
	b := r.next()
	if len(b) < header {
		return list // NULL or empty
	}
	for b = b[header:]; len(b) >= element; b = b[element:] {
		list = append(list, int64(binary.BigEndian.Uint64(b[4:])))
	}
	return list
}

// json reads a JSON column into v, which stays as it is for NULL.
func (r *row) json(v any) {
	b := r.next()
	if len(b) == 0 {
		return
	}
	if err := json.Unmarshal(b, v); err != nil {
		r.fail("%v", err)
	}
}

// fail notes what is wrong with the column just read.
func (r *row) fail(format string, args ...any) {
	if r.err == nil {
		r.err = fmt.Errorf("read column %s: %s", r.rows.FieldDescriptions()[r.col-1].Name, fmt.Sprintf(format, args...))
	}
}

// orNull is v, or NULL for its zero value.
func orNull[T comparable](v T) *T {
	var zero T
	if v == zero {
		return nil
	}
	return &v
}

// at is a time as columns keep it, to the millisecond; NULL for the zero time.
func at(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Truncate(time.Millisecond)
	return &t
}

// toJSON returns v as JSON text, NULL for an empty map or slice.
func toJSON[T any](v T, length int) (*string, error) {
	if length == 0 {
		return nil, nil //nolint:nilnil // NULL
	}
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return orNull(string(b)), nil
}

// stringsJSON is a JSON array of strings.
func stringsJSON(list []string) string {
	b, err := json.Marshal(append([]string{}, list...))
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(b)
}

// arrayText is the literal of a bigint[]: a parameter of arrays of different lengths does not exist.
func arrayText(ids []int64) string {
	b := make([]byte, 0, 2+17*len(ids))
	b = append(b, '{')
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, '}'))
}

// float reads a double precision that was cast to text.
func (r *row) float() float64 {
	text := r.text()
	v, err := strconv.ParseFloat(text, 64)
	if err != nil {
		r.fail("%q is not a number", text)
	}
	return v
}
