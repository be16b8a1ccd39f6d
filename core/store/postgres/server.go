package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
)

// oldest is the first version of PostgreSQL, as in server_version_num, that the tests run on.
const oldest = 15_00_00

// server is what a PostgreSQL says of itself.
type server struct {
	version           int64 // server_version_num
	synchronousCommit string
	fsync             string
}

// checkServer refuses a server on which a message that was accepted could be lost, or which is too old.
func checkServer(ctx context.Context, config *pgx.ConnConfig, logger *slog.Logger) (err error) {
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close(ctx)) }()
	var s server
	_, err = first(ctx, conn, func(r *row) { s = server{version: r.int(), synchronousCommit: r.text(), fsync: r.text()} },
		"SELECT current_setting('server_version_num')::bigint, current_setting('synchronous_commit'), current_setting('fsync')")
	if err != nil {
		return fmt.Errorf("read the server's settings: %w", err)
	}
	if s.fsync == "off" {
		logger.WarnContext(ctx, "postgres: the server has fsync = off: a crash of its machine may lose messages that were accepted, or destroy the database; "+
			"set fsync = on in postgresql.conf, unless this is a test")
	}
	return s.unfit()
}

func (s server) unfit() error {
	if s.version < oldest {
		return fmt.Errorf("the server is version %d.%d; use PostgreSQL %d or newer", s.version/10_000, s.version%10_000, oldest/10_000)
	}
	if s.synchronousCommit == "off" {
		return errors.New("synchronous_commit is off, so a crash of the server would lose messages that were accepted; " +
			"set it to on in postgresql.conf, or for this user: ALTER ROLE … SET synchronous_commit = on")
	}
	return nil
}
