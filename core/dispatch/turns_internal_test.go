package dispatch

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/pigeonry/pigeonry/core"
)

// Those who wait get their turns by the weights of their lanes, and in their order within one.
func TestTurnsGoByLane(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns turns
		if err := turns.take(t.Context(), core.LaneLow); err != nil {
			t.Fatal(err)
		}
		var order []core.Lane
		var wg sync.WaitGroup
		for range 3 {
			for _, lane := range []core.Lane{core.LaneLow, core.LaneNormal, core.LaneUrgent} {
				wg.Go(func() {
					if err := turns.take(t.Context(), lane); err != nil {
						t.Error(err)
					}
					order = append(order, lane) // nobody else has the turn
					turns.give()
				})
				synctest.Wait()
			}
		}
		turns.give()
		wg.Wait()
		want := []core.Lane{
			core.LaneUrgent, core.LaneUrgent, core.LaneNormal, core.LaneUrgent, core.LaneLow, // 16 to 4 to 1
			core.LaneNormal, core.LaneNormal, core.LaneLow, core.LaneLow,
		}
		if !slices.Equal(order, want) {
			t.Errorf("the turns went %v, want %v", order, want)
		}
	})
}

// Who stops waiting is passed over, and a turn that came to it meanwhile goes on.
func TestTurnsOfThoseWhoLeave(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var turns turns
		if err := turns.take(t.Context(), core.LaneLow); err != nil {
			t.Fatal(err)
		}
		impatient, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := turns.take(impatient, core.LaneUrgent); err == nil {
				t.Error("a turn came although nobody gave one")
			}
		})
		synctest.Wait()
		leave()
		wg.Wait()
		wg.Go(func() {
			if err := turns.take(t.Context(), core.LaneLow); err != nil {
				t.Error(err)
			}
			turns.give()
		})
		synctest.Wait()
		turns.give()
		wg.Wait()
		if turns.taken {
			t.Error("the turn got lost")
		}
	})
}
