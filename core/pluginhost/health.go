package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// healthMisses is how many proofs of life may be missing in a row.
const healthMisses = 3

// watchHealth follows the Health stream of a process. The contract has it speak at once and at each
// change; so a stream that is opened anew from time to time must answer, and that is the proof of
// life. A process that does not answer is reported to hung. go-plugin's own ping has no deadline.
func (g *generation) watchHealth(ctx context.Context, p *process, hung chan<- error) {
	missed := 0
	for ctx.Err() == nil {
		err := g.followHealth(ctx, p)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			missed = 0
			continue
		case status.Code(err) == codes.Unimplemented:
			g.log.WarnContext(ctx, "plugin does not serve Health; only the end of its process will be noticed")
			return
		}
		missed++
		g.log.WarnContext(ctx, "plugin gives no proof of life", "missing", missed, "error", callError("Health", err))
		if missed >= healthMisses {
			hung <- fmt.Errorf("the plugin hung: %d proofs of life missing in a row: %w", missed, callError("Health", err))
			return
		}
		if !errors.Is(err, errSilent) && !pause(ctx, g.host.options.Timing.HealthAnswer) {
			return // the plugin answered with an error: do not ask again at once
		}
	}
}

var errSilent = errors.New("no answer in time")

// followHealth opens one stream, awaits its first message and passes on what comes until it is time
// for the next proof of life.
func (g *generation) followHealth(ctx context.Context, p *process) error {
	timing := g.host.options.Timing
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	answer := time.AfterFunc(timing.HealthAnswer, func() { cancel(errSilent) })
	defer answer.Stop()
	stream, err := p.service.Health(ctx, &channelv1.HealthRequest{})
	if err != nil {
		return healthError(ctx, err)
	}
	first, err := stream.Recv()
	if err != nil {
		return healthError(ctx, err)
	}
	answer.Stop()
	g.observe(p, first)
	next := time.AfterFunc(timing.HealthEvery, func() { cancel(nil) })
	defer next.Stop()
	for {
		change, err := stream.Recv()
		if err != nil {
			// The plugin ended the stream early: keep the pace all the same.
			<-ctx.Done()
			return nil
		}
		g.observe(p, change)
	}
}

func healthError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
		return errSilent
	}
	return err
}

// observe takes over what the plugin says of itself and its connectors.
func (g *generation) observe(p *process, h *channelv1.HealthResponse) {
	g.mu.Lock()
	changed := g.process == p && !proto.Equal(g.health, h)
	if changed {
		g.health = h
	}
	g.mu.Unlock()
	if changed {
		g.host.notify()
	}
}

// healthOf returns how a connector is: the worse of what the plugin says of it and of itself. The lock
// is held.
func (g *generation) healthOf(id core.ConnectorID) (channelv1.HealthState, string) {
	state, message := g.health.GetState(), g.health.GetMessage()
	for _, c := range g.health.GetConnectors() {
		if c.GetConnector() == string(id) && c.GetState() >= state {
			state, message = c.GetState(), c.GetMessage()
		}
	}
	return state, g.redactor.redact(truncateTo(message, maxErrorText))
}
