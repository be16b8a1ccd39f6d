package channeltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

func onePerAttempt(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	for _, n := range []int{1, 50} {
		if err := sess.accepted(ctx, sess.items(n)...); err != nil {
			return fmt.Errorf("a batch of %d: %w", n, err)
		}
	}
	return nil
}

func refusal(ctx context.Context, s *Subject) error {
	if s.Fails == nil {
		return skipf("Suite.Fails is not set")
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	item := sess.items(1, s.Fails)[0]
	d, err := sess.send(ctx, item)
	if err != nil {
		return err
	}
	switch r := d.of(item); {
	case r.GetOutcome() == channelv1.Outcome_OUTCOME_ACCEPTED:
		return fmt.Errorf("the provider refused attempt %s, yet it is %s", item.GetAttemptId(), verdict(r))
	case r.GetError().GetCode() == "":
		return fmt.Errorf("the provider refused attempt %s, and the result has no error with a code: %s", item.GetAttemptId(), verdict(r))
	}
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return fmt.Errorf("after a refusal: %w", err)
	}
	return nil
}

func unknownConnector(ctx context.Context, s *Subject) error {
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	return sess.retryable(ctx, "a connector that is not configured", 3)
}

// largeBytes is above what gRPC takes unless it is told to take more: 4 MiB.
const largeBytes = 5 << 20

func large(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	l := sess.about.GetLimits()
	for _, limit := range []int64{l.GetMaxBatchBytes(), l.GetMaxMessageBytes()} {
		if limit > 0 && limit <= largeBytes {
			return skipf("the plugin describes a limit of %d bytes", limit)
		}
	}
	// The outcome is the channel's business.
	_, err = sess.send(ctx, sess.items(1, func(item *channelv1.Item) {
		item.Content.Attachments = []*channelv1.Attachment{{
			Name: "large.bin", ContentType: "application/octet-stream",
			Source: &channelv1.Attachment_Data{Data: make([]byte, largeBytes)},
		}}
	})...)
	return err
}

func expired(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	before := s.sent()
	late := sess.items(1, func(item *channelv1.Item) {
		item.NotAfter = timestamppb.New(time.Now().Add(-time.Second))
	})[0]
	timely := sess.items(1, func(item *channelv1.Item) {
		item.NotAfter = timestamppb.New(time.Now().Add(time.Hour))
	})[0]
	d, err := sess.send(ctx, late, timely)
	if err != nil {
		return err
	}
	if err := want(d.of(late), channelv1.Outcome_OUTCOME_REJECTED); err != nil {
		return fmt.Errorf("after not_after: %w", err)
	}
	if code := d.of(late).GetError().GetCode(); code != "expired" {
		return fmt.Errorf("after not_after: want code expired, got %q", code)
	}
	if err := want(d.of(timely), channelv1.Outcome_OUTCOME_ACCEPTED); err != nil {
		return fmt.Errorf("before not_after: %w", err)
	}
	if s.Sent == nil {
		return skipf("Suite.Sent is not set: the outcomes are right, and whether the expired item reached the provider is not known")
	}
	if n := s.sent() - before; n != 1 {
		return fmt.Errorf("one of two items was expired, yet %d reached the provider", n)
	}
	return nil
}

func (s *Subject) sent() int {
	if s.Sent == nil {
		return 0
	}
	return s.Sent()
}

// deadlineFor is the deadline of a slow item: shorter than Suite.Slow takes.
const deadlineFor = 800 * time.Millisecond

// slowest is how long Suite.Slow may take.
const slowest = 5 * time.Second

func deadline(ctx context.Context, s *Subject) error {
	if s.Slow == nil {
		return skipf("Suite.Slow is not set")
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	// The first message may have to connect and to log in, which is not what is looked at here.
	if _, err := sess.send(ctx, sess.items(1)...); err != nil {
		return fmt.Errorf("before a deadline: %w", err)
	}
	short, cancel := context.WithTimeout(ctx, deadlineFor)
	defer cancel()
	slow := sess.items(min(3, max(1, sess.room(4)-1)), s.Slow)
	var quick []*channelv1.Item
	if sess.room(len(slow)+1) > len(slow) {
		quick = sess.items(1)
	}
	before := s.sent()
	d, err := sess.deliver(short, append(slices.Clone(slow), quick...)...)
	if err == nil {
		err = d.rest() // a missing result is uncertain: the call may end with an error
	}
	if errors.Is(err, errRepeated) {
		return err
	}
	if err := s.openAtDeadline(ctx, d, slow, func() int { return s.sent() - before - len(quick) }); err != nil {
		return err
	}
	for _, item := range quick {
		if err := want(d.of(item), channelv1.Outcome_OUTCOME_ACCEPTED); err != nil {
			return fmt.Errorf("a quick item beside slow ones: %w", err)
		}
	}
	if err := sess.accepted(ctx, sess.items(1)...); err != nil {
		return fmt.Errorf("after a deadline: %w", err)
	}
	return nil
}

// openAtDeadline judges the results of items that were being sent when the deadline came. Mostly nobody knows what became
// of them; a plugin that says it does is held against the provider. arrived is how many of them have reached it so far.
func (s *Subject) openAtDeadline(ctx context.Context, d *delivery, slow []*channelv1.Item, arrived func() int) error {
	away := 0
	for _, item := range slow {
		r := d.of(item)
		switch r.GetOutcome() {
		case channelv1.Outcome_OUTCOME_UNSPECIFIED, channelv1.Outcome_OUTCOME_UNCERTAIN: // no result is uncertain, too
			continue
		case channelv1.Outcome_OUTCOME_RETRYABLE, channelv1.Outcome_OUTCOME_THROTTLED:
			away++
			if s.Sent != nil || r.GetError().GetCode() == sdk.CodeNotStarted {
				continue
			}
		}
		return fmt.Errorf("the deadline of %s came first, yet attempt %s is %s: want uncertain, for the provider may have it",
			deadlineFor, item.GetAttemptId(), verdict(r))
	}
	if away == 0 || s.Sent == nil {
		return nil
	}
	for began := time.Now(); time.Since(began) < slowest; pause(ctx, slowest/100) {
		if n := arrived(); n > len(slow)-away {
			return fmt.Errorf("at the deadline of %s %d of %d items came back as surely not sent, yet %d reached the provider", deadlineFor, away, len(slow), n)
		}
	}
	return nil
}

func concurrent(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	batches, size := 8, sess.room(25)
	if most := int(sess.about.GetLimits().GetMaxInFlight()); most > 0 {
		batches = min(batches, most)
		size = min(size, most/batches)
	}
	if batches < 2 {
		return skipf("the plugin describes that it takes one message at a time")
	}
	errs := make([]error, batches)
	var wg sync.WaitGroup
	for i := range batches {
		items := sess.items(size)
		wg.Go(func() { errs[i] = sess.accepted(ctx, items...) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func panics(ctx context.Context, s *Subject) error {
	if s.Panics == nil {
		return skipf("Suite.Panics is not set")
	}
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	items := sess.items(5)
	s.Panics(items[2])
	d, err := sess.send(ctx, items...)
	if err != nil {
		return err
	}
	for i, item := range items {
		outcome := channelv1.Outcome_OUTCOME_ACCEPTED
		if i == 2 {
			outcome = channelv1.Outcome_OUTCOME_UNCERTAIN
		}
		if err := want(d.of(item), outcome); err != nil {
			return fmt.Errorf("item %d of 5, where the third panics: %w", i+1, err)
		}
	}
	if f := d.of(items[2]).GetError().GetFault(); f != channelv1.Fault_FAULT_PLUGIN {
		return fmt.Errorf("a panic is the plugin's fault, got %s", f)
	}
	return sess.accepted(ctx, sess.items(1)...)
}

func remove(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	for range 2 { // the second time there is nothing to remove, which is fine
		if _, err := sess.Remove(ctx, &channelv1.RemoveRequest{Connector: sess.connector}); err != nil {
			return sess.saw(fmt.Errorf("call Remove: %w", err))
		}
	}
	return sess.retryable(ctx, "after Remove", 2)
}

func health(ctx context.Context, s *Subject) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	sess, err := s.start(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	stream, err := sess.Health(ctx, &channelv1.HealthRequest{})
	if err != nil {
		return sess.saw(fmt.Errorf("call Health: %w", err))
	}
	first, err := stream.Recv()
	if err != nil {
		return sess.saw(fmt.Errorf("call Health: no state at once: %w", err))
	}
	if first.GetState() != channelv1.HealthState_HEALTH_STATE_SERVING {
		return fmt.Errorf("call Health: want SERVING at the start, got %s: %s", first.GetState(), first.GetMessage())
	}
	if err := sess.configure(ctx, 1, s.Config); err != nil {
		return err
	}
	for {
		h, err := stream.Recv()
		if err != nil {
			return sess.saw(fmt.Errorf("call Health: the new connector does not show up: %w", err))
		}
		for _, c := range h.GetConnectors() {
			if c.GetConnector() == sess.connector {
				return nil
			}
		}
	}
}

func drain(ctx context.Context, s *Subject) error {
	sess, err := s.ready(ctx)
	if err != nil {
		return err
	}
	defer sess.close()
	d, err := sess.inFlight(ctx)
	if err != nil {
		return err
	}
	finished := make(chan error, 1)
	go func() { finished <- d.rest() }()
	drained := sess.drain(ctx)
	if err := <-finished; err != nil {
		return fmt.Errorf("call Deliver while draining: %w", err)
	}
	if drained != nil {
		return drained
	}
	for _, item := range d.items {
		r := d.of(item)
		if r == nil {
			return fmt.Errorf("attempt %s was in flight and has no result after Drain", item.GetAttemptId())
		}
		if err := want(r, channelv1.Outcome_OUTCOME_ACCEPTED); err != nil {
			return fmt.Errorf("in flight during Drain: %w", err)
		}
	}
	return sess.retryable(ctx, "after Drain", 3)
}

// inFlight begins a batch and returns when a part of it is surely in flight: its quick item has its
// result while the slow ones have none. Without Suite.Slow, or room for it, the batch may be over already.
func (sess *session) inFlight(ctx context.Context) (*delivery, error) {
	items, slow := sess.items(sess.room(20)), sess.subject.Slow
	if len(items) == 1 {
		slow = nil // there is room for no second one
	}
	if slow != nil {
		items = append(items[:1], sess.items(sess.room(4)-1, slow)...)
	}
	d, err := sess.deliver(ctx, items...)
	if err != nil {
		return nil, err
	}
	for len(d.results) == 0 {
		if err := d.next(); err != nil {
			return nil, fmt.Errorf("call Deliver: the first result: %w", sess.saw(err))
		}
	}
	if slow != nil && len(d.results) == len(items) {
		return nil, errors.New("results come only when the whole batch is done: a quick item must not wait for slow ones")
	}
	return d, nil
}

// drain drains the plugin and wants progress that ends with nothing in flight.
func (sess *session) drain(ctx context.Context) error {
	stream, err := sess.Drain(ctx, drainRequest(15*time.Second))
	if err != nil {
		return sess.saw(fmt.Errorf("call Drain: %w", err))
	}
	for {
		p, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return errors.New("call Drain: it ended without saying done")
		case err != nil:
			return sess.saw(fmt.Errorf("call Drain: %w", err))
		case p.GetDone() && p.GetInFlight() > 0:
			return fmt.Errorf("call Drain: it is done with %d items in flight", p.GetInFlight())
		case p.GetDone():
			return nil
		}
	}
}
