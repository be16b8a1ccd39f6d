// Package postgres keeps the truth in PostgreSQL, for any number of gateways. A commit is answered when the
// server has it on disk (synchronous_commit, without which no database is opened; who turns it off later loses that).
//
// What runs often is set-based: one statement for hundreds of messages, and calls that come while a statement
// runs share the next one. Every claim, result and sweep decides by a condition in its statement, so that
// gateways need no lock between them.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pigeonry/pigeonry/core/store"
)

var _ store.Store = (*Store)(nil)

const (
	// defaultConns is how many connections a gateway has at most, unless the URL says pool_max_conns.
	defaultConns = 16
	// connectTimeout bounds the way to a connection.
	connectTimeout = 5 * time.Second
	// statementTimeout ends on the server what nobody waits for any more.
	statementTimeout = 60 * time.Second
)

// Options say which database to open and how.
type Options struct {
	// URL is a connection string, see https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING,
	// which may also have the parameters pool_max_conns, pool_min_conns and pool_max_conn_lifetime.
	URL string
	// Keep is how long messages are kept, by whole days; 0: for ever.
	Keep time.Duration
	// KeepReferences is how long a provider may take with its receipts; default 7 days.
	KeepReferences time.Duration
	// Now replaces the database's clock, which ids and partitions are made from.
	Now func() time.Time
	// Logger hears of partitions that come and go, and of what keeps one from going; default slog.Default.
	Logger *slog.Logger
}

// Store is a database. It implements store.Store.
type Store struct {
	pool       *pgxpool.Pool
	ids        *blocks
	partitions *partitions
	days       *days
	replaced   func() time.Time // in place of the database's clock; nil: none
	claims     *group[claimCall]
	records    *group[recordCall]
	lists      chan struct{} // a place for each list that is being read
	logger     *slog.Logger
	close      func()
}

// Open opens a database and brings its schema up to date; several gateways may do so at once. It fails with an
// error that says what to mend if the URL, the user or the password is wrong, the server is too old or answers a commit
// before it has it on disk, or a newer version wrote the schema.
func Open(ctx context.Context, o Options) (*Store, error) {
	return open(ctx, o, func(ctx context.Context, config *pgxpool.Config) error { return migrate(ctx, config.ConnConfig) })
}

// OpenBeside opens a database for a command that runs beside gateways: it changes no schema and fails if that is
// not the one this version knows.
func OpenBeside(ctx context.Context, o Options) (*Store, error) {
	return open(ctx, o, func(ctx context.Context, config *pgxpool.Config) error { return checkSchema(ctx, config.ConnConfig) })
}

func open(ctx context.Context, o Options, prepare func(context.Context, *pgxpool.Config) error) (*Store, error) {
	o = o.withDefaults()
	config, err := configure(o.URL)
	if err != nil {
		return nil, err
	}
	where := fmt.Sprintf("PostgreSQL at %s:%d, database %s", config.ConnConfig.Host, config.ConnConfig.Port, config.ConnConfig.Database)
	err = checkServer(ctx, config.ConnConfig, o.Logger)
	if err == nil {
		err = prepare(ctx, config)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, advise(err, config.ConnConfig.User))
	}
	// Changes of the schema may take their time; from here on nothing does.
	dialer := &dialer{}
	config.ConnConfig.DialFunc, config.PingTimeout, config.AfterConnect = dialer.dial, pingTimeout, acceptArrays
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", where, advise(err, config.ConnConfig.User))
	}
	dialer.silent.Store(new(pool.Reset))
	s := newStore(pool, o)
	if err := s.partitions.ensure(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: make the partitions of the days to come: %w", where, err), s.Close())
	}
	return s, nil
}

func (o Options) withDefaults() Options {
	if o.KeepReferences == 0 {
		o.KeepReferences = 7 * day
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func newStore(pool *pgxpool.Pool, o Options) *Store {
	s := &Store{pool: pool, ids: &blocks{pool: pool, now: o.Now}, replaced: o.Now, lists: make(chan struct{}, maxLists), logger: o.Logger}
	s.days = newDays()
	s.partitions = &partitions{pool: pool, days: s.days, now: s.Now, o: o}
	s.claims = newGroup(s.claimAll)
	s.records = newGroup(s.recordAll)
	watching, unwatch := context.WithCancel(context.Background())
	var watch sync.WaitGroup
	watch.Go(func() { s.partitions.watch(watching, lookEvery) })
	s.close = sync.OnceFunc(func() {
		unwatch()
		watch.Wait()
		s.claims.wait()
		s.records.wait()
		pool.Close()
	})
	return s
}

// configure reads a URL. Its error does not repeat the URL, which holds a password.
func configure(url string) (*pgxpool.Config, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, errors.New("the URL of PostgreSQL cannot be read; write postgres://user:password@host:5432/database?sslmode=require")
	}
	if !strings.Contains(url, "pool_max_conns") {
		config.MaxConns = defaultConns
	}
	config.ConnConfig.ConnectTimeout = connectTimeout
	for name, value := range map[string]string{
		"application_name":  "pigeonry",
		"statement_timeout": fmt.Sprint(statementTimeout.Milliseconds()),
		"timezone":          "UTC",
		// Statements are planned once, not each time, and by their indexes: a day's partition is empty when it is first
		// planned for, and a plan that reads all of it would stay when it is full.
		"plan_cache_mode":  "force_generic_plan",
		"enable_seqscan":   "off",
		"enable_hashjoin":  "off",
		"enable_mergejoin": "off",
		"jit":              "off",
	} {
		if _, given := config.ConnConfig.RuntimeParams[name]; !given {
			config.ConnConfig.RuntimeParams[name] = value
		}
	}
	return config, nil
}

// Check reads from the database, for readiness.
func (s *Store) Check(ctx context.Context) error {
	_, err := exec(ctx, s.pool, "SELECT next FROM id_blocks")
	return explain("check the database", err)
}

// Now reads the database's clock.
func (s *Store) Now(ctx context.Context) (now time.Time, err error) {
	if s.replaced != nil {
		return s.replaced(), nil
	}
	err = s.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&now)
	return now, explain("read the database's clock", err)
}

// Close waits for writes under way and closes the connections.
func (s *Store) Close() error {
	s.close()
	return nil
}

// attempts is how often a transaction is tried that loses against another one.
const attempts = 5

// tx runs f in a transaction. f may run more than once, so it must set what it returns anew each time.
func (s *Store) tx(ctx context.Context, what string, f func(pgx.Tx) error) error {
	for n := 1; ; n++ {
		began := false
		err := pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			began = true
			if err := f(tx); err != nil {
				return &bodyError{err}
			}
			return nil
		})
		switch {
		case err == nil:
			return nil
		case s.worthRepeating(err) && n < attempts:
			continue
		}
		// What failed before the commit changed nothing.
		if body, ok := errors.AsType[*bodyError](err); ok {
			return explain(what, body.cause)
		}
		if !began {
			return explain(what, err)
		}
		return unknown(what, err)
	}
}

// pipeline runs the statements that f queues in one round trip and one transaction. f may run more than once: a batch is
// sent only once.
func (s *Store) pipeline(ctx context.Context, what string, f func(*pgx.Batch)) error {
	for n := 1; ; n++ {
		conn, err := s.pool.Acquire(ctx)
		if err != nil {
			return explain(what, err)
		}
		batch := &pgx.Batch{}
		f(batch)
		err = conn.SendBatch(ctx, batch).Close()
		conn.Release()
		if err == nil || n == attempts || !s.worthRepeating(err) {
			return unknown(what, err)
		}
	}
}

// bodyError is an error of a transaction's body, not of its commit.
type bodyError struct{ cause error }

func (e *bodyError) Error() string { return e.cause.Error() }

func (e *bodyError) Unwrap() error { return e.cause }
