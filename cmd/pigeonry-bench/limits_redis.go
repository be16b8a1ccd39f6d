package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisRate sets keys, 100 a pipeline, and deletes all in the end.
func redisRate(url string) func(context.Context, time.Duration) (float64, error) {
	const size, keys = 100, 100_000
	return func(ctx context.Context, d time.Duration) (rate float64, err error) {
		o, err := redis.ParseURL(url)
		if err != nil {
			return 0, err
		}
		client := redis.NewClient(o)
		defer func() {
			err = errors.Join(err, client.FlushDB(context.WithoutCancel(ctx)).Err(), client.Close())
		}()
		var next [writers]int
		body := rowBody()
		return repeat(ctx, writers, d, func(writer int) (int, error) {
			pipeline := client.Pipeline()
			for range size {
				next[writer] = (next[writer] + 1) % keys
				pipeline.Set(ctx, "raw:"+strconv.Itoa(next[writer]), body, time.Hour)
			}
			_, err := pipeline.Exec(ctx)
			return size, err
		})
	}
}
