package dispatch

import (
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// A repeat that the provider drops is made by the connector that has the first, without the mark, while the promise holds.
func TestSafeRepeat(t *testing.T) {
	d := New(Options{})
	says := answer{later: true, safe: true, result: core.Result{
		Record: 7, Attempt: 1, Outcome: core.OutcomeUncertain, Error: &core.SendError{Code: core.CodeRepeatSafe},
	}}
	for _, tt := range []struct {
		name    string
		attempt int
		age     time.Duration // of the attempt
		budget  int
		want    core.Status
		mark    bool
	}{
		{name: "at once, even where the policy is to hold", attempt: 1, budget: 5, want: core.StatusQueued},
		{name: "the promise is over", attempt: 1, age: core.RepeatWindow + time.Second, budget: 5, want: core.StatusUncertain},
		{name: "no attempt is left", attempt: 1, budget: 1, want: core.StatusFailed, mark: true},
		{name: "an earlier attempt may be older than the promise", attempt: 2, budget: 5, want: core.StatusUncertain},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lapsed := store.Lapsed{
				Message:   core.Message{ID: 7, Attempt: tt.attempt, Budget: tt.budget, Status: core.StatusUncertain, CreatedAt: noon.Add(-time.Hour)},
				StartedAt: noon.Add(-tt.age),
			}
			got := d.conclude(&lapsed, Policy{OnUncertain: Hold}.withDefaults(), core.ConnectorStatus{Query: true}, says, noon)
			if got.Status != tt.want || got.Doubtful != tt.mark || got.Outcome != core.OutcomeUncertain {
				t.Errorf("got %s %s, mark %v; want %s, mark %v", got.Status, got.Outcome, got.Doubtful, tt.want, tt.mark)
			}
			if got.Status == core.StatusQueued && (got.Error == nil || got.Error.Code != core.CodeRepeatSafe) {
				t.Errorf("the promise is not kept with the message: %v", got.Error)
			}
		})
	}
}

func TestRepeatIsMarkedWhereThePromiseDoesNotHold(t *testing.T) {
	safe := &core.SendError{Code: core.CodeRepeatSafe}
	soon, late := noon.Add(time.Minute), noon.Add(core.RepeatWindow+time.Second)
	for _, tt := range []struct {
		name      string
		before    core.Outcome
		cause     *core.SendError
		connector core.ConnectorID
		at        time.Time
		want      bool
	}{
		{"taken in time", core.OutcomeUncertain, safe, "sms/a", soon, false},
		{"left late", core.OutcomeUncertain, safe, "sms/a", late, true},
		{"late, where repeats are always dropped", core.OutcomeUncertain, nil, "sms/a", late, false},
		{"by another connector", core.OutcomeUncertain, safe, "sms/b", soon, true},
		{"after one that was surely not sent", core.OutcomeRetryable, nil, "sms/b", late, false},
	} {
		m := &core.Message{Attempt: 1, Connector: "sms/a", Outcome: tt.before, Error: tt.cause, CreatedAt: noon.Add(-time.Hour), StartedAt: noon}
		if got := doubtsRepeat(m, tt.connector, tt.at); got != tt.want {
			t.Errorf("%s: mark %v, want %v", tt.name, got, tt.want)
		}
	}
}
