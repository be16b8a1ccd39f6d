package postgres_test

import (
	"flag"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/enginetest"
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
		at = enginetest.Database(d.owner).String()
	}
	t.Cleanup(func() {
		enginetest.SQL(t, at, "DO $$ DECLARE t text; BEGIN FOR t IN SELECT oid::regclass FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "+
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
	at := enginetest.Database(t)
	at.RawQuery = "synchronous_commit=off"
	_, err := postgres.Open(t.Context(), postgres.Options{URL: at.String(), Logger: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "synchronous_commit is off") {
		t.Errorf("open: %v", err)
	}
}

func TestStore(t *testing.T) {
	enginetest.URL(t, enginetest.Postgres) // or there is nothing to test on
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
			return enginetest.Exec(x, at.(string), statement)
		},
	})
}
