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

// drain waits until no call is left or patience has run out, then has the plugin finish what it does by itself:
// flush, hand over the last events, take leave of its provider. For that it has Timing.Drain, less what the calls
// took, and a quarter of it at least.
func (g *generation) drain(ctx context.Context, p *process, idle <-chan struct{}) error {
	began, whole := time.Now(), g.host.options.Timing.Drain
	var cut error
	if !awaitIdle(idle, p.runner.ended, g.impatient) && g.inFlight() > 0 {
		cut = fmt.Errorf("retire plugin %s %s: %w", g.plugin.name, g.version, errCutOff)
	}
	if err := askToDrain(ctx, p, max(whole/4, whole-time.Since(began))); err != nil && !errors.Is(err, io.EOF) {
		g.log.WarnContext(ctx, "plugin did not drain", "error", callError("Drain", err))
	}
	return cut
}

// awaitIdle waits until no call is left. A process that has ended has none that could still succeed.
func awaitIdle(idle, ended, impatient <-chan struct{}) bool {
	if isClosed(idle) {
		return true
	}
	select {
	case <-idle:
		return true
	case <-ended:
		return true
	case <-impatient:
		return false
	}
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
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
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
