package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"os"

	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite", which goose needs

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/migrations"
)

// migrate brings the schema of the file up to date.
func migrate(ctx context.Context, path string) error {
	return withSchema(path, func(p *goose.Provider) error {
		if err := compare(ctx, p, false); err != nil {
			return err
		}
		_, err := p.Up(ctx)
		return err
	})
}

// checkSchema fails unless the schema of the file is the one that this version knows.
func checkSchema(ctx context.Context, path string) error {
	return withSchema(path, func(p *goose.Provider) error { return compare(ctx, p, true) })
}

// Migrate brings the schema of a database file up to date, while no gateway has it, and returns the versions that it
// applied.
func Migrate(ctx context.Context, path string) (applied []int64, err error) {
	lock, err := lockFile(path + ".lock")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, lock.unlock()) }()
	err = withSchema(path, func(p *goose.Provider) error {
		if err := compare(ctx, p, false); err != nil {
			return err
		}
		results, err := p.Up(ctx)
		for _, r := range results {
			applied = append(applied, r.Source.Version)
		}
		return err
	})
	return applied, explain("migrate", err)
}

// SchemaVersion tells which version the schema of a database file has, 0 if there is no file, and which this program
// knows.
func SchemaVersion(ctx context.Context, path string) (found, known int64, err error) {
	at := path
	if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
		at = ":memory:" // a look makes no file
	}
	err = withSchema(at, func(p *goose.Provider) (err error) {
		found, known, err = p.GetVersions(ctx)
		return err
	})
	return found, known, explain("read the schema", err)
}

// withSchema opens the file for goose.
func withSchema(path string, f func(*goose.Provider) error) (err error) {
	db, err := sql.Open("sqlite", uri(path)+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	files, err := migrations.SQLite()
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.DialectSQLite3, db, files, goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	return f(p)
}

// compare fails if the file's schema is newer than this version, or, if it must be the same, older.
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
			"the database has schema %d and this version needs %d, but an older gateway is running on it; upgrade the gateway first",
			found, known)
	}
	return nil
}
