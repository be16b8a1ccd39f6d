package channeltest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// answerTimeout is how long an answer may take that needs no provider.
const answerTimeout = 5 * time.Second

// delivery is a Deliver call on its way. The results are read by whoever called deliver.
type delivery struct {
	items   []*channelv1.Item
	stream  channelv1.ChannelService_DeliverClient
	results map[string]*channelv1.Result
	sess    *session
}

// deliver starts a Deliver call.
func (sess *session) deliver(ctx context.Context, items ...*channelv1.Item) (*delivery, error) {
	stream, err := sess.Deliver(ctx, &channelv1.DeliverRequest{
		BatchId: "channeltest", Connector: sess.connector, Items: items,
	})
	if err != nil {
		return nil, sess.saw(fmt.Errorf("call Deliver: %w", err))
	}
	return &delivery{items, stream, make(map[string]*channelv1.Result), sess}, nil
}

// errRepeated is a second result for one attempt, or one for an attempt nobody asked for.
var errRepeated = errors.New("not exactly one result per attempt")

// next reads one response. The error is io.EOF at the end.
func (d *delivery) next() error {
	resp, err := d.stream.Recv()
	if err != nil {
		return err //nolint:wrapcheck // io.EOF and statuses are looked at
	}
	d.sess.heard(resp)
	for _, r := range resp.GetResults() {
		id := r.GetAttemptId()
		switch {
		case d.results[id] != nil:
			return fmt.Errorf("%w: attempt %s has two", errRepeated, id)
		case !d.asked(id):
			return fmt.Errorf("%w: one for %q, which is not in the batch", errRepeated, id)
		case r.GetOutcome() == channelv1.Outcome_OUTCOME_UNSPECIFIED:
			return fmt.Errorf("the result of attempt %s has no outcome", id)
		}
		d.results[id] = r
	}
	return nil
}

func (d *delivery) asked(id string) bool {
	for _, item := range d.items {
		if item.GetAttemptId() == id {
			return true
		}
	}
	return false
}

// rest reads until the stream ends; a proper end is no error.
func (d *delivery) rest() error {
	for {
		if err := d.next(); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return d.sess.saw(err)
		}
	}
}

// of returns the result of an item, or nil.
func (d *delivery) of(item *channelv1.Item) *channelv1.Result { return d.results[item.GetAttemptId()] }

// room is how many of n items the plugin takes at once: the gateway keeps to its limits, and so does the kit.
func (sess *session) room(n int) int {
	l := sess.about.GetLimits()
	for _, limit := range []int32{l.GetMaxBatch(), l.GetMaxInFlight()} {
		if limit > 0 {
			n = min(n, int(limit))
		}
	}
	return max(n, 1)
}

// send delivers items, as many at once as there is room for, and wants a result for each.
func (sess *session) send(ctx context.Context, items ...*channelv1.Item) (*delivery, error) {
	all := &delivery{items: items, results: make(map[string]*channelv1.Result), sess: sess}
	for part := range slices.Chunk(items, sess.room(len(items))) {
		d, err := sess.sendAtOnce(ctx, part...)
		if err != nil {
			return nil, err
		}
		maps.Copy(all.results, d.results)
	}
	return all, nil
}

func (sess *session) sendAtOnce(ctx context.Context, items ...*channelv1.Item) (*delivery, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	d, err := sess.deliver(ctx, items...)
	if err != nil {
		return nil, err
	}
	if err := d.rest(); err != nil {
		return nil, fmt.Errorf("call Deliver: %w", err)
	}
	for _, item := range items {
		if d.of(item) == nil {
			return nil, fmt.Errorf("%w: attempt %s has none of %d", errRepeated, item.GetAttemptId(), len(items))
		}
	}
	return d, nil
}

// accepted delivers items and wants each accepted.
func (sess *session) accepted(ctx context.Context, items ...*channelv1.Item) error {
	d, err := sess.send(ctx, items...)
	if err != nil {
		return err
	}
	for _, item := range items {
		if err := want(d.of(item), channelv1.Outcome_OUTCOME_ACCEPTED); err != nil {
			return err
		}
	}
	return nil
}

// want compares the outcome.
func want(r *channelv1.Result, outcome channelv1.Outcome) error {
	if r.GetOutcome() != outcome {
		return fmt.Errorf("attempt %s: want outcome %s, got %s", r.GetAttemptId(), word(outcome), verdict(r))
	}
	return nil
}

// retryableTries is how often a batch may come back while messages reach the provider: those that an earlier case has
// begun may arrive late.
const retryableTries = 3

// retryable delivers items and wants each back as surely not sent, and none of them at the provider.
func (sess *session) retryable(ctx context.Context, why string, n int) error {
	for try := 1; ; try++ {
		before := sess.subject.sent()
		items := sess.items(n)
		d, err := sess.send(ctx, items...)
		if err != nil {
			return fmt.Errorf("%s: %w", why, err)
		}
		for _, item := range items {
			if err := want(d.of(item), channelv1.Outcome_OUTCOME_RETRYABLE); err != nil {
				return fmt.Errorf("%s: %w", why, err)
			}
		}
		arrived := sess.subject.sent() - before
		switch {
		case arrived == 0:
			return nil
		case try == retryableTries:
			return fmt.Errorf("%s: %d items came back as surely not sent, yet %d reached the provider", why, n, arrived)
		}
	}
}

func word(o channelv1.Outcome) string {
	return strings.ToLower(strings.TrimPrefix(o.String(), "OUTCOME_"))
}

// verdict is a result in words.
func verdict(r *channelv1.Result) string {
	out := word(r.GetOutcome())
	if e := r.GetError(); e != nil {
		fault := strings.ToLower(strings.TrimPrefix(e.GetFault().String(), "FAULT_"))
		out += fmt.Sprintf(" (%s, fault %s: %s)", e.GetCode(), fault, e.GetMessage())
	}
	return out
}

// firstError returns the first diagnostic that is an error, or nil.
func firstError(ds []*channelv1.Diagnostic) *channelv1.Diagnostic {
	for _, d := range ds {
		if d.GetSeverity() == channelv1.Severity_SEVERITY_ERROR {
			return d
		}
	}
	return nil
}

// pathOf writes a path as authors do: servers[0].host.
func pathOf(d *channelv1.Diagnostic) string {
	var b strings.Builder
	for i, step := range d.GetPath() {
		switch s := step.GetStep().(type) {
		case *channelv1.PathStep_Name:
			if i > 0 {
				b.WriteByte('.')
			}
			b.WriteString(s.Name)
		case *channelv1.PathStep_Index:
			fmt.Fprintf(&b, "[%d]", s.Index)
		}
	}
	return b.String()
}

func show(d *channelv1.Diagnostic) string {
	out := d.GetSummary()
	if p := pathOf(d); p != "" {
		out = p + ": " + out
	}
	if d.GetDetail() != "" {
		out += " (" + d.GetDetail() + ")"
	}
	return out
}
