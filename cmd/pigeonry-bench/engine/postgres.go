package engine

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// postgres runs PostgreSQL. Its superuser needs no password: only this machine reaches it.
type postgres struct {
	*place
	url    string
	server string
}

// NewPostgres prepares a PostgreSQL.
func NewPostgres(o Options) (*Engine, error) {
	server, err := locate("postgres", "/usr/lib/postgresql/*/bin", "postgresql")
	if err != nil {
		return nil, err
	}
	port, err := ports{20000, 2000}.choose(1)
	if err != nil {
		return nil, err
	}
	p, err := newPlace(Postgres, "postgres", port[0], o)
	if err != nil {
		return nil, err
	}
	p.orphaned = syscall.SIGQUIT // an immediate end that also removes its shared memory
	e := &Engine{place: p, url: "postgres://postgres@" + p.address() + "/postgres?sslmode=disable", orderly: syscall.SIGINT}
	e.technology = &postgres{place: &e.place, url: e.url, server: server}
	return e, nil
}

// prepare makes an empty cluster, under another name until it is whole.
func (p *postgres) prepare(ctx context.Context, log *journal) error {
	if _, err := os.Stat(p.data()); err == nil {
		return nil
	}
	fresh := p.data() + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	initdb := p.command(filepath.Join(filepath.Dir(p.server), "initdb"),
		"-D", fresh, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err := run(ctx, initdb, log.File); err != nil {
		return err
	}
	return os.Rename(fresh, p.data())
}

func (p *postgres) programs() []program {
	args := []string{"-D", p.data(), "-p", strconv.Itoa(p.port)}
	for _, setting := range p.settings() {
		args = append(args, "-c", setting)
	}
	return []program{{p.command(p.server, args...), p.ready}}
}

// settings are for a machine of 2 cores whose memory is not PostgreSQL's alone. Committed means written
// either way, so a kill loses nothing; durable means synced as well. WAL files are kept for use again, as on a server
// that has run for a while: to make one costs zeros of 16 MB and a sync, while everything waits.
func (p *postgres) settings() []string {
	common := []string{
		"listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200", "timezone=UTC",
		"max_wal_size=4GB", "min_wal_size=4GB", "checkpoint_timeout=15min", "jit=off", "log_checkpoints=off",
	}
	if p.durable {
		return append(common, "fsync=on", "synchronous_commit=on", "full_page_writes=on",
			"shared_buffers=2GB", "wal_buffers=16MB", "effective_cache_size=6GB")
	}
	return append(common, "fsync=off", "full_page_writes=off", "shared_buffers=128MB", "wal_level=minimal", "max_wal_senders=0")
}

func (p *postgres) ready(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, p.url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
