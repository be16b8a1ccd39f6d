package dispatch

import (
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

var noon = time.Date(2026, time.November, 23, 12, 0, 0, 0, time.UTC)

// What an outcome means for a message: the whole table.
func TestTransition(t *testing.T) {
	type want struct {
		status   core.Status
		code     string // of the error, "" for none
		waits    bool   // has a next attempt, or a time to look again
		doubtful bool
		budget   int
	}
	message := func(change func(*core.Message)) *core.Message {
		m := &core.Message{ID: 7, Budget: 5, Attempt: 0, CreatedAt: noon.Add(-time.Minute), Status: core.StatusQueued}
		if change != nil {
			change(m)
		}
		return m
	}
	fault := func(f core.Fault, code string) *core.SendError { return &core.SendError{Code: code, Fault: f} }
	hold := Policy{OnUncertain: Hold}

	tests := []struct {
		name    string
		message *core.Message
		result  core.Result
		policy  Policy
		status  core.ConnectorStatus
		want    want
	}{
		{
			name: "accepted", result: core.Result{Attempt: 1, Outcome: core.OutcomeAccepted},
			want: want{status: core.StatusSent},
		}, {
			name:   "rejected for the message's sake ends it",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeRejected, Error: fault(core.FaultMessage, "invalid_recipient")},
			want:   want{status: core.StatusFailed, code: "invalid_recipient"},
		}, {
			name:   "rejected for a wrong configuration waits for it to be mended",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeRejected, Error: fault(core.FaultConfig, "auth_failed")},
			want:   want{status: core.StatusQueued, code: "auth_failed", waits: true},
		}, {
			name:   "rejected for a wrong configuration gives up one day",
			result: core.Result{Attempt: 5, Outcome: core.OutcomeRejected, Error: fault(core.FaultConfig, "auth_failed")},
			want:   want{status: core.StatusFailed, code: core.CodeOutOfAttempts},
		}, {
			name:   "expired unsent in the plugin",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeRejected, Error: fault(core.FaultMessage, core.CodeExpired)},
			want:   want{status: core.StatusExpired, code: core.CodeExpired},
		}, {
			name:   "retryable with attempts left",
			result: core.Result{Attempt: 4, Outcome: core.OutcomeRetryable, Error: fault(core.FaultProvider, "busy")},
			want:   want{status: core.StatusQueued, code: "busy", waits: true},
		}, {
			name:   "retryable without attempts left",
			result: core.Result{Attempt: 5, Outcome: core.OutcomeRetryable, Error: fault(core.FaultProvider, "busy")},
			want:   want{status: core.StatusFailed, code: core.CodeOutOfAttempts},
		}, {
			name:    "retryable past expire_at",
			message: message(func(m *core.Message) { m.ExpireAt = noon.Add(time.Minute) }),
			result:  core.Result{Attempt: 1, Outcome: core.OutcomeRetryable, RetryAfter: time.Hour},
			want:    want{status: core.StatusExpired},
		}, {
			name:   "throttled does not use an attempt up",
			result: core.Result{Attempt: 5, Outcome: core.OutcomeThrottled, RetryAfter: 3 * time.Second},
			want:   want{status: core.StatusQueued, waits: true, budget: 6},
		}, {
			name:   "never handed over does not use an attempt up",
			result: core.Result{Attempt: 5, Outcome: core.OutcomeRetryable, Error: fault(core.FaultPlugin, core.CodeNotSent)},
			want:   want{status: core.StatusQueued, code: core.CodeNotSent, waits: true, budget: 6},
		}, {
			name:    "throttled for days gives up",
			message: message(func(m *core.Message) { m.CreatedAt = noon.Add(-73 * time.Hour) }),
			result:  core.Result{Attempt: 11, Outcome: core.OutcomeThrottled},
			want:    want{status: core.StatusFailed, code: core.CodeOutOfAttempts, budget: 6},
		}, {
			name:    "throttled at the time that it was scheduled for, days after it was accepted",
			message: message(func(m *core.Message) { m.CreatedAt = noon.Add(-73 * time.Hour) }),
			result:  core.Result{Attempt: 1, Outcome: core.OutcomeThrottled},
			want:    want{status: core.StatusQueued, waits: true, budget: 6},
		}, {
			name:    "retryable at the time that it was scheduled for, days after it was accepted",
			message: message(func(m *core.Message) { m.CreatedAt = noon.Add(-73 * time.Hour) }),
			result:  core.Result{Attempt: 1, Outcome: core.OutcomeRetryable, Error: fault(core.FaultProvider, "busy")},
			want:    want{status: core.StatusQueued, code: "busy", waits: true},
		}, {
			name:   "uncertain is sent again with the mark",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeUncertain, Error: fault(core.FaultPlugin, core.CodeConnectionLost)},
			want:   want{status: core.StatusQueued, code: core.CodeConnectionLost, waits: true, doubtful: true},
		}, {
			name:   "uncertain at a provider that drops repeats needs no mark",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeUncertain},
			status: core.ConnectorStatus{Idempotent: true},
			want:   want{status: core.StatusQueued, waits: true},
		}, {
			name:   "uncertain is held where the policy says so",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeUncertain}, policy: hold,
			want: want{status: core.StatusUncertain},
		}, {
			name:   "uncertain at a provider that can be asked waits for the answer",
			result: core.Result{Attempt: 1, Outcome: core.OutcomeUncertain}, status: core.ConnectorStatus{Query: true},
			want: want{status: core.StatusUncertain, waits: true},
		}, {
			name:   "uncertain without attempts left fails with the mark: it may have arrived",
			result: core.Result{Attempt: 5, Outcome: core.OutcomeUncertain},
			want:   want{status: core.StatusFailed, code: core.CodeOutOfAttempts, doubtful: true},
		}, {
			name:    "uncertain past expire_at expires with the mark",
			message: message(func(m *core.Message) { m.ExpireAt = noon }),
			result:  core.Result{Attempt: 1, Outcome: core.OutcomeUncertain},
			want:    want{status: core.StatusExpired, doubtful: true},
		}, {
			name:   "an outcome that nobody knows is uncertain",
			result: core.Result{Attempt: 1, Outcome: "lucky"}, policy: hold,
			want: want{status: core.StatusUncertain},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := tt.message
			if m == nil {
				m = message(nil)
			}
			tt.result.Record = m.ID
			j := judgement{
				message: m, result: &tt.result, policy: tt.policy.withDefaults(), status: tt.status,
				now: noon, maxAge: 72 * time.Hour,
			}
			got := j.transition()
			code := ""
			if got.Error != nil {
				code = got.Error.Code
			}
			have := want{got.Status, code, !got.NextAttempt.IsZero(), got.Doubtful, got.Budget}
			if have != tt.want {
				t.Errorf("got %+v, want %+v", have, tt.want)
			}
			if got.Record != m.ID || got.Attempt != tt.result.Attempt {
				t.Errorf("the transition names %d.%d, want %d.%d", got.Record, got.Attempt, m.ID, tt.result.Attempt)
			}
		})
	}
}

func TestRetryAfterIsObeyed(t *testing.T) {
	for _, outcome := range []core.Outcome{core.OutcomeRetryable, core.OutcomeThrottled} {
		r := core.Result{Attempt: 1, Outcome: outcome, RetryAfter: time.Minute}
		m := &core.Message{Budget: 5, CreatedAt: noon}
		got := judgement{message: m, result: &r, policy: Policy{}.withDefaults(), now: noon, maxAge: time.Hour}.transition()
		if wait := got.NextAttempt.Sub(noon); wait < time.Minute || wait > 2*time.Minute {
			t.Errorf("%s: the next attempt is after %s, want a minute or a little more", outcome, wait)
		}
	}
}

// A provider that throttles without saying for how long is not asked again and again at the same pace.
func TestThrottledWithoutATimeWaitsLongerEachTime(t *testing.T) {
	for attempt, bound := range map[int]time.Duration{1: time.Second, 2: 4 * time.Second, 8: time.Minute} {
		var most time.Duration
		for range 2000 {
			r := core.Result{Attempt: attempt, Outcome: core.OutcomeThrottled}
			m := &core.Message{Budget: 5, CreatedAt: noon}
			p := Policy{MaxBackoff: time.Minute}.withDefaults()
			got := judgement{message: m, result: &r, policy: p, now: noon, maxAge: time.Hour}.transition()
			most = max(most, got.NextAttempt.Sub(noon))
		}
		if most > bound || most < bound*9/10 {
			t.Errorf("attempt %d: waits up to %s, want up to %s", attempt, most, bound)
		}
	}
}

func TestBackoffGrowsToItsBoundWithFullJitter(t *testing.T) {
	p := Policy{Backoff: time.Second, MaxBackoff: time.Minute}
	for attempt, bound := range map[int]time.Duration{1: time.Second, 2: 4 * time.Second, 3: 16 * time.Second, 4: time.Minute, 60: time.Minute} {
		var least, most time.Duration = time.Hour, 0
		for range 2000 {
			d := backoff(p, attempt)
			least, most = min(least, d), max(most, d)
		}
		if most > bound || most < bound*9/10 || least > bound/10 {
			t.Errorf("attempt %d: waits from %s to %s, want from near 0 to near %s", attempt, least, most, bound)
		}
	}
}

func TestResolveConcludes(t *testing.T) {
	d := New(Options{})
	lapsed := store.Lapsed{
		Message:   core.Message{ID: 7, Attempt: 2, Budget: 5, Status: core.StatusSending, CreatedAt: noon},
		StartedAt: noon.Add(-time.Minute),
	}
	retry := Policy{}.withDefaults()
	says := func(o core.Outcome) answer {
		return answer{known: true, result: core.Result{Record: 7, Attempt: 2, Outcome: o}}
	}
	tests := []struct {
		name   string
		answer answer
		state  core.ConnectorState
		age    time.Duration
		within time.Duration // the time of the next look
		want   core.Status
		mark   bool
	}{
		{name: "nobody to ask: the policy sends again", want: core.StatusQueued, mark: true},
		{name: "the provider has it", answer: says(core.OutcomeAccepted), want: core.StatusSent},
		{name: "the provider never got it", answer: says(core.OutcomeRetryable), want: core.StatusQueued},
		{name: "the provider refused it", answer: says(core.OutcomeRejected), want: core.StatusFailed},
		{name: "the provider does not know yet, or cannot be reached", answer: answer{later: true}, within: time.Minute, want: core.StatusUncertain},
		{
			name: "the plugin is not there yet: it will be soon", answer: answer{later: true}, state: core.ConnectorUnavailable,
			within: 20 * time.Second, want: core.StatusUncertain,
		},
		{name: "no answer for long: the policy sends again", answer: answer{later: true}, age: time.Hour, want: core.StatusQueued, mark: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := d.conclude(&lapsed, retry, core.ConnectorStatus{Query: true, State: tt.state}, tt.answer, noon.Add(tt.age))
			if wait := got.NextAttempt.Sub(noon); tt.within > 0 && (wait <= 0 || wait > tt.within) {
				t.Errorf("looked at again after %s, want within %s", wait, tt.within)
			}
			if got.Status != tt.want || got.Doubtful != tt.mark {
				t.Errorf("got %s, mark %v; want %s, mark %v", got.Status, got.Doubtful, tt.want, tt.mark)
			}
			if got.Attempt != 2 {
				t.Errorf("the transition is of attempt %d, want 2", got.Attempt)
			}
		})
	}
}

// What one attempt may have sent, the next one that fails does not undo.
func TestAFailureDoesNotMakeAnUncertainAttemptForgotten(t *testing.T) {
	m := &core.Message{ID: 7, Budget: 5, Attempt: 1, Outcome: core.OutcomeUncertain, CreatedAt: noon}
	for outcome, want := range map[core.Outcome]bool{
		core.OutcomeRetryable: true, core.OutcomeThrottled: true, core.OutcomeRejected: true, core.OutcomeAccepted: false,
	} {
		r := core.Result{Record: 7, Attempt: 2, Outcome: outcome}
		got := judgement{message: m, result: &r, policy: Policy{}.withDefaults(), status: core.ConnectorStatus{Idempotent: true}, now: noon, maxAge: time.Hour}.transition()
		if got.Doubtful != want {
			t.Errorf("%s: doubtful %t, want %t", outcome, got.Doubtful, want)
		}
	}
}
