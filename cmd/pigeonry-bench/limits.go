package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// limit is something that the machine can do without the gateway, so many times a second.
type limit struct {
	name string // in JSON
	what string // for people
	rate func(context.Context, time.Duration) (float64, error)
}

// limitsOf lists the limits that count for the engines measured.
func limitsOf(o options, f *fleet) []limit {
	common := []limit{
		{"plugin_unary_items", "plugin call, one item, 16 callers", pluginRate(o, 1)},
		{"plugin_batched_items", "plugin call, 100 items, 16 callers", pluginRate(o, 100)},
		{"http_noop_requests", "HTTP, empty answer, a connection for each caller", httpRate(o.callers)},
	}
	if o.engines == embedded {
		return append([]limit{
			{"sqlite_insert_rows", "SQLite, 300-byte rows with an index, 500 a transaction", sqliteRate(500)},
			{"sqlite_commits", "SQLite, transactions of one row", sqliteRate(1)},
		}, common...)
	}
	postgres, rabbit, redis := f.url(engine.Postgres), f.url(engine.Rabbit), f.url(engine.Redis)
	return append([]limit{
		{"postgres_copy_500_rows", "PostgreSQL COPY, 300-byte rows with an index, 500 a transaction", copyRate(postgres, 500)},
		{"postgres_copy_5000_rows", "PostgreSQL COPY, 300-byte rows with an index, 5000 a transaction", copyRate(postgres, 5000)},
		{"postgres_update_rows", "PostgreSQL UPDATE by unnest, 500 rows a transaction", updateRate(postgres)},
		{"rabbitmq_quorum_messages", "RabbitMQ, quorum queue: published, confirmed, consumed, acknowledged", rabbitRate(rabbit, amqp.QueueTypeQuorum)},
		{"rabbitmq_classic_messages", "RabbitMQ, classic queue: published, confirmed, consumed, acknowledged", rabbitRate(rabbit, amqp.QueueTypeClassic)},
		{"redis_sets", "Redis SET, 100 a pipeline", redisRate(redis)},
	}, common...)
}

func measureLimits(ctx context.Context, o options) (r report, err error) {
	f, err := fleetFor(ctx, o)
	if err != nil {
		return r, err
	}
	defer func() { err = errors.Join(err, f.stop(o.keep)) }()
	raw, err := rawLimits(ctx, o, f, o.duration/time.Duration(len(limitsOf(o, f))))
	return report{What: "limits", Engines: o.engines, Seconds: o.duration.Seconds(), Limits: raw}, err
}

// rawLimits measures each limit for a while, one after the other.
func rawLimits(ctx context.Context, o options, f *fleet, d time.Duration) (map[string]float64, error) {
	raw := make(map[string]float64)
	for _, l := range limitsOf(o, f) {
		rate, err := l.rate(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.what, err)
		}
		raw[l.name] = rate
	}
	return raw, nil
}

// repeat has callers repeat something for a while. It returns how many items were done a second.
func repeat(ctx context.Context, callers int, d time.Duration, once func(caller int) (items int, err error)) (float64, error) {
	var items atomic.Int64
	var wg sync.WaitGroup
	errs := make([]error, callers)
	began := time.Now()
	for i := range callers {
		wg.Go(func() {
			for time.Since(began) < d && ctx.Err() == nil && errs[i] == nil {
				var n int
				n, errs[i] = once(i)
				items.Add(int64(n))
			}
		})
	}
	wg.Wait()
	return float64(items.Load()) / time.Since(began).Seconds(), errors.Join(errors.Join(errs...), ctx.Err())
}

// httpRate asks an empty handler from as many connections as the load of single sends has.
func httpRate(callers int) func(context.Context, time.Duration) (float64, error) {
	return func(ctx context.Context, d time.Duration) (float64, error) {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return 0, err
		}
		server := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"data":{}}`)
		})}
		go func() { _ = server.Serve(listener) }() // ends with Close
		defer server.Close()
		samples, err := closedLoop(ctx, listener.Addr().String(), callers, d)
		return float64(len(samples)) / d.Seconds(), err
	}
}
