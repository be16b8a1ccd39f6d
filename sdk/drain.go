package sdk

import (
	"context"
	"time"

	"google.golang.org/grpc"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// drainTimeout holds when the gateway sets no deadline.
	drainTimeout = 30 * time.Second
	// drainTick bounds how often progress is reported.
	drainTick = 50 * time.Millisecond
	// giveUpTimeout is how long batches may take to settle once they have to give up.
	giveUpTimeout = time.Second
	// drainerTimeout is what a Drainer has at least, however long the items took.
	drainerTimeout = time.Second
)

// Drain stops taking items, lets those in flight finish and reports how many are left. The last
// response says done; items counted in it were given up as uncertain. Draining cannot be undone,
// and goes on when the caller leaves.
func (s *Server) Drain(req *channelv1.DrainRequest, stream grpc.ServerStreamingServer[channelv1.DrainResponse]) error {
	timeout := drainTimeout
	if d := req.GetDeadline(); d != nil {
		timeout = max(0, d.AsDuration())
	}
	s.startDrain(timeout, req.GetReason())
	tick := time.NewTicker(drainTick)
	defer tick.Stop()
	last := -1
	for {
		changed := s.gate.changed.wait()
		if n := s.gate.inFlight(); n != last {
			last = n
			if err := stream.Send(&channelv1.DrainResponse{InFlight: int32(n)}); err != nil {
				return err //nolint:wrapcheck // a gRPC status
			}
		}
		select {
		case <-s.drained:
			return stream.Send(&channelv1.DrainResponse{InFlight: int32(s.gate.inFlight()), Done: true}) //nolint:wrapcheck // a gRPC status
		case <-stream.Context().Done():
			return nil
		case <-changed:
		}
		select { // no more than one response a tick
		case <-tick.C:
		case <-s.drained:
		}
	}
}

// startDrain drains in the background, once.
func (s *Server) startDrain(timeout time.Duration, reason string) {
	s.drainOnce.Do(func() {
		s.gate.shut()
		s.healthChanged.notify()
		s.log.Info("draining", "in_flight", s.gate.inFlight(), "deadline", timeout.String(), "reason", reason)
		s.background.Go(func() {
			defer close(s.drained)
			s.drain(timeout)
		})
	})
}

func (s *Server) drain(timeout time.Duration) {
	deadline := time.Now().Add(timeout)
	if !s.awaitEmpty(timeout, s.giveUp) {
		s.log.Warn("giving up items in flight", "in_flight", s.gate.inFlight())
		s.stopWaiting()
		s.awaitEmpty(giveUpTimeout, nil)
	}
	ctx, cancel := context.WithTimeout(s.ctx, max(time.Until(deadline), drainerTimeout))
	defer cancel()
	for _, c := range s.currentConnectors() {
		if d, ok := c.sender.(Drainer); ok {
			err := s.guard("Drain", func() error { return d.Drain(s.context(ctx, c.id, c.health)) })
			if err != nil {
				s.log.Warn("drain connector", "connector", c.id, "error", err.Error())
			}
		}
	}
	s.inbox.awaitEmpty(ctx)
	s.stopReceivers()
}

// awaitEmpty waits until no item is in flight, at most for timeout and until giveUp is closed.
func (s *Server) awaitEmpty(timeout time.Duration, giveUp <-chan struct{}) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	for {
		changed := s.gate.changed.wait()
		if s.gate.inFlight() == 0 {
			return true
		}
		select {
		case <-changed:
		case <-timer.C:
			return false
		case <-giveUp:
			return false
		case <-s.ctx.Done():
			return false
		}
	}
}
