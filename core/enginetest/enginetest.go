// Package enginetest lends tests the servers that gateways stand on. No program imports it.
package enginetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// The servers, by the variables that name them.
const (
	Postgres = "PIGEONRY_TEST_POSTGRES_URL"
	RabbitMQ = "PIGEONRY_TEST_RABBITMQ_URL"
	Redis    = "PIGEONRY_TEST_REDIS_URL"
)

// URL is where a server is, by its variable. A test without one is skipped; with CI=true it fails.
func URL(tb testing.TB, variable string) *url.URL {
	tb.Helper()
	given := os.Getenv(variable)
	if given == "" {
		missing := variable + " names no server; `make test` starts one"
		if os.Getenv("CI") == "true" {
			tb.Fatal(missing)
		}
		tb.Skip(missing)
	}
	u, err := url.Parse(given)
	if err != nil {
		tb.Fatalf("%s is no URL", variable) // the error would show a password
	}
	return u
}

// Database makes a database without tables, which goes with the test, and returns where it is.
func Database(tb testing.TB) *url.URL {
	tb.Helper()
	server := URL(tb, Postgres)
	at := *server
	at.Path = "/pigeonry_test_" + strings.ToLower(rand.Text()[:12])
	SQL(tb, server.String(), "CREATE DATABASE "+at.Path[1:])
	tb.Cleanup(func() { SQL(tb, server.String(), "DROP DATABASE "+at.Path[1:]+" WITH (FORCE)") })
	return &at
}

// SQL runs statements on a connection of its own, as an operator would beside the gateways.
func SQL(tb testing.TB, database, statements string) {
	tb.Helper()
	if err := Exec(tb, database, statements); err != nil {
		tb.Fatalf("%s: %v", statements, err)
	}
}

// Exec is SQL for statements that may fail.
func Exec(tb testing.TB, database, statements string) error {
	tb.Helper()
	ctx := context.WithoutCancel(tb.Context())
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = conn.Close(ctx) }()
	_, err = conn.Exec(ctx, statements)
	return err
}

// Production is a set of engines of a test's own: a database, and names on a broker and a Redis that nobody else has.
type Production struct {
	Database, Broker, Redis *url.URL
	Prefix                  string
}

// NewProduction lends the test a set.
func NewProduction(tb testing.TB) Production {
	tb.Helper()
	return Production{
		Database: Database(tb), Broker: URL(tb, RabbitMQ), Redis: URL(tb, Redis), Prefix: "test-" + strings.ToLower(rand.Text()[:12]),
	}
}

// HCL is the set in the words of the configuration file.
func (p Production) HCL() string {
	return fmt.Sprintf("store \"postgres\" { url = %q }\nqueue \"rabbitmq\" {\n  url = %q\n  prefix = %q\n  type = \"classic\"\n}\n"+
		"coordination \"redis\" {\n  url = %q\n  prefix = %q\n}\n", p.Database, p.Broker, p.Prefix, p.Redis, p.Prefix)
}
