package sqlite

import (
	"encoding/json"
	"fmt"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// conn is a connection with short names for what the stores do with it.
type conn struct{ *sqlite.Conn }

// prepare returns the connection's statement for a query. Statements are prepared once and kept. An
// error is kept too and returned by the first step, so that binding reads as one chain.
func (c conn) prepare(query string) *statement {
	stmt, err := c.Prepare(query)
	return &statement{conn: c.Conn, stmt: stmt, err: err}
}

// exec runs a query without results.
func (c conn) exec(query string) error { return sqlitex.ExecuteTransient(c.Conn, query, nil) }

// snapshot runs f so that all its queries see the same commit.
func (c conn) snapshot(f func() error) error {
	if _, err := c.prepare("BEGIN").run(); err != nil {
		return err
	}
	err := f()
	// The end of the caller's ctx must not keep the transaction open: the connection is another caller's next.
	c.SetInterrupt(nil)
	if _, endErr := c.prepare("ROLLBACK").run(); err == nil {
		err = endErr
	}
	return err
}

// statement binds the parameters of a prepared statement in their order.
type statement struct {
	conn  *sqlite.Conn
	stmt  *sqlite.Stmt
	err   error
	param int
}

// int binds a number.
func (s *statement) int(v int64) *statement {
	if s.err == nil {
		s.param++
		s.stmt.BindInt64(s.param, v)
	}
	return s
}

// intOrNull binds a number, NULL for 0.
func (s *statement) intOrNull(v int64) *statement {
	if v == 0 {
		return s.null()
	}
	return s.int(v)
}

// float binds a number with a fraction.
func (s *statement) float(v float64) *statement {
	if s.err == nil {
		s.param++
		s.stmt.BindFloat(s.param, v)
	}
	return s
}

// bool binds 0 or 1.
func (s *statement) bool(v bool) *statement {
	if v {
		return s.int(1)
	}
	return s.int(0)
}

// text binds a string.
func (s *statement) text(v string) *statement {
	if s.err == nil {
		s.param++
		s.stmt.BindText(s.param, v)
	}
	return s
}

// textOrNull binds a string, NULL for "".
func (s *statement) textOrNull(v string) *statement {
	if v == "" {
		return s.null()
	}
	return s.text(v)
}

// blob binds bytes.
func (s *statement) blob(v []byte) *statement {
	if s.err == nil {
		s.param++
		s.stmt.BindBytes(s.param, v)
	}
	return s
}

// time binds a time in milliseconds, NULL for the zero time.
func (s *statement) time(v time.Time) *statement {
	if v.IsZero() {
		return s.null()
	}
	return s.int(v.UnixMilli())
}

func (s *statement) null() *statement {
	if s.err == nil {
		s.param++
		s.stmt.BindNull(s.param)
	}
	return s
}

// run steps to the end and returns how many rows changed. The statement can then be bound anew.
func (s *statement) run() (int, error) {
	err := s.each(func(*row) error { return nil })
	if err != nil {
		return 0, err
	}
	return s.conn.Changes(), nil
}

// each calls f for every row of the result. The statement can then be bound anew.
func (s *statement) each(f func(*row) error) error {
	if s.err != nil {
		return s.err
	}
	s.param = 0
	for {
		more, err := s.stmt.Step()
		if err != nil {
			return err // the statement is reset already
		}
		if !more {
			return s.stmt.Reset()
		}
		if err := f(&row{stmt: s.stmt}); err != nil {
			_ = s.stmt.Reset() // f's error says more
			return err
		}
	}
}

// first calls f for the first row of the result and says whether there was one.
func (s *statement) first(f func(*row)) (bool, error) {
	found := false
	err := s.each(func(r *row) error {
		if !found {
			f(r)
		}
		found = true
		return nil
	})
	return found, err
}

// row reads the columns of a result in their order.
type row struct {
	stmt *sqlite.Stmt
	col  int
}

// next returns the number of the column to read.
func (r *row) next() int {
	r.col++
	return r.col - 1
}

func (r *row) int() int64 { return r.stmt.ColumnInt64(r.next()) }

func (r *row) float() float64 { return r.stmt.ColumnFloat(r.next()) }

func (r *row) bool() bool { return r.int() != 0 }

// text returns "" for NULL.
func (r *row) text() string { return r.stmt.ColumnText(r.next()) }

func (r *row) blob() []byte {
	col := r.next()
	b := make([]byte, r.stmt.ColumnLen(col))
	r.stmt.ColumnBytes(col, b)
	return b
}

// time returns the zero time for NULL.
func (r *row) time() time.Time {
	col := r.next()
	if r.stmt.ColumnIsNull(col) {
		return time.Time{}
	}
	return fromMillis(r.stmt.ColumnInt64(col))
}

// fromMillis is the time that a column holds.
func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// json reads a JSON column into v, which stays as it is for NULL.
func (r *row) json(v any) error {
	col := r.next()
	text := r.stmt.ColumnText(col)
	if text == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("read column %s: %w", r.stmt.ColumnName(col), err)
	}
	return nil
}

// toJSON returns v as JSON text, "" for an empty map or slice.
func toJSON[T any](v T, length int) (string, error) {
	if length == 0 {
		return "", nil
	}
	b, err := json.Marshal(v)
	return string(b), err
}

// stringsJSON is a JSON array of strings.
func stringsJSON(list []string) string {
	b, err := json.Marshal(append([]string{}, list...))
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(b)
}
