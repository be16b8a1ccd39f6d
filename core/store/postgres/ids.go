package postgres

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// minBlock and maxBlock bound how many ids a gateway takes from the database at a time: about as many as it used up
	// the last time, since what it takes and does not use moves all others ahead of the clock. A millisecond has 4096.
	minBlock = 512
	maxBlock = 40_960
	// blockLife is how long a block is used: an id carries its time, and an older block's would be wrong by more.
	blockLife = 100 * time.Millisecond
)

// blocks hands out ids from blocks that no other gateway has.
type blocks struct {
	pool *pgxpool.Pool
	now  func() time.Time // in place of the database's clock; nil: none

	mu               sync.Mutex
	first, next, end int64 // of the block
	until            time.Time
}

// ReserveIDs implements store.Intake.
func (s *Store) ReserveIDs(ctx context.Context, n int) (core.RecordID, error) {
	first, err := s.ids.reserve(ctx, int64(n))
	return core.RecordID(first), explain("reserve ids", err)
}

func (b *blocks) reserve(ctx context.Context, n int64) (int64, error) {
	if n < 1 {
		return 0, core.Errorf(core.KindInternal, "%d ids were asked for", n)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if b.end-b.next < n || now.After(b.until) {
		if err := b.take(ctx, max(n, b.size(now))); err != nil {
			return 0, err
		}
	}
	first := b.next
	b.next += n
	return first, nil
}

// size is that of the next block: twice what was used of the last one, or twice all of it if it did not last.
func (b *blocks) size(now time.Time) int64 {
	used := b.next - b.first
	if !now.After(b.until) {
		used = b.end - b.first
	}
	return min(max(2*used, minBlock), maxBlock)
}

// firstID is core.FirstRecordID at the database's clock, whatever the clocks of the gateways say.
func firstID() string {
	zero := core.RecordID(0).Time()
	return fmt.Sprintf("(floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint - %d) * %d",
		zero.UnixMilli(), core.FirstRecordID(zero.Add(time.Millisecond)))
}

// take begins a new block at the clock, or behind the blocks of others. A restart of the server cannot give a
// block out twice: the messages that use it are committed after it.
func (b *blocks) take(ctx context.Context, size int64) error {
	var next int64
	var replaced *int64
	if b.now != nil {
		replaced = new(int64(core.FirstRecordID(b.now())))
	}
	_, err := first(ctx, b.pool, func(r *row) { next = r.int() },
		"UPDATE id_blocks SET next = GREATEST(next, COALESCE($1, "+firstID()+")) + $2 RETURNING next", replaced, size)
	if err != nil {
		return err
	}
	b.first, b.next, b.end, b.until = next-size, next-size, next, time.Now().Add(blockLife)
	return nil
}
