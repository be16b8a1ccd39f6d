package sqlite_test

import (
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
	"github.com/pigeonry/pigeonry/core/store/storetest"
)

func open(t *testing.T, path string) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStore(t *testing.T) {
	var paths sync.Map // of the open stores
	storetest.Run(t, storetest.Factory{
		Open: func(t *testing.T) store.Store {
			t.Helper()
			path := sqlitetest.Database(t)
			s := open(t, path)
			paths.Store(s, path)
			return s
		},
		Exec: func(t *testing.T, s store.Store, statement string) error {
			t.Helper()
			path, _ := paths.Load(s)
			db, err := sql.Open("sqlite", fmt.Sprintf("file:%s?_pragma=busy_timeout(5000)", path))
			if err != nil {
				t.Fatal(err)
			}
			_, err = db.ExecContext(t.Context(), statement)
			return errors.Join(err, db.Close())
		},
	})
}
