package chaos

import (
	"context"
	"fmt"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

const (
	// receiptPatience is how long receipts may take that are still on their way when everything is sent.
	receiptPatience = 15 * time.Second
	// judged bounds the violations that are told one by one.
	judged = 50
)

// What a check can find.
const (
	Unanswered  = "unanswered"   // a request was never answered
	Refused     = "refused"      // a good request got an answer that blames it
	Lost        = "lost"         // accepted, and not in the database
	Twice       = "twice"        // one request, two messages
	Unfinished  = "unfinished"   // no final state within the patience
	Unsent      = "unsent"       // said to be sent, and not in the ledger
	Unasked     = "unasked"      // in the ledger without an attempt, or without a message
	Unexplained = "unexplained"  // taken twice without the mark
	Denied      = "denied"       // taken, and said to have failed, without the mark
	TooEarly    = "too early"    // sent before the time that was asked for
	Misreported = "misreported"  // a status that no receipt says
	Ended       = "ended"        // a gateway that ended by itself or not as it should
	Slow        = "slow"         // not recovered in time
	Grown       = "grown"        // goroutines, descriptors or memory
	Doubles     = "many doubles" // more doubles than a run may have
)

// agreement is to within what the clocks of gateways agree: one takes a message in, and another one sends it.
const agreement = 5 * time.Millisecond

// Violation is a promise that was not kept.
type Violation struct {
	Kind string `json:"kind"`
	// Record and Trace name the message, if it is about one.
	Record int64  `json:"record_id,omitempty"`
	Trace  string `json:"trace_id,omitempty"`
	Detail string `json:"detail"`
}

// String tells the violation in one line.
func (v Violation) String() string {
	if v.Record == 0 {
		return v.Kind + ": " + v.Detail
	}
	return fmt.Sprintf("%s: message %d, trace %s: %s", v.Kind, v.Record, v.Trace, v.Detail)
}

// verdict is the result of a check.
type verdict struct {
	accepted   int // answered with success
	stored     int
	statuses   map[string]int
	doubles    int // entries beyond the first of a message that the provider took
	violations []Violation
	rows       map[int]row // by the number of the message
}

func (v *verdict) add(kind string, number int, n *note, format string, args ...any) {
	record, trace := n.record, n.trace
	if r, ok := v.rows[number]; ok && record == 0 {
		record, trace = r.id, r.trace
	}
	v.violations = append(v.violations, Violation{kind, record, trace, fmt.Sprintf("number %d, begun %s: ", number,
		n.begun.Format("15:04:05.000")) + fmt.Sprintf(format, args...)})
}

// check lets the load rest, waits until everything is done, and lays book, ledger and database beside each other.
func (r *run) check(ctx context.Context) (*verdict, error) {
	v := &verdict{statuses: map[string]int{}, rows: map[int]row{}}
	if err := r.rest(ctx); err != nil {
		return nil, err
	}
	if err := r.readRows(ctx, v); err != nil {
		return nil, err
	}
	strangers, err := r.witness.strangers()
	if err != nil {
		return nil, err
	}
	for _, to := range strangers {
		v.violations = append(v.violations, Violation{Kind: Unasked, Detail: "the ledger has an entry for " + to + ", which nobody wrote to"})
	}
	total, _ := r.book.counts()
	for number := range total {
		n, _ := r.book.get(number)
		v.judge(number, &n)
	}
	for _, g := range r.stage.gateways {
		for _, end := range g.ownEnds() {
			v.violations = append(v.violations, Violation{Kind: Ended, Detail: end})
		}
	}
	return v, nil
}

// rest pauses the load and waits until all requests are answered, all messages are final and all receipts are told.
// What is not by then is found by the judgement.
func (r *run) rest(ctx context.Context) error {
	r.load.pause()
	last, unfinished := time.Now(), 0
	report := func(what string, n int) {
		if n > 0 && time.Since(last) > 10*time.Second {
			last = time.Now()
			r.say("  waiting for %d %s", n, what)
		}
	}
	err := until(ctx, r.o.Patience, func() (bool, error) {
		_, open := r.book.counts()
		report("answers", open)
		return open == 0, nil
	})
	if err != nil {
		return err
	}
	err = until(ctx, r.o.Patience, func() (bool, error) {
		var err error
		if unfinished, err = r.stage.truth.unfinished(ctx); err != nil {
			return false, nil //nolint:nilerr // a database that is away may come back
		}
		report("messages", unfinished)
		return unfinished == 0, nil
	})
	if err != nil || unfinished > 0 {
		return err
	}
	r.witness.read()
	return until(ctx, receiptPatience, func() (bool, error) {
		n, err := r.untold(ctx)
		report("receipts", n)
		return n == 0, err
	})
}

// until polls until something holds, or for so long.
func until(ctx context.Context, patience time.Duration, holds func() (bool, error)) error {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if ok, err := holds(); ok || err != nil {
			return err
		}
		if err := sleep(ctx, 200*time.Millisecond, nil); err != nil {
			return err
		}
	}
	return nil
}

// untold counts the messages that are said to be sent although their receipt is on its way.
func (r *run) untold(ctx context.Context) (count int, err error) {
	err = r.stage.truth.each(ctx, func(x row) {
		if number, ok := numberOf(x.recipient); ok && x.status == string(core.StatusSent) {
			if n, ok := r.book.get(number); ok && n.isTold() {
				count++
			}
		}
	})
	return count, err
}

// isTold says whether the gateway must know by a receipt what became of the message: the provider took it once,
// said so, and brings a receipt.
func (n *note) isTold() bool { return n.taken == 1 && n.told+n.failed == 1 }

func (r *run) readRows(ctx context.Context, v *verdict) error {
	return r.stage.truth.each(ctx, func(x row) {
		v.stored++
		v.statuses[x.status]++
		number, ok := numberOf(x.recipient)
		n, known := r.book.get(number)
		if !ok || !known {
			v.violations = append(v.violations, Violation{Unasked, x.id, x.trace, "nobody sent a message to " + x.recipient})
			return
		}
		if other, twice := v.rows[number]; twice {
			v.add(Twice, number, &n, "the request made messages %d and %d", other.id, x.id)
			if other.id == n.record { // the one that the caller knows is the one to judge
				return
			}
		}
		v.rows[number] = x
	})
}

// judge looks at one message from all sides.
func (v *verdict) judge(number int, n *note) {
	switch {
	case n.refused != "":
		v.add(Refused, number, n, "%s", n.refused)
	case n.answered.IsZero():
		v.add(Unanswered, number, n, "no gateway answered")
	default:
		v.accepted++
	}
	r, stored := v.rows[number]
	if !stored || n.record != 0 && r.id != n.record {
		if n.record != 0 {
			v.add(Lost, number, n, "accepted at %s, and not in the database", n.answered.Format("15:04:05.000"))
		}
		if n.seen > 0 {
			v.add(Unasked, number, n, "the ledger has %d entries of a message that is not in the database", n.seen)
		}
		return
	}
	v.judgeSending(number, n, r)
	v.judgeStatus(number, n, r)
}

// judgeSending compares the message with the ledger.
func (v *verdict) judgeSending(number int, n *note, r row) {
	if n.taken > 1 {
		v.doubles += n.taken - 1
		if !r.doubtful {
			v.add(Unexplained, number, n, "taken %d times, status %s after %d attempts, without the mark", n.taken, r.status, r.attempt)
		}
	}
	if n.seen > r.attempt || n.attempt > r.attempt {
		v.add(Unasked, number, n, "the ledger has %d entries, up to attempt %d, and the database %d attempts", n.seen, n.attempt, r.attempt)
	}
	if n.delay > 0 && n.seen > 0 && n.first.Before(n.begun.Add(n.delay-agreement)) {
		v.add(TooEarly, number, n, "sent after %s, asked for after %s", n.first.Sub(n.begun), n.delay)
	}
}

// judgeStatus compares the message's status with what became of it.
func (v *verdict) judgeStatus(number int, n *note, r row) {
	status := core.Status(r.status)
	switch {
	case !status.Final():
		v.add(Unfinished, number, n, "status %s after %d attempts, last error %q; the provider took it %d times", r.status, r.attempt, r.code, n.taken)
	case status.Success() && n.taken == 0:
		v.add(Unsent, number, n, "status %s, and the provider never took it", r.status)
	case (status == core.StatusFailed || status == core.StatusExpired) && n.taken > 0 && !r.doubtful:
		v.add(Denied, number, n, "status %s (%s), and the provider took it", r.status, r.code)
	case status == core.StatusDelivered && n.told+n.hinted == 0, status == core.StatusUndelivered && n.failed == 0:
		v.add(Misreported, number, n, "status %s, and no receipt says so", r.status)
	case status == core.StatusSent && n.isTold():
		v.add(Misreported, number, n, "status sent, and a receipt told what became of it")
	}
}
