package dispatch

import (
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// routed is a dispatcher over connectors, and the time that it believes.
type routed struct {
	*Dispatcher

	now time.Time
	ch  *channel
}

func newRouted(connectors ...*connector) *routed {
	r := &routed{now: noon, ch: &channel{name: "sms"}}
	r.Dispatcher = New(Options{Now: func() time.Time { return r.now }, Facts: knowing{}})
	for _, c := range connectors {
		r.connectors[c.id] = c
	}
	return r
}

// knowing knows two accounts and two countries.
type knowing struct{}

func (knowing) Country(recipient string) string {
	switch recipient[:3] {
	case "+86":
		return "CN"
	case "+49":
		return "DE"
	default:
		return ""
	}
}

func (knowing) AccountName(id core.AccountID) (string, bool) {
	name, ok := map[core.AccountID]string{1: "shop", 2: "bank"}[id]
	return name, ok
}

// counts routes messages with the ids 1 to n and returns how many each connector got; "" counts those that wait.
func (r *routed) counts(n int, m core.Message) map[core.ConnectorID]int {
	messages := make([]core.Message, n)
	for i := range messages {
		messages[i] = m
		messages[i].ID = core.RecordID(i + 1)
	}
	p := r.route(r.ch, messages)
	counts := map[core.ConnectorID]int{}
	for _, s := range p.shares {
		counts[s.connector.id] = len(s.messages)
	}
	if len(p.waiting) > 0 {
		counts[""] = len(p.waiting)
	}
	return counts
}

func (r *routed) wait(d time.Duration) { r.now = r.now.Add(d) }

func normal() core.Message {
	return core.Message{
		Channel: "sms", Priority: core.DefaultPriority, Recipient: "+8613800138000", Account: 1, CreatedAt: noon,
		Budget: core.DefaultBudget, Content: core.Content{Text: "Hello"},
	}
}

func TestOrderGoesBeforeWeight(t *testing.T) {
	r := newRouted(ready("sms/a", Policy{Order: 1, Weight: 3}), ready("sms/b", Policy{Order: 1, Weight: 1}), ready("sms/c", Policy{Order: 2, Weight: 1}))
	got := r.counts(4000, normal())
	if got["sms/c"] != 0 || got[""] != 0 || got["sms/a"] < 2800 || got["sms/a"] > 3200 {
		t.Errorf("got %v, want three to one and never the backup", got)
	}
}

func TestTheLoadOfAFailingConnectorReachesTheBackupLittleByLittle(t *testing.T) {
	first, backup := ready("sms/a", Policy{Weight: 1, Ramp: 30 * time.Second}), ready("sms/b", Policy{Order: 1, Weight: 1, Ramp: 30 * time.Second})
	r := newRouted(first, backup)
	r.counts(1, normal())
	first.pause(noon.Add(time.Hour))
	var grown []int
	for range 4 {
		got := r.counts(10_000, normal())
		if got["sms/a"] != 0 || got["sms/b"]+got[""] != 10_000 {
			t.Fatalf("got %v, want the backup and those that wait", got)
		}
		grown = append(grown, got["sms/b"])
		r.wait(10 * time.Second)
	}
	for i, want := range []int{1000, 4000, 7000, 10_000} { // 10 % at once, then all within the 30 s
		if grown[i] < want-100 || grown[i] > want+200 {
			t.Errorf("the backup got %v, want about 1000, 4000, 7000 and 10000", grown)
			break
		}
	}
}

// A provider that comes and goes must not send a new wave to the backup each time it goes.
func TestTheShareShrinksAsSlowlyAsItGrew(t *testing.T) {
	first, backup := ready("sms/a", Policy{Weight: 1, Ramp: 30 * time.Second}), ready("sms/b", Policy{Order: 1, Weight: 1, Ramp: 30 * time.Second})
	r := newRouted(first, backup)
	r.counts(1, normal())
	first.pause(noon.Add(30 * time.Second))
	r.counts(1, normal())
	r.wait(30 * time.Second) // all may go to the backup
	if got := r.counts(1000, normal()); got["sms/a"] != 1000 {
		t.Fatalf("got %v, want all at the first again", got)
	}
	r.wait(3 * time.Second)
	first.pause(r.now.Add(time.Hour))
	if got := r.counts(10_000, normal()); got["sms/b"] < 8900 || got["sms/b"] > 9500 {
		t.Errorf("the backup got %d of 10000 right after it had all, want about 9100", got["sms/b"])
	}
}

func TestAFewMessagesAndUrgentOnesFailOverAtOnce(t *testing.T) {
	first, backup := ready("sms/a", Policy{Weight: 1, Ramp: time.Hour}), ready("sms/b", Policy{Order: 1, Weight: 1, Ramp: time.Hour})
	r := newRouted(first, backup)
	r.counts(1, normal())
	first.pause(noon.Add(time.Hour))
	if got := r.counts(10, normal()); got["sms/b"] != 10 {
		t.Errorf("got %v, want all ten at the backup", got)
	}
	urgent := normal()
	urgent.Priority = core.MaxPriority
	if got := r.counts(1000, urgent); got["sms/b"] != 1000 {
		t.Errorf("got %v, want all urgent ones at the backup", got)
	}
}

func TestWhatWasSurelyNotSentFailsOver(t *testing.T) {
	tests := []struct {
		name    string
		outcome core.Outcome
		want    core.ConnectorID
	}{
		{"the provider was down", core.OutcomeRetryable, "sms/b"},
		{"the configuration was wrong", core.OutcomeRejected, "sms/b"},
		{"the provider asked to slow down", core.OutcomeThrottled, "sms/a"},
		{"nobody knows whether it was sent", core.OutcomeUncertain, "sms/a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouted(ready("sms/a", Policy{Weight: 1}), ready("sms/b", Policy{Order: 1, Weight: 1}))
			m := normal()
			m.Attempt, m.Outcome, m.Connector = 1, tt.outcome, "sms/a"
			if got := r.counts(1, m); got[tt.want] != 1 {
				t.Errorf("got %v, want %s", got, tt.want)
			}
		})
	}
}

func TestWhatMayHaveBeenSentWaitsForItsConnector(t *testing.T) {
	first := ready("sms/a", Policy{Weight: 1})
	r := newRouted(first, ready("sms/b", Policy{Weight: 1}))
	first.pause(noon.Add(time.Hour))
	m := normal()
	m.Attempt, m.Outcome, m.Connector, m.Priority = 1, core.OutcomeUncertain, "sms/a", core.MaxPriority
	if got := r.counts(100, m); got[""] != 100 {
		t.Errorf("got %v, want all to wait", got)
	}
}

// Of a channel with one connector nothing is ever sent elsewhere.
func TestWithoutAnotherConnectorMessagesWaitOrComeAgain(t *testing.T) {
	only := ready("sms/a", Policy{Weight: 1})
	r := newRouted(only)
	m := normal()
	m.Attempt, m.Outcome, m.Connector = 1, core.OutcomeRetryable, "sms/a"
	if got := r.counts(10, m); got["sms/a"] != 10 {
		t.Errorf("got %v, want all at the one that failed", got)
	}
	only.pause(noon.Add(time.Hour))
	if got := r.counts(10, m); got[""] != 10 {
		t.Errorf("got %v, want all to wait", got)
	}
}

func TestConnectorsTakeWhatTheirRoutesSay(t *testing.T) {
	tests := []struct {
		name   string
		match  Match
		change func(*core.Message)
		takes  bool
	}{
		{"everything", Match{}, func(*core.Message) {}, true},
		{"its account", Match{Accounts: []string{"bank", "shop"}}, func(*core.Message) {}, true},
		{"another account", Match{Accounts: []string{"bank"}}, func(*core.Message) {}, false},
		{"its country", Match{Countries: []string{"CN"}}, func(*core.Message) {}, true},
		{"another country", Match{Countries: []string{"DE"}}, func(*core.Message) {}, false},
		{"a prefix", Match{Prefixes: []string{"+49", "+86138"}}, func(*core.Message) {}, true},
		{"another prefix", Match{Prefixes: []string{"+86139"}}, func(*core.Message) {}, false},
		{"its template", Match{Templates: []core.TemplateID{7}}, func(m *core.Message) { m.Template = 7 }, true},
		{"no template", Match{Templates: []core.TemplateID{7}}, func(*core.Message) {}, false},
		{"a template of the provider's for it", Match{ProviderTemplate: true}, func(m *core.Message) {
			m.Content.ProviderTemplates = map[core.ConnectorID]core.ProviderTemplate{"sms/a": {ID: "x"}}
		}, true},
		{"a template of the provider's for all", Match{ProviderTemplate: true}, func(m *core.Message) {
			m.Content.ProviderTemplates = map[core.ConnectorID]core.ProviderTemplate{core.AnyConnector: {ID: "x"}}
		}, true},
		{"a template of another provider's", Match{ProviderTemplate: true}, func(m *core.Message) {
			m.Content.ProviderTemplates = map[core.ConnectorID]core.ProviderTemplate{"sms/b": {ID: "x"}}
		}, false},
		{"its country, another account", Match{Countries: []string{"CN"}, Accounts: []string{"bank"}}, func(*core.Message) {}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouted(ready("sms/a", Policy{Weight: 1, Match: tt.match}), ready("sms/rest", Policy{Order: 1, Weight: 1}))
			m := normal()
			tt.change(&m)
			want := core.ConnectorID("sms/rest")
			if tt.takes {
				want = "sms/a"
			}
			if got := r.counts(10, m); got[want] != 10 {
				t.Errorf("got %v, want all at %s", got, want)
			}
		})
	}
}

// One that can send nothing but text gets no message that has none, and the other way round.
func TestAMessageWithoutATextGoesWhereItHasATemplate(t *testing.T) {
	r := newRouted(ready("sms/a", Policy{Weight: 1}), ready("sms/b", Policy{Weight: 1}))
	m := normal()
	m.Content = core.Content{ProviderTemplates: map[core.ConnectorID]core.ProviderTemplate{"sms/b": {ID: "x"}}}
	if got := r.counts(100, m); got["sms/b"] != 100 {
		t.Errorf("got %v, want all at the one that has a template", got)
	}
	m.Content.Text = "Hello"
	if got := r.counts(1000, m); got["sms/a"] < 400 || got["sms/b"] < 400 {
		t.Errorf("got %v, want half at each", got)
	}
}

// A message remembers that it may have been sent, also when a later attempt surely failed.
func TestADoubtfulMessageStaysWithItsConnector(t *testing.T) {
	r := newRouted(ready("sms/a", Policy{Weight: 1}), ready("sms/b", Policy{Order: 1, Weight: 1}))
	m := normal()
	m.Attempt, m.Outcome, m.Connector, m.Doubtful, m.Priority = 2, core.OutcomeRetryable, "sms/a", true, core.MaxPriority
	if got := r.counts(10, m); got["sms/a"] != 10 {
		t.Errorf("got %v, want all at the one that may have sent them", got)
	}
}

// A connector that refuses some messages for good, and is well otherwise, is not the end of them.
func TestTheLastAttemptGoesElsewhere(t *testing.T) {
	r := newRouted(ready("sms/a", Policy{Weight: 1, Ramp: time.Hour}), ready("sms/b", Policy{Order: 1, Weight: 1, Ramp: time.Hour}))
	r.counts(1, normal())
	m := normal()
	m.Attempt, m.Outcome, m.Connector = m.Budget-1, core.OutcomeRejected, "sms/a"
	if got := r.counts(1000, m); got["sms/b"] != 1000 {
		t.Errorf("got %v, want all at the other one", got)
	}
}

func TestAMessageOfAnAccountThatCannotBeNamedNowWaits(t *testing.T) {
	r := newRouted(ready("sms/a", Policy{Weight: 1, Match: Match{Accounts: []string{"shop"}}}), ready("sms/b", Policy{Weight: 1}))
	m := normal()
	m.Account = 9
	if got := r.counts(10, m); got[""] != 10 {
		t.Errorf("got %v, want all to wait: they may be for either", got)
	}
}

// A message that was scheduled long ago does not fail because its connector is away for a moment.
func TestAnOldMessageWaitsForAConnectorThatIsGone(t *testing.T) {
	r := newRouted(ready("sms/a", Policy{Weight: 1}))
	m := normal()
	m.CreatedAt, m.Pinned = noon.Add(-30*24*time.Hour), "sms/gone"
	if got := r.counts(1, m); got[""] != 1 {
		t.Errorf("got %v, want it to wait", got)
	}
	r.wait(r.o.MaxAge + time.Minute)
	if p := r.route(r.ch, []core.Message{m}); len(p.orphaned) != 1 {
		t.Errorf("got %+v, want it to end", p)
	}
}

// Workers look at their clocks before they have their turn: the same time does not count twice.
func TestADamperDoesNotCountTimeTwice(t *testing.T) {
	var d damper
	d.look(false, 30*time.Second, noon)
	for i := range 100 {
		d.look(false, 30*time.Second, noon.Add(time.Second))
		d.look(false, 30*time.Second, noon.Add(time.Second-time.Duration(i)*time.Millisecond))
	}
	if got := d.look(false, 30*time.Second, noon.Add(time.Second)); got > 0.14 {
		t.Errorf("after one of thirty seconds %.2f may go elsewhere, want 0.13", got)
	}
}
