package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/migrations"
)

// migrate brings the schema up to date. Gateways that start at once take turns.
func migrate(ctx context.Context, config *pgx.ConnConfig) error {
	return withSchema(ctx, config, func(p *goose.Provider) error {
		if err := compare(ctx, p, false); err != nil {
			return err
		}
		_, err := p.Up(ctx)
		return err
	})
}

// checkSchema fails unless the schema is the one that this version knows.
func checkSchema(ctx context.Context, config *pgx.ConnConfig) error {
	return withSchema(ctx, config, func(p *goose.Provider) error { return compare(ctx, p, true) })
}

// Migrate brings the schema of a database up to date and returns the versions that it applied.
func Migrate(ctx context.Context, url string) ([]int64, error) {
	var applied []int64
	err := withURL(ctx, url, func(p *goose.Provider) error {
		if err := compare(ctx, p, false); err != nil {
			return err
		}
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, r.Source.Version)
		}
		return err
	})
	return applied, err
}

// SchemaVersion tells which version the schema of a database has, and which this program knows.
func SchemaVersion(ctx context.Context, url string) (found, known int64, err error) {
	err = withURL(ctx, url, func(p *goose.Provider) (err error) {
		found, known, err = p.GetVersions(ctx)
		return err
	})
	return found, known, err
}

func withURL(ctx context.Context, url string, f func(*goose.Provider) error) error {
	config, err := configure(url)
	if err != nil {
		return err
	}
	if err := withSchema(ctx, config.ConnConfig, f); err != nil {
		return fmt.Errorf("PostgreSQL at %s:%d, database %s: %w",
			config.ConnConfig.Host, config.ConnConfig.Port, config.ConnConfig.Database, advise(err, config.ConnConfig.User))
	}
	return nil
}

// withSchema opens the database for goose.
func withSchema(ctx context.Context, config *pgx.ConnConfig, f func(*goose.Provider) error) (err error) {
	own := config.Copy()
	delete(own.RuntimeParams, "plan_cache_mode")
	own.RuntimeParams["statement_timeout"] = "0" // a migration of a large table takes its time
	db := sql.OpenDB(stdlib.GetConnector(*own))
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.PingContext(ctx); err != nil {
		return err
	}
	files, err := migrations.PostgreSQL()
	if err != nil {
		return err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithDisableGlobalRegistry(true), goose.WithSessionLocker(locker))
	if err != nil {
		return err
	}
	return f(p)
}

// compare fails if the schema is newer than this version, or, if it must be the same, older.
func compare(ctx context.Context, p *goose.Provider, same bool) error {
	found, known, err := p.GetVersions(ctx)
	switch {
	case err != nil:
		return err
	case found > known:
		return core.Errorf(core.KindInternal,
			"the database has schema %d and this version knows up to %d: a newer version wrote it; run that version, or restore a backup from before the upgrade",
			found, known)
	case same && found < known:
		return core.Errorf(core.KindConflict,
			"the database has schema %d and this version needs %d; upgrade it with `pigeonry migrate up`, or start a gateway of this version", found, known)
	}
	return nil
}

// advise adds to an error of the first connection what to do about it.
func advise(err error, user string) error {
	server, answered := errors.AsType[*pgconn.PgError](err)
	_, unreachable := errors.AsType[*net.OpError](err)
	_, unknownHost := errors.AsType[*net.DNSError](err)
	switch {
	case answered && (server.Code == "28P01" || server.Code == "28000"):
		return fmt.Errorf("the server refuses user %q: %s; check user and password in the URL", user, server.Message)
	case answered && server.Code == "3D000":
		return fmt.Errorf("%s; create it with `createdb`, or name another one in the URL", server.Message)
	case answered && server.Code == "42501":
		return fmt.Errorf("user %q may not do that: %s; make it the owner of the database", user, server.Message)
	case answered && reasonOf(err) != "":
		return fmt.Errorf("%s: %s", reasonOf(err), server.Message)
	case unknownHost:
		return errors.New("the host is not known; check it in the URL")
	case unreachable, errors.Is(err, context.DeadlineExceeded):
		return errors.New("nothing answers there; check host and port in the URL, and whether PostgreSQL runs and listens on that address")
	default:
		return err
	}
}
