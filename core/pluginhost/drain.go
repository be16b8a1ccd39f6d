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
	if !awaitIdle(ctx, idle, p.runner.ended, patience) {
		g.mu.Lock()
		cut = fmt.Errorf("retire plugin %s %s: %w: %d", g.plugin.name, g.version, errCutOff, g.attempts)
		g.mu.Unlock()
	}
	if err := askToDrain(ctx, p, time.Until(deadline)); err != nil && !errors.Is(err, io.EOF) {
		g.log.Warn("plugin did not drain", "error", callError("Drain", err))
	}
	return cut
}

// awaitIdle waits until no call is left. A process that has ended has none that could still succeed.
func awaitIdle(ctx context.Context, idle, ended <-chan struct{}, limit time.Duration) bool {
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

// askToDrain returns when the plugin says that it is done.
func askToDrain(ctx context.Context, p *process, limit time.Duration) error {
	stream, err := p.service.Drain(ctx, &channelv1.DrainRequest{
		Deadline: durationpb.New(max(0, limit)), Reason: "the gateway retires this process",
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
