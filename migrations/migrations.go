// Package migrations holds the schemas of the stores as numbered SQL files in the format of goose
// (https://github.com/pressly/goose). A file that was released is never changed: the next change is a
// new file.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed sqlite/*.sql postgres/*.sql
var files embed.FS

// SQLite returns the migrations of the embedded store, at the root of the file system.
func SQLite() (fs.FS, error) { return fs.Sub(files, "sqlite") }

// PostgreSQL returns the migrations of the production store, at the root of the file system.
func PostgreSQL() (fs.FS, error) { return fs.Sub(files, "postgres") }
