package redis

import (
	"context"
	"log/slog"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/pigeonry/pigeonry/core/trace"
)

// writer writes batches. It is used on the buffer's goroutine.
type writer struct {
	store   *Store
	logger  *slog.Logger
	chunks  map[int64]*chunk // of the present batch, by bucket
	retryAt time.Time        // zero: Redis is there
	lost    int              // entries in this outage
}

// chunk is what a batch has for a bucket.
type chunk struct {
	entries int
	bytes   []byte
}

// write adds entries to their buckets and returns how many were lost. Those whose id is not a trace id are
// left out.
func (w *writer) write(entries []trace.Entry) (lost int) {
	if time.Now().Before(w.retryAt) {
		w.lost += len(entries)
		return len(entries)
	}
	w.encode(entries)
	lost, err := w.send()
	clear(w.chunks)
	w.tell(lost, err)
	return lost
}

func (w *writer) encode(entries []trace.Entry) {
	for i := range entries {
		p, ok := placeOf(entries[i].TraceID)
		if !ok {
			continue
		}
		c := w.chunks[p.bucket]
		if c == nil {
			c = &chunk{bytes: []byte{format}}
			w.chunks[p.bucket] = c
		}
		c.bytes = appendEntry(c.bytes, p, &entries[i])
		c.entries++
	}
}

// send writes the chunks in one round trip and returns how many entries were refused.
func (w *writer) send() (lost int, err error) {
	if len(w.chunks) == 0 {
		return 0, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pipe := w.store.client.Pipeline()
	added := w.add(ctx, pipe)
	_, err = pipe.Exec(ctx)
	for _, a := range added {
		if a.cmd.Err() != nil {
			lost += a.entries
		}
	}
	return lost, err
}

// addition is a chunk on its way.
type addition struct {
	cmd     *goredis.IntCmd
	entries int
}

// add gives the commands to a pipeline.
func (w *writer) add(ctx context.Context, pipe goredis.Pipeliner) []addition {
	s := w.store
	retention := time.Duration(s.retention.Load())
	spans := map[int64]bool{}
	added := make([]addition, 0, len(w.chunks))
	for bucket, c := range w.chunks {
		key := s.bucketKey(bucket)
		added = append(added, addition{pipe.RPush(ctx, key, c.bytes), c.entries})
		pipe.Expire(ctx, key, retention)
		spans[spanOf(bucket)] = true
	}
	for span := range spans {
		pipe.ZAdd(ctx, s.spansKey(), goredis.Z{Score: float64(span), Member: span})
	}
	pipe.Expire(ctx, s.spansKey(), retention)
	return added
}

// tell reports the beginning and the end of an outage, once each.
func (w *writer) tell(lost int, err error) {
	switch {
	case err != nil:
		if w.retryAt.IsZero() {
			w.logger.Warn("traces: Redis does not take them; entries are dropped until it does", "error", err)
		}
		w.retryAt = time.Now().Add(pause)
		w.lost += lost
	case !w.retryAt.IsZero():
		w.logger.Info("traces: Redis takes them again", "dropped", w.lost)
		w.retryAt, w.lost = time.Time{}, 0
	}
}
