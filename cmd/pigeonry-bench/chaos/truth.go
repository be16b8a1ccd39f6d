package chaos

import (
	"context"

	"github.com/jackc/pgx/v5"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// row is a message as the gateway's database has it.
type row struct {
	id        int64
	trace     string
	recipient string
	status    string
	attempt   int
	doubtful  bool
	code      string // of the last error
}

// truth is the gateway's database, read without the gateway.
type truth interface {
	// unfinished counts the messages that are in no final state.
	unfinished(ctx context.Context) (int, error)
	// each calls f with every message.
	each(ctx context.Context, f func(row)) error
}

const (
	countUnfinished = "SELECT count(*) FROM message_records WHERE status IN ('scheduled', 'queued', 'sending', 'uncertain')"
	everyMessage    = "SELECT id, trace_id, recipient, status, attempt, doubtful, coalesce(error_code, '') FROM message_records"
)

type postgresTruth struct{ url string }

func (t postgresTruth) unfinished(ctx context.Context) (n int, err error) {
	conn, err := pgx.Connect(ctx, t.url)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // read only
	err = conn.QueryRow(ctx, countUnfinished).Scan(&n)
	return n, err
}

func (t postgresTruth) each(ctx context.Context, f func(row)) error {
	conn, err := pgx.Connect(ctx, t.url)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // read only
	rows, err := conn.Query(ctx, everyMessage)
	if err != nil {
		return err
	}
	var r row
	_, err = pgx.ForEachRow(rows, []any{&r.id, &r.trace, &r.recipient, &r.status, &r.attempt, &r.doubtful, &r.code}, func() error {
		f(r)
		return nil
	})
	return err
}

type sqliteTruth struct{ path string }

func (t sqliteTruth) query(ctx context.Context, query string, f func(*sqlite.Stmt) error) error {
	conn, err := sqlite.OpenConn(t.path, sqlite.OpenReadOnly)
	if err != nil {
		return err
	}
	defer conn.Close() //nolint:errcheck // read only
	conn.SetInterrupt(ctx.Done())
	return sqlitex.Execute(conn, query, &sqlitex.ExecOptions{ResultFunc: f})
}

func (t sqliteTruth) unfinished(ctx context.Context) (n int, err error) {
	err = t.query(ctx, countUnfinished, func(s *sqlite.Stmt) error {
		n = s.ColumnInt(0)
		return nil
	})
	return n, err
}

func (t sqliteTruth) each(ctx context.Context, f func(row)) error {
	return t.query(ctx, everyMessage, func(s *sqlite.Stmt) error {
		f(row{
			id: s.ColumnInt64(0), trace: s.ColumnText(1), recipient: s.ColumnText(2), status: s.ColumnText(3),
			attempt: s.ColumnInt(4), doubtful: s.ColumnBool(5), code: s.ColumnText(6),
		})
		return nil
	})
}
