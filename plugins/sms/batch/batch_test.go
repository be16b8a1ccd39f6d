package batch_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/plugins/sms/batch"
	"github.com/pigeonry/pigeonry/sdk"
)

// item is a message that is called by its index.
type item int

// Index implements batch.Item.
func (i item) Index() int { return int(i) }

// results has the outcome of each message, and of each how often it was reported.
type results struct {
	mu       sync.Mutex
	outcomes map[int]sdk.Outcome
	count    map[int]int
}

func (r *results) report(i int, _ sdk.Receipt, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.outcomes[i] = sdk.OutcomeOf(err)
	r.count[i]++
}

// send has 20 messages go in groups of 10 to a provider that refuses a request in which one of bad is.
func send(ctx context.Context, t *testing.T, refusal error, bad ...item) *results {
	t.Helper()
	out := &results{outcomes: map[int]sdk.Outcome{}, count: map[int]int{}}
	batch.Send(ctx, batch.Provider[item]{
		Compose: func(i int, _ *sdk.Message) (item, error) {
			if i == 19 {
				return 0, sdk.Permanent(errors.New("cannot be written"))
			}
			return item(i), nil
		},
		Groups: func(items []item) [][]item { return [][]item{items[:10], items[10:]} },
		Request: func(_ context.Context, group []item, report batch.Report) error {
			for _, it := range group {
				if slices.Contains(bad, it) {
					return refusal
				}
			}
			for _, it := range group {
				report(it.Index(), sdk.Accepted(fmt.Sprint(it)), nil)
			}
			return nil
		},
	}, make([]*sdk.Message, 20), out.report)
	for i := range 20 {
		if out.count[i] != 1 {
			t.Errorf("message %d was reported %d times", i, out.count[i])
		}
	}
	return out
}

func TestSend(t *testing.T) {
	message, config := sdk.Permanent(errors.New("no number")), sdk.Permanent(errors.New("no key"), sdk.Blame(sdk.FaultConfig))
	for name, tc := range map[string]struct {
		refusal error
		bad     []item
		refused int
	}{
		"nothing is bad":               {message, nil, 1},
		"one message is bad":           {message, []item{7}, 2},
		"three are":                    {message, []item{0, 9, 12}, 4},
		"it is not about a message":    {config, []item{7}, 11},
		"nobody knows what came of it": {sdk.Uncertain(errors.New("lost")), []item{7}, 11},
	} {
		r := send(t.Context(), t, tc.refusal, tc.bad...)
		refused := 0
		for _, o := range r.outcomes {
			if o != sdk.OutcomeAccepted {
				refused++
			}
		}
		if refused != tc.refused {
			t.Errorf("%s: %d messages were not accepted, want %d", name, refused, tc.refused)
		}
	}
}

func TestSendAfterTheDeadline(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for i, o := range send(ctx, t, nil).outcomes {
		if want := sdk.OutcomeRetryable; i != 19 && o != want {
			t.Errorf("message %d: %s, want %s", i, o, want)
		}
	}
}
