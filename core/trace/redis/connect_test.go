package redis_test

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"testing"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/pigeonry/pigeonry/core/enginetest"
)

// connect opens a client of the tests' Redis, through a network that can fail.
func connect(tb testing.TB, n *network) *goredis.Client {
	tb.Helper()
	o, err := goredis.ParseURL(enginetest.URL(tb, enginetest.Redis).String())
	if err != nil {
		tb.Fatal(err)
	}
	o.ContextTimeoutEnabled = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if n != nil {
		o.Dialer = n.dial
	}
	client := goredis.NewClient(o)
	tb.Cleanup(func() { client.Close() })
	return client
}

// network leads to Redis as long as it is whole.
type network struct {
	cut  atomic.Bool // connections are refused and broken
	hung atomic.Bool // what is written never arrives
}

var errCut = errors.New("the network is cut")

func (n *network) dial(ctx context.Context, kind, address string) (net.Conn, error) {
	if n.cut.Load() {
		return nil, errCut
	}
	c, err := new(net.Dialer).DialContext(ctx, kind, address)
	return conn{c, n}, err
}

type conn struct {
	net.Conn
	network *network
}

func (c conn) Write(b []byte) (int, error) {
	switch {
	case c.network.cut.Load():
		return 0, errors.Join(errCut, c.Close())
	case c.network.hung.Load():
		return len(b), nil
	}
	return c.Conn.Write(b)
}
