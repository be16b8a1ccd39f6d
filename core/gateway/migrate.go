package gateway

import (
	"context"
	"fmt"

	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/store/postgres"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
)

// Schema is the version of the store's schema.
type Schema struct {
	Store string // the technology
	Found int64  // in the database; 0: none yet
	Known int64  // to this program
}

// SchemaOf tells the version of the store that the settings name, and changes nothing.
func SchemaOf(ctx context.Context, s *settings.Settings) (Schema, error) {
	schema := Schema{Store: s.Store.Kind}
	var err error
	if s.Store.Kind == "postgres" {
		schema.Found, schema.Known, err = postgres.SchemaVersion(ctx, s.Store.URL.Reveal())
	} else {
		schema.Found, schema.Known, err = sqlite.SchemaVersion(ctx, databasePath(s))
	}
	if err != nil {
		return schema, fmt.Errorf("read the version of the schema: %w", err)
	}
	return schema, nil
}

// Migrate brings the schema of the store that the settings name up to date, and returns the versions that it applied.
func Migrate(ctx context.Context, s *settings.Settings) ([]int64, error) {
	var applied []int64
	var err error
	if s.Store.Kind == "postgres" {
		applied, err = postgres.Migrate(ctx, s.Store.URL.Reveal())
	} else {
		if err := ensureDataDir(s.DataDir); err != nil {
			return nil, err
		}
		applied, err = sqlite.Migrate(ctx, databasePath(s))
	}
	if err != nil {
		return nil, fmt.Errorf("upgrade the schema: %w", err)
	}
	return applied, nil
}
