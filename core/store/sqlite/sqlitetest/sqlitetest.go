// Package sqlitetest lends tests databases that have the schema already: to make it anew for every test takes most of
// the test's time under the race detector.
package sqlitetest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/core/store/sqlite"
)

// content is the file of a database with the schema and nothing in it.
var content = sync.OnceValues(func() (_ []byte, err error) { //nolint:gochecknoglobals // made once, for all tests of a package
	dir, err := os.MkdirTemp("", "pigeonry-sqlitetest-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	path := filepath.Join(dir, "empty.db")
	if _, err := sqlite.Migrate(context.Background(), path); err != nil {
		return nil, err
	}
	return os.ReadFile(path)
})

// Database makes a database, which goes with the test, and returns its path.
func Database(tb testing.TB) string {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "test.db")
	Create(tb, path)
	return path
}

// Create makes a database at a path.
func Create(tb testing.TB, path string) {
	tb.Helper()
	b, err := content()
	if err == nil {
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		tb.Fatal(err)
	}
}
