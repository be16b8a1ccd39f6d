package sdk

import (
	"context"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// HealthState says whether a connector can carry messages. Its values follow the contract's.
type HealthState int32

// The states of a connector.
const (
	// Serving: all is well. A connector starts with it.
	Serving = HealthState(channelv1.HealthState_HEALTH_STATE_SERVING)
	// Degraded: works, but not fully; the message says how.
	Degraded = HealthState(channelv1.HealthState_HEALTH_STATE_DEGRADED)
	// NotServing: messages would fail now.
	NotServing = HealthState(channelv1.HealthState_HEALTH_STATE_NOT_SERVING)
)

// SetHealth tells the gateway how the connector is that ctx belongs to: the ctx that Open, Send,
// Receive or Check got, also after that call has ended. Outside a connector it does nothing.
func SetHealth(ctx context.Context, state HealthState, message string) {
	if c := callFrom(ctx); c != nil && c.health != nil {
		c.health.set(condition{state, c.server.redact.clean(message)})
	}
}

// condition is a state and why.
type condition struct {
	state   HealthState
	message string
}

// healthSlot is the health of one connector: what its author says, and what became of Receive. The
// worse of the two counts.
type healthSlot struct {
	changed func()

	mu       sync.Mutex
	author   condition
	receiver condition
}

func newHealthSlot(changed func()) *healthSlot {
	ok := condition{state: Serving}
	return &healthSlot{changed: changed, author: ok, receiver: ok}
}

func (h *healthSlot) set(c condition)         { h.update(&h.author, c) }
func (h *healthSlot) setReceiver(c condition) { h.update(&h.receiver, c) }

func (h *healthSlot) update(part *condition, c condition) {
	h.mu.Lock()
	same := *part == c
	*part = c
	h.mu.Unlock()
	if !same {
		h.changed()
	}
}

func (h *healthSlot) get() condition {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.receiver.state > h.author.state {
		return h.receiver
	}
	return h.author
}

// broadcast wakes everybody who waits for the next change.
type broadcast struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that is closed at the next change. Fetch it before reading the state.
func (b *broadcast) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *broadcast) notify() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// Health streams the state of the process and of every connector: at once, and at each change.
func (s *Server) Health(_ *channelv1.HealthRequest, stream grpc.ServerStreamingServer[channelv1.HealthResponse]) error {
	for {
		changed := s.healthChanged.wait()
		if err := stream.Send(s.healthNow()); err != nil {
			return err //nolint:wrapcheck // a gRPC status
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

func (s *Server) healthNow() *channelv1.HealthResponse {
	out := &channelv1.HealthResponse{State: channelv1.HealthState_HEALTH_STATE_SERVING}
	for _, c := range s.currentConnectors() {
		h := c.health.get()
		out.Connectors = append(out.Connectors, &channelv1.ConnectorHealth{
			Connector: c.id, State: channelv1.HealthState(h.state), Message: h.message,
		})
		if h.state != Serving {
			out.State = channelv1.HealthState_HEALTH_STATE_DEGRADED
			out.Message = "a connector is not well"
		}
	}
	slices.SortFunc(out.GetConnectors(), func(a, b *channelv1.ConnectorHealth) int {
		return strings.Compare(a.GetConnector(), b.GetConnector())
	})
	if s.gate.closed() {
		out.State = channelv1.HealthState_HEALTH_STATE_NOT_SERVING
		out.Message = "draining: no messages are taken any more"
	}
	return out
}
