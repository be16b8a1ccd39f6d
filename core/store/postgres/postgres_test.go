package postgres_test

import (
	"context"
	"crypto/rand"
	"flag"
	"log/slog"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/postgres"
	"github.com/pigeonry/pigeonry/core/store/storetest"
)

func TestMain(m *testing.M) {
	// Each step of the model is several round trips.
	if err := flag.Set("rapid.checks", "25"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// server is the URL of the server that the tests make their databases on.
func server(t testing.TB) string {
	t.Helper()
	const variable = "PIGEONRY_TEST_POSTGRES_URL"
	if u := os.Getenv(variable); u != "" {
		return u
	}
	const missing = variable + " names no server; `make test` starts one"
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return ""
}

// on returns the URL of another database of the same server.
func on(t testing.TB, server, database string) string {
	t.Helper()
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

// sql runs a statement on a connection of its own.
func sql(t testing.TB, url, statement string) {
	t.Helper()
	if err := run(t, url, statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func run(t testing.TB, url, statement string) error {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statement)
	return err
}

// emptyDatabase makes a database without tables, which goes with the test.
func emptyDatabase(t testing.TB) string {
	t.Helper()
	at := server(t)
	name := "pigeonry_test_" + strings.ToLower(rand.Text()[:12])
	sql(t, at, "CREATE DATABASE "+name)
	t.Cleanup(func() { sql(t, at, "DROP DATABASE "+name+" WITH (FORCE)") })
	return on(t, at, name)
}

// databases have the schema and no content. One that a test is done with is emptied and lent again, which is many
// times faster than to make one.
type databases struct {
	owner *testing.T

	mu   sync.Mutex
	free []string
}

func (d *databases) lend(t *testing.T) string {
	t.Helper()
	at, ok := d.take()
	if !ok {
		at = emptyDatabase(d.owner)
	}
	t.Cleanup(func() {
		sql(t, at, "DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "+
			"AND relnamespace = 'public'::regnamespace AND relname NOT IN ('goose_db_version', 'id_blocks', 'accounts') "+
			"LOOP EXECUTE 'DELETE FROM ' || t; END LOOP; DELETE FROM accounts; END $$")
		d.mu.Lock()
		defer d.mu.Unlock()
		d.free = append(d.free, at)
	})
	return at
}

func (d *databases) take() (string, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.free) == 0 {
		return "", false
	}
	at := d.free[0]
	d.free = d.free[1:]
	return at, true
}

func open(t testing.TB, at string) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{URL: at, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func closeStore(t testing.TB, s store.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// A server that answers a commit before it has it on disk would lose what was accepted.
func TestCommitsThatAreNotOnDiskAreRefused(t *testing.T) {
	at := emptyDatabase(t)
	_, err := postgres.Open(t.Context(), postgres.Options{URL: parameter(t, at, "synchronous_commit", "off"), Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("open: %v", err)
	}
}

// parameter adds one to a URL.
func parameter(t *testing.T, at, name, value string) string {
	t.Helper()
	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set(name, value)
	u.RawQuery = q.Encode()
	return u.String()
}

func TestStore(t *testing.T) {
	server(t) // or there is nothing to test on
	lent := databases{owner: t}
	var urls sync.Map
	remember := func(s *postgres.Store, at string) store.Store {
		urls.Store(store.Store(s), at)
		return s
	}
	storetest.Run(t, storetest.Factory{
		Open: func(x *testing.T) store.Store {
			x.Helper()
			at := lent.lend(x)
			return remember(open(x, at), at)
		},
		Another: func(x *testing.T, s store.Store) store.Store {
			x.Helper()
			at, _ := urls.Load(s)
			return remember(open(x, at.(string)), at.(string))
		},
		Exec: func(x *testing.T, s store.Store, statement string) error {
			x.Helper()
			at, _ := urls.Load(s)
			return run(x, at.(string), statement)
		},
	})
}
