package pluginhost

import (
	"context"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// maxCopies is how many batches of copies are under way at a time; what comes beyond is not copied.
	maxCopies = 8
	// copyTimeout bounds one batch of copies.
	copyTimeout = 30 * time.Second
)

// copying passes results on, and has the generation carry a copy of what was delivered once all of it has a
// result. Nothing that comes of the copies counts, but in the comparison of both versions.
func (g *generation) copying(connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) func([]core.Result) {
	select {
	case g.copies <- struct{}{}:
	default:
		return results
	}
	taken := make(map[core.RecordID]bool, len(batch)) // whether the provider took it, by message with a result
	return func(rs []core.Result) {
		for i := range rs {
			taken[rs[i].Record] = rs[i].Outcome == core.OutcomeAccepted
		}
		if len(taken) == len(batch) {
			g.host.work.Go(func() {
				defer func() { <-g.copies }()
				g.carryCopies(connector, batch, taken)
			})
		}
		results(rs)
	}
}

// carryCopies has the generation carry copies, and counts where it did not what the other version did.
func (g *generation) carryCopies(connector core.ConnectorID, batch []core.Delivery, taken map[core.RecordID]bool) {
	ctx, cancel := context.WithTimeout(context.Background(), copyTimeout)
	defer cancel()
	_ = g.carry(ctx, connector, batch, func(rs []core.Result) { // not handed over: there is nothing to compare
		for i := range rs {
			if taken[rs[i].Record] && blamesMessage(&rs[i]) {
				g.meter.disagree(1)
			}
		}
	})
}
