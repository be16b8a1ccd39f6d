// Package sqlite keeps the truth in one SQLite file, for a gateway that runs alone. Every commit is on
// disk before it is answered (WAL, synchronous=FULL). One goroutine writes, and puts all writes that
// wait into one transaction; reads run beside it on connections of their own.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	"github.com/pigeonry/pigeonry/core/store"
)

var _ store.Store = (*Store)(nil)

const (
	// readers is how many reads run at a time.
	readers = 4
	// busyTimeout is how long a write waits for another process, such as a command that makes a key.
	busyTimeout = 5 * time.Second
	// writerCache and readerCache bound the pages that a connection keeps in memory, in KiB. The
	// operating system caches the file besides.
	writerCache = 32 << 10
	readerCache = 4 << 10
	// walPages is the size of the log, in pages of 4 KiB, at which its content moves into the database.
	walPages = 4000
	// walKeep is the size in bytes to which the log's file shrinks when a burst had made it larger.
	walKeep = 64 << 20
)

// Options say which database to open and how.
type Options struct {
	// Path is the database file. It and its folder are made if absent; a lock file stands beside it.
	Path string
	// Exclusive is for a gateway: it claims the file for itself and fails if another gateway has it.
	// Without it the file may be opened beside a running gateway, by a command that reads or makes a key;
	// such a store takes in no messages.
	Exclusive bool
	// Keep is how long messages are kept; 0: for ever.
	Keep time.Duration
	// Now is the clock that ids are made from; default time.Now.
	Now func() time.Time
}

// Store is a database. It implements store.Store.
type Store struct {
	ids     *sequence
	lock    *fileLock // nil: not exclusive
	writer  *writer
	readers *sqlitex.Pool
	blocks  blocks // only the writer's
	keep    time.Duration
	close   func() error
}

// Open opens a database and brings its schema up to date. It fails with a clear error if another gateway
// has the file, if the file is no database or damaged, or if a newer version wrote it.
func Open(ctx context.Context, o Options) (_ *Store, err error) {
	if o.Now == nil {
		o.Now = time.Now
	}
	if err := os.MkdirAll(filepath.Dir(o.Path), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of the database: %w", err)
	}
	s := &Store{keep: o.Keep}
	s.close = sync.OnceValue(s.end)
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("database %s: %w", o.Path, explain("open", err)), s.end())
		}
	}()
	if err := s.prepare(ctx, o); err != nil {
		return nil, err
	}
	writing, err := openWriting(o.Path)
	if err != nil {
		return nil, err
	}
	s.writer = startWriter(writing)
	s.readers, err = sqlitex.NewPool(uri(o.Path), sqlitex.PoolOptions{
		Flags: sqlite.OpenReadOnly | sqlite.OpenURI, PoolSize: readers,
		PrepareConn: func(c *sqlite.Conn) error {
			return configure(conn{c}, pragma{"cache_size", -readerCache})
		},
	})
	if err != nil {
		return nil, err
	}
	return s, s.resume(ctx, o)
}

// prepare takes the lock and brings the schema up to date. A store that is not exclusive holds the lock
// only for that, and where a gateway has it, the schema must be right already.
func (s *Store) prepare(ctx context.Context, o Options) error {
	lock, err := lockFile(o.Path + ".lock")
	if errors.Is(err, errLocked) && !o.Exclusive {
		return checkSchema(ctx, o.Path)
	}
	if err != nil {
		return err
	}
	if err := migrate(ctx, o.Path); err != nil || !o.Exclusive {
		return errors.Join(err, lock.unlock())
	}
	s.lock = lock
	return nil
}

// resume makes ids and blocks go on from the highest that the database has.
func (s *Store) resume(ctx context.Context, o Options) error {
	s.ids = &sequence{now: o.Now, closed: !o.Exclusive}
	err := s.read(ctx, "find the last id", func(c conn) error {
		if err := s.blocks.resume(c); err != nil {
			return err
		}
		_, err := c.prepare(`SELECT MAX(
			(SELECT IFNULL(MAX(id), 0) FROM message_records),
			(SELECT IFNULL(MAX(id), 0) FROM message_batches),
			(SELECT IFNULL(MAX(id), 0) FROM outbox))`).first(func(r *row) { s.ids.last = r.int() })
		return err
	})
	if err != nil || !o.Exclusive {
		return err
	}
	return s.lapseAll(ctx, o.Now())
}

// lapseAll makes every claim due. Whoever has the file for itself knows that the workers of the claims
// are gone, and need not wait for their leases.
func (s *Store) lapseAll(ctx context.Context, now time.Time) error {
	return s.write(ctx, "take up claims of an earlier run", 1, func(c conn) error {
		_, err := c.prepare(`UPDATE message_records SET wake_at = ?1, lease_until = ?1
			WHERE status = 'sending' AND wake_at > ?1`).time(now).run()
		return err
	})
}

// Check reads from the database, for readiness.
func (s *Store) Check(ctx context.Context) error {
	return s.read(ctx, "check the database", func(c conn) error {
		_, err := c.prepare("SELECT id FROM message_records ORDER BY id DESC LIMIT 1").first(func(*row) {})
		return err
	})
}

// Now is the time of this machine, which the database shares.
func (s *Store) Now(context.Context) (time.Time, error) { return time.Now(), nil }

// Close waits for writes under way and closes the file. Further calls return what the first did.
func (s *Store) Close() error { return s.close() }

func (s *Store) end() error {
	var errs []error
	if s.readers != nil {
		errs = append(errs, s.readers.Close())
	}
	if s.writer != nil {
		s.writer.stop()
		errs = append(errs, s.writer.conn.Close())
	}
	if s.lock != nil {
		errs = append(errs, s.lock.unlock())
	}
	return errors.Join(errs...)
}

// write runs f in a transaction that it may share with others, and returns once it is on disk. Rows is
// how many rows f is about to touch. f may run twice, so it must set what it returns anew each time. An
// error of f rolls back; a refusal that changes nothing is better kept in a variable of f's.
func (s *Store) write(ctx context.Context, what string, rows int, f func(conn) error) error {
	return s.writer.do(ctx, what, rows, f)
}

// read runs f on a connection of its own.
func (s *Store) read(ctx context.Context, what string, f func(conn) error) error {
	c, err := s.readers.Take(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return explain(what, errClosed)
	}
	defer s.readers.Put(c)
	err = f(conn{c})
	if sqlite.ErrCode(err) == sqlite.ResultInterrupt && ctx.Err() != nil {
		return ctx.Err()
	}
	return explain(what, err)
}

// openWriting opens the connection that writes.
func openWriting(path string) (conn, error) {
	raw, err := sqlite.OpenConn(uri(path), sqlite.OpenReadWrite, sqlite.OpenURI, sqlite.OpenWAL)
	if err != nil {
		return conn{}, err
	}
	c := conn{raw}
	err = configure(c, pragma{"synchronous", 2 /* FULL */}, pragma{"cache_size", -writerCache},
		pragma{"wal_autocheckpoint", walPages}, pragma{"journal_size_limit", walKeep}, pragma{"temp_store", 2 /* memory */})
	if err != nil {
		return conn{}, errors.Join(err, raw.Close())
	}
	return c, nil
}

// pragma is a setting of a connection, see https://sqlite.org/pragma.html.
type pragma struct {
	name  string
	value int
}

// configure sets how long a connection waits for a lock, and pragmas.
func configure(c conn, pragmas ...pragma) error {
	c.SetBusyTimeout(busyTimeout)
	for _, p := range pragmas {
		if err := c.exec(fmt.Sprintf("PRAGMA %s = %d", p.name, p.value)); err != nil {
			return err
		}
	}
	return nil
}

// uri is the name that SQLite opens a path by, whatever characters are in it.
func uri(path string) string {
	return "file:" + (&url.URL{Path: path}).EscapedPath()
}
