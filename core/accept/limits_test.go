package accept_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/accept"
	"github.com/pigeonry/pigeonry/core/limit"
	"github.com/pigeonry/pigeonry/core/store"
)

// countingLimiter counts the calls to a limiter and can break.
type countingLimiter struct {
	limit.Limiter
	calls  atomic.Int32
	broken atomic.Bool
}

// Allow implements limit.Limiter.
func (l *countingLimiter) Allow(ctx context.Context, requests ...limit.Request) (limit.Decision, error) {
	l.calls.Add(1)
	if l.broken.Load() {
		return limit.Undecided(), errors.New("connection refused")
	}
	return l.Limiter.Allow(ctx, requests...)
}

// once is a limit of one event in an hour.
func once(resource string, by limit.Dimension) limit.Rule { return upTo(1, resource, by) }

func upTo(most float64, resource string, by limit.Dimension) limit.Rule {
	return limit.Rule{Resource: resource, Type: limit.SlidingWindow, By: by, Max: most, Window: time.Hour}
}

// batch is a request to n recipients, from a number on.
func (f *fixture) batch(from, n int) accept.Request {
	return f.single(func(r *accept.Request) {
		r.Batch, r.Draft.Content, r.Recipients = true, "hello", make([]accept.Recipient, n)
		for i := range r.Recipients {
			r.Recipients[i].Address = fmt.Sprintf("+86138%08d", from+i)
		}
	})
}

// limited returns the error of a request that is over a limit.
func limited(t *testing.T, err error) *core.Error {
	t.Helper()
	var e *core.Error
	if !errors.As(err, &e) || e.Kind != core.KindLimited || e.Code != core.CodeRateLimited || e.RetryAfter <= 0 {
		t.Fatalf("got %v, want a refusal by a limit", err)
	}
	return e
}

func TestLimitRefusesWithATimeToComeBack(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSend] = []limit.Rule{{Resource: accept.ResourceSend, Type: limit.QPS, Max: 1}}
	if _, err := f.Send(t.Context(), f.single(nil)); err != nil {
		t.Fatal(err)
	}
	_, err := f.Send(t.Context(), f.single(nil))
	e := limited(t, err)
	if e.RetryAfter > time.Second {
		t.Errorf("retry after %v", e.RetryAfter)
	}
	if want := "over the limit of 1 a second by account for api:/messages/send (qps)"; !strings.HasPrefix(e.Message, want) {
		t.Errorf("message %q, want %q", e.Message, want)
	}
}

// Each dimension counts apart what differs in it, and nothing else.
func TestDimensions(t *testing.T) {
	other := func(r *accept.Request) { r.Account.ID++ }
	changes := map[string]func(*accept.Request){
		"account":   other,
		"key":       func(r *accept.Request) { r.Caller.APIKey++ },
		"ip":        func(r *accept.Request) { r.Caller.IP = "192.0.2.9" },
		"channel":   func(r *accept.Request) { r.Draft.Channel, r.Recipients[0].Address = "email", "ann@example.com" },
		"recipient": func(r *accept.Request) { r.Recipients[0].Address = "+8613800138009" },
		"spelling":  func(r *accept.Request) { r.Recipients[0].Address = "138 0013 8000" },
	}
	for by, free := range map[limit.Dimension][]string{
		"":                {"account"},
		limit.ByAccount:   {"account"},
		limit.ByKey:       {"key"},
		limit.ByIP:        {"ip"},
		limit.ByChannel:   {"channel"},
		limit.ByRecipient: {"recipient", "channel", "account"},
		limit.Global:      {},
	} {
		t.Run("by "+string(by), func(t *testing.T) {
			f := newFixture(t)
			f.rules[accept.ResourceSend] = []limit.Rule{once(accept.ResourceSend, by)}
			if _, err := f.Send(t.Context(), f.single(nil)); err != nil {
				t.Fatal(err)
			}
			for what, change := range changes {
				_, err := f.Send(t.Context(), f.single(change))
				passes := false
				for _, name := range free {
					passes = passes || name == what
				}
				if passes && err != nil {
					t.Errorf("another %s: %v", what, err)
				}
				if !passes {
					limited(t, err)
				}
			}
		})
	}
}

// All limits of a request are one question: what one refuses, no other has counted.
func TestLimitsOfARequestAreAskedTogether(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSend] = []limit.Rule{
		upTo(2, accept.ResourceSend, limit.ByAccount), once(accept.ResourceSend, limit.ByRecipient),
		{Resource: accept.ResourceSend, Type: limit.Concurrent, Max: 0}, // the API's to keep
	}
	f.rules["channel:sms"] = []limit.Rule{upTo(10, "channel:sms", limit.Global)}
	to := func(address string) error {
		_, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Recipients[0].Address = address }))
		return err
	}
	if err := to("+8613800138000"); err != nil {
		t.Fatal(err)
	}
	if calls := f.limiter.calls.Load(); calls != 1 {
		t.Errorf("%d calls", calls)
	}
	if e := limited(t, to("+8613800138000")); !strings.Contains(e.Message, "by recipient") {
		t.Errorf("message %q", e.Message)
	}
	if err := to("+8613800138001"); err != nil {
		t.Errorf("the refused one was counted: %v", err)
	}
}

// A channel counts messages, a route counts requests.
func TestChannelCountsMessages(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSendBatch] = []limit.Rule{upTo(10, accept.ResourceSendBatch, limit.ByAccount)}
	f.rules["channel:sms"] = []limit.Rule{upTo(5, "channel:sms", limit.Global)}
	if _, err := f.Send(t.Context(), f.batch(0, 3)); err != nil {
		t.Fatal(err)
	}
	_, err := f.Send(t.Context(), f.batch(0, 3))
	if e := limited(t, err); !strings.Contains(e.Message, "5 in 1h0m0s by global for channel:sms") {
		t.Errorf("message %q", e.Message)
	}
	if _, err := f.Send(t.Context(), f.batch(0, 2)); err != nil {
		t.Error(err)
	}
	_, err = f.Send(t.Context(), f.batch(0, 6))
	var e *core.Error
	if !errors.As(err, &e) || e.Kind != core.KindTooLarge || e.Code != core.CodeTooLarge || !strings.Contains(e.Message, "a batch of 6 messages never fits") {
		t.Errorf("a batch that never fits: %v", err)
	}
}

// A recipient that is over a limit is left out; the others are accepted.
func TestLimitOfRecipientsInABatch(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSendBatch] = []limit.Rule{
		{Resource: accept.ResourceSendBatch, Type: limit.QPS, By: limit.ByRecipient, Max: 100},
		once(accept.ResourceSendBatch, limit.ByRecipient),
		upTo(2, accept.ResourceSendBatch, limit.ByAccount),
	}
	if _, err := f.Send(t.Context(), f.batch(3, 2)); err != nil {
		t.Fatal(err)
	}
	r := f.batch(0, 6)
	r.Recipients[1].Address = "nonsense"
	got, err := f.Send(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	if got.Accepted != 3 || len(got.Rejected) != 3 {
		t.Fatalf("got %+v", got)
	}
	for i, index := range []int{1, 3, 4} {
		if got.Rejected[i].Index != index || got.Rejected[i].Recipient != r.Recipients[index].Address {
			t.Errorf("rejected %+v, want recipient %d", got.Rejected[i], index)
		}
	}
	if reason := got.Rejected[1].Reason; reason != "/recipient: over the limit of 1 in 1h0m0s by recipient for api:/messages/send-batch (sliding_window); send it again after 1h0m0s" {
		t.Errorf("reason %q", reason)
	}
	stored, err := f.store.List(t.Context(), f.account.ID, store.Filter{Batch: got.Batch, Limit: 10})
	if err != nil || len(stored) != 3 {
		t.Errorf("stored %d messages, %v", len(stored), err)
	}
	_, err = f.Send(t.Context(), f.batch(50, 1)) // the limit of the account was counted once for each batch
	limited(t, err)
}

func TestALargeBatchAsksSeldom(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSendBatch] = []limit.Rule{once(accept.ResourceSendBatch, limit.ByRecipient)}
	got, err := f.Send(t.Context(), f.batch(0, accept.MaxRecipients))
	if err != nil || got.Accepted != accept.MaxRecipients {
		t.Fatalf("accepted %d, %v", got.Accepted, err)
	}
	if calls := f.limiter.calls.Swap(0); calls != accept.MaxRecipients/500 {
		t.Errorf("%d calls", calls)
	}
	got, err = f.Send(t.Context(), f.batch(0, accept.MaxRecipients)) // all over the limit
	if err != nil || got.Accepted != 0 || len(got.Rejected) != accept.MaxRecipients {
		t.Fatalf("accepted %d, rejected %d, %v", got.Accepted, len(got.Rejected), err)
	}
	if calls := f.limiter.calls.Load(); calls != 200 {
		t.Errorf("%d calls", calls)
	}
	if reason := got.Rejected[9999].Reason; !strings.Contains(reason, "200 recipients before it") {
		t.Errorf("reason %q", reason)
	}
}

// A repeat finds its first answer although the limit is used up.
func TestARepeatCountsTowardsNoLimit(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSend] = []limit.Rule{once(accept.ResourceSend, limit.ByRecipient)}
	for range 3 {
		if _, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-1", 1) })); err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.Send(t.Context(), f.single(func(r *accept.Request) { r.Key = key("order-2", 1) }))
	limited(t, err)
}

func TestALimiterThatCannotDecideIsUnavailable(t *testing.T) {
	f := newFixture(t)
	f.rules[accept.ResourceSend] = []limit.Rule{once(accept.ResourceSend, "")}
	f.limiter.broken.Store(true)
	if _, err := f.Send(t.Context(), f.single(nil)); core.KindOf(err) != core.KindUnavailable {
		t.Errorf("got %v", err)
	}
}
