package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"
)

// rowBody is the 300 bytes that a row or a message has in every measurement.
func rowBody() string { return strings.Repeat("x", 300) }

// sqliteRate inserts rows in transactions of a size, synchronous=FULL.
func sqliteRate(size int) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, d time.Duration) (rate float64, err error) {
		dir, err := os.MkdirTemp("", "pigeonry-bench-")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(dir)
		conn, insert, err := openSQLite(filepath.Join(dir, "raw.db"))
		if err != nil {
			return 0, err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		body := rowBody()
		return repeat(ctx, 1, d, func(int) (int, error) { return size, insertRows(conn, insert, size, body) })
	}
}

// openSQLite makes a database with a table and the statement that fills it.
func openSQLite(path string) (*sqlite.Conn, *sqlite.Stmt, error) {
	conn, err := sqlite.OpenConn(path, sqlite.OpenReadWrite, sqlite.OpenCreate, sqlite.OpenWAL)
	if err != nil {
		return nil, nil, err
	}
	err = sqlitex.ExecuteScript(conn, `CREATE TABLE t (id INTEGER PRIMARY KEY, account INTEGER, body TEXT); CREATE INDEX t_account ON t (account)`, nil)
	if err == nil {
		err = sqlitex.ExecuteTransient(conn, "PRAGMA synchronous = FULL", nil)
	}
	var insert *sqlite.Stmt
	if err == nil {
		insert, err = conn.Prepare("INSERT INTO t (account, body) VALUES (?, ?)")
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, insert, nil
}

func insertRows(conn *sqlite.Conn, insert *sqlite.Stmt, size int, body string) (err error) {
	end, err := sqlitex.ImmediateTransaction(conn)
	if err != nil {
		return err
	}
	defer end(&err)
	for range size {
		insert.BindInt64(1, 1)
		insert.BindText(2, body)
		if _, err := insert.Step(); err != nil {
			return err
		}
		if err := insert.Reset(); err != nil {
			return err
		}
	}
	return nil
}
