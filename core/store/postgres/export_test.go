package postgres

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// KnowsDay says whether statements about messages of a time name the tables of their day.
func (s *Store) KnowsDay(at time.Time) bool {
	return s.days.of([]int64{int64(core.FirstRecordID(at))}) != nil
}

// WatchPartitions looks at the partitions as often as it is told.
func (s *Store) WatchPartitions(ctx context.Context, every time.Duration) {
	s.partitions.watch(ctx, every)
}
