package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// shareTimeout bounds one question at the store.
	shareTimeout = 5 * time.Second
	// shareLease is for how long one process alone is told to renew a value: longer than a provider should take to give one.
	shareLease = 35 * time.Second
)

// share answers what a process asks of shared values, for as long as it lives.
func (g *generation) share(ctx context.Context, p *process) {
	wait := eventsFirst
	for ctx.Err() == nil {
		started := time.Now()
		err := g.shareStream(ctx, p)
		if ctx.Err() != nil || g.draining() {
			return // the plugin ends its stream when it drains
		}
		if status.Code(err) == codes.Unimplemented {
			g.log.WarnContext(ctx, "plugin says that it shares values and does not serve Share")
			return
		}
		if time.Since(started) > eventsMax {
			wait = eventsFirst
		}
		g.log.WarnContext(ctx, "plugin ended the stream of shared values, it is opened again", "error", callError("Share", err))
		if !pause(ctx, wait/2+rand.N(wait/2)) {
			return
		}
		wait = min(2*wait, eventsMax)
	}
}

// shareStream answers one question after the other.
func (g *generation) shareStream(ctx context.Context, p *process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := p.service.Share(ctx)
	if err != nil {
		return err
	}
	if err := stream.Send(&channelv1.ShareRequest{}); err != nil {
		return err
	}
	for {
		question, err := stream.Recv()
		if err != nil {
			return err
		}
		if err := stream.Send(g.answerShare(ctx, question)); err != nil {
			return err
		}
	}
}

func (g *generation) answerShare(ctx context.Context, question *channelv1.ShareResponse) *channelv1.ShareRequest {
	ctx, cancel := context.WithTimeout(ctx, shareTimeout)
	defer cancel()
	v, err := g.lookAfter(ctx, question)
	if err != nil {
		g.log.WarnContext(ctx, "a shared value of the plugin cannot be had", "name", clean(question.GetName(), core.MaxSharedName), "error", err)
		return &channelv1.ShareRequest{Id: question.GetId(), Error: shareProblem(err)}
	}
	answer := &channelv1.ShareRequest{Id: question.GetId(), Value: v.Value, Revision: v.Revision, Renew: v.Renew}
	if !v.Expires.IsZero() {
		answer.ExpiresAt = timestamppb.New(v.Expires)
	}
	return answer
}

// lookAfter does what the plugin asks for and returns the value as it is then.
func (g *generation) lookAfter(ctx context.Context, question *channelv1.ShareResponse) (core.SharedValue, error) {
	shared, now := g.host.options.Shared, g.host.options.Now()
	plugin, name := g.plugin.name, question.GetName()
	if name == "" || len(name) > core.MaxSharedName {
		g.violations.malformed.Add(1)
		return core.SharedValue{}, core.Invalid("name", "a shared value has a name of 1 to %d bytes, this one has %d", core.MaxSharedName, len(name))
	}
	switch q := question.GetQuestion().(type) {
	case *channelv1.ShareResponse_Look:
		return shared.LookShared(ctx, plugin, name, core.SharedLook{Now: now, Ahead: q.Look.GetAhead().AsDuration(), Lease: shareLease})
	case *channelv1.ShareResponse_Keep:
		v := core.SharedValue{Value: q.Keep.GetValue(), Expires: q.Keep.GetExpiresAt().AsTime(), Revision: q.Keep.GetRevision()}
		if err := validShare(v, now); err != nil {
			g.violations.malformed.Add(1)
			return core.SharedValue{}, err
		}
		return v, shared.KeepShared(ctx, plugin, name, v)
	case *channelv1.ShareResponse_Drop:
		return core.SharedValue{}, shared.DropShared(ctx, plugin, name, q.Drop.GetRevision())
	default:
		g.violations.malformed.Add(1)
		return core.SharedValue{}, core.Invalid("question", "want look, keep or drop")
	}
}

func validShare(v core.SharedValue, now time.Time) error {
	switch {
	case len(v.Value) == 0 || len(v.Value) > core.MaxSharedValue:
		return core.Invalid("value", "a shared value has 1 to %d bytes, this one has %d", core.MaxSharedValue, len(v.Value))
	case v.Expires.After(now.Add(core.MaxSharedLife)):
		return core.Invalid("expires_at", "a shared value ends within %d days, this one at %s", core.MaxSharedLife/(24*time.Hour), v.Expires.Format(time.RFC3339))
	default:
		return nil
	}
}

// shareProblem is what a plugin is told: what it did wrong, or that the store does not answer, and no more than that.
func shareProblem(err error) string {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Kind == core.KindInvalid {
		return fmt.Sprint(e)
	}
	return "the gateway's store does not answer now"
}
