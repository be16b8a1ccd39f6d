package redis

import (
	"context"
	"strconv"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// spanBits is how many low bits of a bucket share a span: 4,096 buckets, about 70 minutes.
const spanBits = 12

func spanOf(bucket int64) int64 { return bucket >> spanBits }

// purgeStep is how many buckets one command removes.
const purgeStep = 512

// Purge implements trace.Store, for whole buckets: what began less than 1.1 seconds before the time may
// stay. Traces expire by themselves after the retention; a purge is for those that shall go sooner.
func (s *Store) Purge(ctx context.Context, before time.Time) error {
	end := bucketOf(core.FirstRecordID(before))
	spans, err := s.spans(ctx, spanOf(end))
	if err != nil {
		return unavailable("purge traces", err)
	}
	for _, span := range spans {
		if err := s.purgeSpan(ctx, span, end); err != nil {
			return unavailable("purge traces", err)
		}
	}
	return nil
}

// spans returns the spans that there are, up to a last one.
func (s *Store) spans(ctx context.Context, last int64) ([]int64, error) {
	members, err := s.client.ZRange(ctx, s.spansKey(), 0, -1).Result()
	if err != nil {
		return nil, err
	}
	var spans []int64
	for _, m := range members {
		if span, err := strconv.ParseInt(m, 10, 64); err == nil && span <= last {
			spans = append(spans, span)
		}
	}
	return spans, nil
}

// purgeSpan removes the buckets of a span that lie before an end, and the span itself if all do.
func (s *Store) purgeSpan(ctx context.Context, span, end int64) error {
	first, next := span<<spanBits, (span+1)<<spanBits
	for bucket := first; bucket < min(next, end); bucket += purgeStep {
		keys := make([]string, 0, purgeStep)
		for b := bucket; b < min(bucket+purgeStep, next, end); b++ {
			keys = append(keys, s.bucketKey(b))
		}
		if err := s.client.Unlink(ctx, keys...).Err(); err != nil {
			return err
		}
	}
	if next > end {
		return nil
	}
	return s.client.ZRem(ctx, s.spansKey(), span).Err()
}
