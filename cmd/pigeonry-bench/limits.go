package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"zombiezen.com/go/sqlite"
	"zombiezen.com/go/sqlite/sqlitex"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

// limits are what the machine can do without the gateway, a second.
type limits struct {
	SQLiteRows    float64 `json:"sqlite_insert_rows"`   // 300-byte rows with an index, 500 a transaction, synchronous=FULL
	SQLiteCommits float64 `json:"sqlite_commits"`       // transactions of one row
	PluginUnary   float64 `json:"plugin_unary_items"`   // one item a call, 16 callers
	PluginBatched float64 `json:"plugin_batched_items"` // 100 items a call, 16 callers
	HTTPNoop      float64 `json:"http_noop_requests"`   // an empty answer by net/http, load included
}

func measureLimits(ctx context.Context, o options) (report, error) {
	raw, err := rawLimits(ctx, o, o.duration/5)
	return report{What: "limits", Engines: o.engines, Seconds: o.duration.Seconds(), Limits: raw}, err
}

// rawLimits measures each limit for a while, one after the other.
func rawLimits(ctx context.Context, o options, d time.Duration) (*limits, error) {
	var l limits
	var err error
	if l.SQLiteRows, err = sqliteRate(d, 500); err != nil {
		return nil, fmt.Errorf("SQLite rows: %w", err)
	}
	if l.SQLiteCommits, err = sqliteRate(d, 1); err != nil {
		return nil, fmt.Errorf("SQLite commits: %w", err)
	}
	if l.PluginUnary, err = pluginRate(ctx, o, d, 1); err != nil {
		return nil, fmt.Errorf("plugin call: %w", err)
	}
	if l.PluginBatched, err = pluginRate(ctx, o, d, 100); err != nil {
		return nil, fmt.Errorf("batched plugin call: %w", err)
	}
	if l.HTTPNoop, err = httpRate(ctx, d); err != nil {
		return nil, fmt.Errorf("HTTP: %w", err)
	}
	return &l, nil
}

// sqliteRate inserts rows in transactions of a size.
func sqliteRate(d time.Duration, size int) (rate float64, err error) {
	dir, err := os.MkdirTemp("", "pigeonry-bench-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	conn, err := sqlite.OpenConn(filepath.Join(dir, "raw.db"), sqlite.OpenReadWrite, sqlite.OpenCreate, sqlite.OpenWAL)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	err = sqlitex.ExecuteScript(conn, `CREATE TABLE t (id INTEGER PRIMARY KEY, account INTEGER, body TEXT); CREATE INDEX t_account ON t (account)`, nil)
	if err != nil {
		return 0, err
	}
	if err := sqlitex.ExecuteTransient(conn, "PRAGMA synchronous = FULL", nil); err != nil {
		return 0, err
	}
	insert, err := conn.Prepare("INSERT INTO t (account, body) VALUES (?, ?)")
	if err != nil {
		return 0, err
	}
	body := strings.Repeat("x", 300)
	began, n := time.Now(), 0
	for ; time.Since(began) < d; n += size {
		if err := insertRows(conn, insert, size, body); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(began).Seconds(), nil
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

// pluginRate calls the null plugin from 16 callers with batches of a size.
func pluginRate(ctx context.Context, o options, d time.Duration, size int) (float64, error) {
	service, stop, err := startPlugin(ctx, o)
	if err != nil {
		return 0, err
	}
	defer stop()
	request := &channelv1.DeliverRequest{Connector: "null/main"}
	for i := range size {
		request.Items = append(request.Items, &channelv1.Item{
			AttemptId: fmt.Sprintf("%d.1", i), MessageId: fmt.Sprint(i), Attempt: 1, Connector: "null/main",
			Recipient: "bench", Content: &channelv1.Content{Text: strings.Repeat("x", 300)},
		})
	}
	var items atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, 16)
	began := time.Now()
	for i := range errs {
		wg.Go(func() {
			for time.Since(began) < d && errs[i] == nil {
				errs[i] = deliver(ctx, service, request)
				items.Add(int64(size))
			}
		})
	}
	wg.Wait()
	return float64(items.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

func deliver(ctx context.Context, service channelv1.ChannelServiceClient, request *channelv1.DeliverRequest) error {
	stream, err := service.Deliver(ctx, request)
	if err != nil {
		return err
	}
	for {
		if _, err := stream.Recv(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
	}
}

// startPlugin starts the null plugin without the gateway, over the same transport.
func startPlugin(ctx context.Context, o options) (channelv1.ChannelServiceClient, func(), error) {
	bin, err := binaries(o)
	if err != nil {
		return nil, nil, err
	}
	found, err := filepath.Glob(filepath.Join(bin, "examples", "plugins", "null", "*", "null"))
	if err != nil || len(found) == 0 {
		return nil, nil, errors.New("the null plugin is not built; build it with: make build")
	}
	host := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig: sdk.Handshake, AutoMTLS: true, Logger: hclog.NewNullLogger(),
		Plugins:          plugin.PluginSet{sdk.PluginName: sdk.ClientPlugin{}},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		Cmd:              exec.Command(found[len(found)-1]),
	})
	service, err := dispense(host)
	if err == nil {
		_, err = service.Configure(ctx, &channelv1.ConfigureRequest{Connector: "null/main", Revision: 1, Config: []byte("{}")})
	}
	if err != nil {
		host.Kill()
		return nil, nil, err
	}
	return service, host.Kill, nil
}

func dispense(host *plugin.Client) (channelv1.ChannelServiceClient, error) {
	protocol, err := host.Client()
	if err != nil {
		return nil, err
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return nil, err
	}
	service, ok := raw.(channelv1.ChannelServiceClient)
	if !ok {
		return nil, fmt.Errorf("the plugin serves %T", raw)
	}
	return service, nil
}

// httpRate asks an empty handler from as many connections as the load of single sends has.
func httpRate(ctx context.Context, d time.Duration) (float64, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"data":{}}`)
	})}
	go func() { _ = server.Serve(listener) }() // ends with Close
	defer server.Close()
	samples, err := closedLoop(ctx, listener.Addr().String(), connCount, d)
	return float64(len(samples)) / d.Seconds(), err
}
