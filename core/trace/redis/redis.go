// Package redis keeps traces in Redis, for all gateways that share it.
//
// Traces are many and short, and a key for each would take several times the memory of what it holds. So
// those of messages that were accepted within about a second share a key, a bucket: a list to which each
// write adds one element with all that it has for the bucket. Under load a write of a thousand entries is a
// few commands. To read a trace, its bucket is read and searched; only people do that. A bucket expires
// when nothing was added to it for Options.Retention.
//
// Buckets of about an hour form a span, and a sorted set holds the spans that there are, so that a purge
// knows the keys without searching for them.
package redis

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/trace"
)

// DefaultPrefix begins the names of all keys.
const DefaultPrefix = "pigeonry:"

const (
	// patience is how long a write waits for Redis.
	patience = 2 * time.Second
	// pause is how long Redis is left alone after a write that failed. What comes meanwhile is dropped.
	pause = time.Second
)

var _ trace.Store = (*Store)(nil)

// Options of a store.
type Options struct {
	Prefix    string        // of all keys; empty: DefaultPrefix
	Retention time.Duration // after the last entry of a bucket; 0: trace.Retention
	Buffer    int           // entries that wait to be written at most; 0: trace.DefaultBuffer
	Logger    *slog.Logger  // hears when Redis is lost and found; nil: slog.Default
}

// Store keeps traces. It implements trace.Store.
type Store struct {
	*trace.Buffer

	client    *goredis.Client
	prefix    string
	retention atomic.Int64 // a time.Duration
	writer    writer
}

// New makes a store on a client, which it does not close. Redis need not be there yet. A sound client has
// ContextTimeoutEnabled, so that no read waits for longer than its context.
func New(client *goredis.Client, o Options) *Store {
	s := &Store{client: client, prefix: cmp.Or(o.Prefix, DefaultPrefix)}
	s.Retain(o.Retention)
	s.writer = writer{store: s, logger: cmp.Or(o.Logger, slog.Default()), chunks: map[int64]*chunk{}}
	s.Buffer = trace.NewBuffer(o.Buffer, s.writer.write)
	return s
}

// Retain changes Options.Retention. Buckets get it with their next entry; what shall go sooner is Purge's.
func (s *Store) Retain(d time.Duration) { s.retention.Store(int64(cmp.Or(max(d, 0), trace.Retention))) }

func (s *Store) bucketKey(bucket int64) string {
	return s.prefix + "trace:" + strconv.FormatInt(bucket, 36)
}

func (s *Store) spansKey() string { return s.prefix + "trace:spans" }

// Nodes implements trace.Reader.
func (s *Store) Nodes(ctx context.Context, account core.AccountID, id core.TraceID) ([]core.Node, error) {
	p, ok := placeOf(id)
	if !ok {
		return nil, nil
	}
	chunks, err := s.client.LRange(ctx, s.bucketKey(p.bucket), 0, -1).Result()
	if err != nil {
		return nil, unavailable("read a trace", err)
	}
	var nodes []core.Node
	for _, c := range chunks {
		more, err := parseChunk(c, account, p)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, more...)
	}
	return nodes, nil
}

func unavailable(what string, err error) error {
	return fmt.Errorf("%s: %w", what, &core.Error{
		Kind: core.KindUnavailable, Message: "the traces cannot be reached now; try again later", Cause: err,
	})
}

// Close writes what waits and ends. Without Redis it is dropped.
func (s *Store) Close() error {
	s.Buffer.Close()
	return nil
}
