package engine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"syscall"
)

// redis runs Redis with its append-only file, so that it is the same after a kill.
type redis struct {
	*place
	server string
}

// NewRedis prepares a Redis.
func NewRedis(o Options) (*Engine, error) {
	server, err := locate("redis-server", "", "redis-server")
	if err != nil {
		return nil, err
	}
	port, err := ports{22000, 2000}.choose(1)
	if err != nil {
		return nil, err
	}
	p, err := newPlace(Redis, "redis", port[0], o)
	if err != nil {
		return nil, err
	}
	e := &Engine{place: p, url: "redis://" + p.address() + "/0", orderly: syscall.SIGTERM}
	e.technology = &redis{place: &e.place, server: server}
	return e, nil
}

func (r *redis) prepare(context.Context, *journal) error { return r.makeData() }

func (r *redis) programs() []program {
	sync := "no"
	if r.durable {
		sync = "everysec"
	}
	return []program{{r.command(r.server, "--port", strconv.Itoa(r.port), "--bind", "127.0.0.1", "--dir", r.data(),
		"--save", "", "--appendonly", "yes", "--appendfsync", sync), r.ready}}
}

// ready asks for PONG: while Redis loads its file it answers with an error.
func (r *redis) ready(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", r.address())
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
		return err
	}
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err == nil && answer != "+PONG\r\n" {
		err = errors.New(strings.TrimSpace(answer))
	}
	return err
}
