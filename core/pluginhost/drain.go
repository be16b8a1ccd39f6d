package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// drain waits until no call is left, then has the plugin finish what it does by itself: flush, hand
// over the last events, take leave of its provider. Both share the time that ctx has.
func (g *generation) drain(ctx context.Context, p *process, idle <-chan struct{}) error {
	deadline, _ := ctx.Deadline()
	patience := time.Until(deadline) * 3 / 4 // the rest is the plugin's
	var cut error
	if !awaitIdle(ctx, idle, p.runner.ended, patience) && g.status().InFlight > 0 {
		cut = fmt.Errorf("retire plugin %s %s: %w", g.plugin.name, g.version, errCutOff)
	}
	if err := askToDrain(ctx, p, time.Until(deadline)); err != nil && !errors.Is(err, io.EOF) {
		g.log.WarnContext(ctx, "plugin did not drain", "error", callError("Drain", err))
	}
	return cut
}

// awaitIdle waits until no call is left. A process that has ended has none that could still succeed.
func awaitIdle(ctx context.Context, idle, ended <-chan struct{}, limit time.Duration) bool {
	if isClosed(idle) {
		return true
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-idle:
		return true
	case <-ended:
		return true
	case <-ctx.Done():
	case <-timer.C:
	}
	return false
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// askToDrain returns when the plugin says that it is done. The plugin is told a little less than the
// limit, so that its answer comes in time.
func askToDrain(ctx context.Context, p *process, limit time.Duration) error {
	stream, err := p.service.Drain(ctx, &channelv1.DrainRequest{
		Deadline: durationpb.New(max(0, limit*3/4)), Reason: "the gateway retires this process",
	})
	if err != nil {
		return err
	}
	for {
		progress, err := stream.Recv()
		if err != nil {
			return err
		}
		if progress.GetDone() {
			return nil
		}
	}
}
