package sdk

import (
	"context"
	"fmt"
	"time"

	"google.golang.org/grpc"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// coalesce is how long a result may wait for others to travel with.
	coalesce = time.Millisecond
	// deliverTimeout holds when the gateway sets no deadline.
	deliverTimeout = time.Minute
	// maxMargin bounds the time kept back before the gateway's deadline; see batch.
	maxMargin = 200 * time.Millisecond
)

type deliverStream = grpc.ServerStreamingServer[channelv1.DeliverResponse]

// Deliver sends a batch and streams exactly one result for each attempt id in it.
func (s *Server) Deliver(req *channelv1.DeliverRequest, stream deliverStream) error {
	items := req.GetItems()
	if len(items) == 0 {
		return nil
	}
	if !s.gate.enter(len(items)) {
		return s.refuse(items, stream, Retryable(errDraining, Code(CodeDraining), Blame(FaultPlugin)))
	}
	c := s.acquire(req.GetConnector())
	if c == nil {
		s.gate.leave(len(items))
		err := fmt.Errorf("connector %q is not configured here", req.GetConnector())
		return s.refuse(items, stream, Retryable(err, Code(CodeNoConnector), Blame(FaultConfig)))
	}
	b := newBatch(stream.Context(), c, items)
	defer b.leave()
	if c.batch != nil {
		b.enter()
		s.background.Go(b.sendBatches)
	}
	return b.serve(stream)
}

// refuse gives every item the same result without sending any.
func (s *Server) refuse(items []*channelv1.Item, stream deliverStream, err error) error {
	e := classify(err)
	out := &channelv1.DeliverResponse{Results: make([]*channelv1.Result, len(items))}
	for i, item := range items {
		out.Results[i] = &channelv1.Result{
			AttemptId: item.GetAttemptId(), Outcome: channelv1.Outcome(e.Outcome), Error: s.protoError(e, e.Error()),
		}
	}
	return stream.Send(out) //nolint:wrapcheck // a gRPC status
}

// serve hands the items of a Sender to its workers, and streams results, until each item has one.
// It is the only user of the stream.
func (b *batch) serve(stream deliverStream) error {
	var flush, settle <-chan time.Time
	gone, ended, giveUp := stream.Context().Done(), b.ctx.Done(), b.c.server.giveUp
	next := 0
	for {
		tasks := b.handOut(&next)
		select {
		case tasks <- task{b, next}:
			next++
		case <-b.wake:
			if b.complete() {
				return b.flush(stream)
			}
			if flush == nil {
				flush = time.After(coalesce)
			}
		case <-flush:
			flush = nil
			if err := b.flush(stream); err != nil {
				return err
			}
		case <-ended: // the author's time is over; what he says at once still counts
			ended, next = nil, len(b.messages)
			settle = time.After(b.grace)
		case <-settle:
			b.settle(Uncertain(context.DeadlineExceeded, Code(CodeTimeout)))
			return b.flush(stream)
		case <-giveUp:
			giveUp = nil
			b.cancel()
		case <-gone: // nobody listens: begin nothing more
			b.settle(Uncertain(context.Canceled, Code(CodeTimeout)))
			return stream.Context().Err() //nolint:wrapcheck // grpc turns it into a status
		}
	}
}

// handOut gives items to workers for as long as one is free, and returns where to offer the next
// one: nil, which nothing can be sent on, when there is none.
func (b *batch) handOut(next *int) chan<- task {
	if b.c.batch != nil || b.ctx.Err() != nil {
		return nil
	}
	for *next < len(b.messages) {
		if !b.c.hand(task{b, *next}) {
			return b.c.tasks
		}
		*next++
	}
	return nil
}

// flush sends the results that wait.
func (b *batch) flush(stream deliverStream) error {
	ready := b.take()
	if len(ready) == 0 {
		return nil
	}
	err := stream.Send(&channelv1.DeliverResponse{Results: ready})
	b.answered(len(ready))
	return err //nolint:wrapcheck // a gRPC status
}
