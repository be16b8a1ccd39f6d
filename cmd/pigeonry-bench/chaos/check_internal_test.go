package chaos

import (
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

// entry is an SMS in the ledger.
func entry(number, attempt int, outcome sandbox.Outcome, at time.Time) *sandbox.Entry {
	return &sandbox.Entry{Channel: sandbox.ChannelSMS, To: recipientOf(number), Attempt: attempt, Outcome: outcome, ReceivedAt: at}
}

// The judgement is what everything else rests on: each way to break a promise has its name, and what is allowed has none.
func TestJudge(t *testing.T) {
	const delivered, unanswered, failed = sandbox.OutcomeDelivered, sandbox.OutcomeUnanswered, sandbox.OutcomeFailed
	tests := []struct {
		name    string
		answer  answer
		entries []sandbox.Outcome
		row     row // no id: not in the database
		want    string
	}{
		{"all is well", answer{record: 7}, []sandbox.Outcome{delivered}, row{id: 7, status: "delivered", attempt: 1}, ""},
		{"a second attempt", answer{record: 7}, []sandbox.Outcome{failed, delivered}, row{id: 7, status: "delivered", attempt: 2}, ""},
		{"a double with its mark", answer{record: 7}, []sandbox.Outcome{unanswered, delivered}, row{id: 7, status: "delivered", attempt: 2, doubtful: true}, ""},
		{"failed, and nobody took it", answer{record: 7}, []sandbox.Outcome{failed}, row{id: 7, status: "failed", attempt: 1}, ""},
		{"failed with the mark", answer{record: 7}, []sandbox.Outcome{unanswered}, row{id: 7, status: "failed", attempt: 1, doubtful: true}, ""},

		{"accepted, and gone", answer{record: 7}, nil, row{}, Lost},
		{"accepted as another message", answer{record: 7}, nil, row{id: 8, status: "failed"}, Lost},
		{"blamed", answer{refused: "400"}, nil, row{}, Refused},
		{"for ever on its way", answer{record: 7}, nil, row{id: 7, status: "queued"}, Unfinished},
		{"sent without a provider", answer{record: 7}, nil, row{id: 7, status: "sent", attempt: 1}, Unsent},
		{"a provider without an attempt", answer{record: 7}, []sandbox.Outcome{delivered}, row{id: 7, status: "delivered"}, Unasked},
		{"more entries than attempts", answer{record: 7}, []sandbox.Outcome{failed, delivered}, row{id: 7, status: "delivered", attempt: 1}, Unasked},
		{"a double without its mark", answer{record: 7}, []sandbox.Outcome{unanswered, delivered}, row{id: 7, status: "delivered", attempt: 2}, Unexplained},
		{"failed, and taken", answer{record: 7}, []sandbox.Outcome{unanswered}, row{id: 7, status: "failed", attempt: 1}, Denied},
		{"a receipt that nobody sent", answer{record: 7}, []sandbox.Outcome{sandbox.OutcomeDropped}, row{id: 7, status: "delivered", attempt: 1}, Misreported},
		{"a receipt that got lost", answer{record: 7}, []sandbox.Outcome{delivered}, row{id: 7, status: "sent", attempt: 1}, Misreported},
		{"a forged receipt", answer{record: 7}, []sandbox.Outcome{delivered}, row{id: 7, status: "undelivered", attempt: 1}, Misreported},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBook()
			_, _ = b.begin() // is sent later
			_, _ = b.begin() // is a mail
			number, n := b.begin()
			b.end(n, test.answer)
			for i, outcome := range test.entries {
				if !b.see(entry(number, i+1, outcome, time.Now())) {
					t.Fatal("the book does not know the message")
				}
			}
			v := &verdict{rows: map[int]row{}}
			if test.row.id != 0 {
				v.rows[number] = test.row
			}
			v.judge(number, n)
			got := ""
			if len(v.violations) > 0 {
				got = v.violations[0].Kind
			}
			if got != test.want || len(v.violations) > 1 {
				t.Errorf("found %v, want %q", v.violations, test.want)
			}
		})
	}
}

func TestSentBeforeItsTime(t *testing.T) {
	b := newBook()
	number, n := b.begin()
	if n.delay != delayed {
		t.Fatalf("message %d is to be sent after %s", number, n.delay)
	}
	b.end(n, answer{record: 7})
	b.see(entry(number, 1, sandbox.OutcomeDelivered, n.begun.Add(delayed-2*agreement)))
	v := &verdict{rows: map[int]row{number: {id: 7, status: "delivered", attempt: 1}}}
	v.judge(number, n)
	if len(v.violations) != 1 || v.violations[0].Kind != TooEarly {
		t.Errorf("found %v", v.violations)
	}
}

func TestRecoveryNeedsEveryLane(t *testing.T) {
	b := newBook()
	since := time.Now()
	r := b.watch(since, 1)
	for range 3 {
		_, n := b.begin()
		b.ask(n, 0)
	}
	b.see(entry(2, 1, sandbox.OutcomeDelivered, since.Add(time.Second)))
	select {
	case <-r.done:
		t.Fatal("recovered without the e-mail")
	default:
	}
	b.see(&sandbox.Entry{Channel: sandbox.ChannelEmail, To: recipientOf(1), Outcome: sandbox.OutcomeDelivered, ReceivedAt: since.Add(3 * time.Second)})
	select {
	case <-r.done:
	default:
		t.Fatal("not recovered with all lanes")
	}
	if got := r.last.Sub(since); got != 3*time.Second {
		t.Errorf("recovered after %s, want that of the last lane", got)
	}
}

func TestRecipientsHoldTheirNumber(t *testing.T) {
	for _, number := range []int{0, 1, 19, 12_345_678} {
		if got, ok := numberOf(recipientOf(number)); !ok || got != number {
			t.Errorf("%s holds %d, want %d", recipientOf(number), got, number)
		}
	}
	if number, ok := numberOf("ann@example.com"); ok {
		t.Errorf("a stranger has number %d", number)
	}
}
