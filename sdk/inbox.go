package sdk

import (
	"context"
	"fmt"
	"slices"
	"sync"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// maxUnacknowledged bounds the events that wait for the gateway: more callers of emit wait for room.
const maxUnacknowledged = 256

// inbox holds what Receivers emitted until the gateway has stored it. It outlives the streams.
type inbox struct {
	mu        sync.Mutex
	queue     []*delivery // in the order of emit
	listening bool        // the gateway has asked for events and not declined since
	current   *listener   // nil: no stream now
	room      broadcast   // notified when the queue shrinks
}

// delivery is one batch of events.
type delivery struct {
	response *channelv1.ReceiveResponse // its sequence is 0 until the current stream has sent it
	stored   chan struct{}
}

// listener is one Receive stream.
type listener struct {
	sequence int64
	wake     chan struct{} // something may be there to send
	replaced chan struct{} // closed when a newer stream takes over
}

// attach makes a new listener the current one. Whatever is not acknowledged goes out again, in
// order: nobody knows whether the former stream's gateway stored it.
func (in *inbox) attach() *listener {
	l := &listener{wake: make(chan struct{}, 1), replaced: make(chan struct{})}
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current != nil {
		close(in.current.replaced)
	}
	in.current, in.listening = l, true
	for _, d := range in.queue {
		d.response = numbered(d.response, 0)
	}
	return l
}

func (in *inbox) detach(l *listener) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current == l {
		in.current = nil
	}
}

// stopListening is the gateway's word that it wants no more events.
func (in *inbox) stopListening(l *listener) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current == l {
		in.listening = false
	}
}

func (in *inbox) isListening() bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.listening
}

// next numbers the first delivery that l has not sent yet; nil: there is none.
func (in *inbox) next(l *listener) *channelv1.ReceiveResponse {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current != l {
		return nil
	}
	for _, d := range in.queue {
		if d.response.GetSequence() == 0 {
			l.sequence++
			d.response = numbered(d.response, l.sequence)
			return d.response
		}
	}
	return nil
}

// numbered is a shallow copy with another sequence: a former stream may still be sending the
// original.
func numbered(r *channelv1.ReceiveResponse, sequence int64) *channelv1.ReceiveResponse {
	return &channelv1.ReceiveResponse{Sequence: sequence, Connector: r.GetConnector(), Events: r.GetEvents()}
}

// ack marks everything up to sequence as stored.
func (in *inbox) ack(l *listener, sequence int64) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.current != l {
		return
	}
	in.queue = slices.DeleteFunc(in.queue, func(d *delivery) bool {
		n := d.response.GetSequence()
		if n == 0 || n > sequence {
			return false
		}
		close(d.stored)
		return true
	})
	in.room.notify()
}

// emit queues events and waits until they are stored.
func (in *inbox) emit(ctx context.Context, connector string, events *channelv1.Events) error {
	if events == nil {
		return nil
	}
	d := &delivery{
		response: &channelv1.ReceiveResponse{Connector: connector, Events: events},
		stored:   make(chan struct{}),
	}
	if err := in.push(ctx, d); err != nil {
		return err
	}
	select {
	case <-d.stored:
		return nil
	case <-ctx.Done():
	}
	if in.withdraw(d) {
		return fmt.Errorf("events not stored by the gateway: %w", ctx.Err())
	}
	return nil // the acknowledgement was faster
}

func (in *inbox) push(ctx context.Context, d *delivery) error {
	for {
		room := in.room.wait()
		if in.tryPush(d) {
			return nil
		}
		select {
		case <-room:
		case <-ctx.Done():
			return fmt.Errorf("events not taken by the gateway: %w", ctx.Err())
		}
	}
}

func (in *inbox) tryPush(d *delivery) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) >= maxUnacknowledged {
		return false
	}
	in.queue = append(in.queue, d)
	if in.current != nil {
		select {
		case in.current.wake <- struct{}{}:
		default:
		}
	}
	return true
}

// withdraw removes d; false means that it is gone already, hence stored.
func (in *inbox) withdraw(d *delivery) bool {
	in.mu.Lock()
	defer in.mu.Unlock()
	i := slices.Index(in.queue, d)
	if i < 0 {
		return false
	}
	in.queue = slices.Delete(in.queue, i, i+1)
	in.room.notify()
	return true
}

// awaitEmpty waits until everything is stored, for as long as a gateway listens and ctx allows.
func (in *inbox) awaitEmpty(ctx context.Context) {
	for {
		room := in.room.wait()
		in.mu.Lock()
		over := len(in.queue) == 0 || in.current == nil
		in.mu.Unlock()
		if over {
			return
		}
		select {
		case <-room:
		case <-ctx.Done():
			return
		}
	}
}
