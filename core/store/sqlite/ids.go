package sqlite

import (
	"context"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// sequence makes ids that grow with time: for messages, batches and envelopes. They need no write: an id
// made after a restart is above all that were stored, and above all that were only made unless the
// clock was set back.
type sequence struct {
	now    func() time.Time
	closed bool // a store beside a gateway makes none, as both might make the same

	mu   sync.Mutex
	last int64
}

// reserve sets n ids aside and returns the first.
func (s *sequence) reserve(n int) (int64, error) {
	if s.closed {
		return 0, core.Errorf(core.KindConflict, "the database was opened beside a gateway, which alone takes messages in")
	}
	if n < 1 {
		return 0, core.Errorf(core.KindInternal, "%d ids were asked for", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	first := max(s.last+1, int64(core.FirstRecordID(s.now())))
	s.last = first + int64(n) - 1
	return first, nil
}

// ReserveIDs implements store.Intake.
func (s *Store) ReserveIDs(_ context.Context, n int) (core.RecordID, error) {
	first, err := s.ids.reserve(n)
	return core.RecordID(first), err
}
