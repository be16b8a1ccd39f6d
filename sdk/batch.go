package sdk

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

var (
	errDraining   = errors.New("the plugin is draining and takes no messages")
	errExpired    = errors.New("expired before it could be sent")
	errNotStarted = errors.New("the deadline came before its turn")
	errTooLarge   = errors.New("the message is larger than the plugin allows")
)

// Outcomes of calls that did not do their part.
var (
	errNoResult = Uncertain(errors.New("no result was reported by SendBatch"), Code(CodeNoResult), Blame(FaultPlugin))
	// errVanished: the call ended its goroutine (runtime.Goexit).
	errVanished = Uncertain(errors.New("sending ended without returning"), Code(CodePanic), Blame(FaultPlugin))
)

// state is where one item of a batch stands.
type state uint8

const (
	pending state = iota // nobody has begun to send it
	begun                // the author's code has it
	done                 // it has its result
)

// batch is one Deliver call. Its slabs hold what all items need, so that an item costs no
// allocation of its own.
//
// Three moments lie before the gateway's deadline: ctx ends (the author should return), after a
// grace items without a result are settled, and there is time left for the results to travel. A
// result that comes at the deadline itself would never be read.
type batch struct {
	c        *connector
	messages []Message
	calls    []call // contexts of the items of a Sender
	wake     chan struct{}

	ctx    context.Context
	cancel context.CancelFunc
	grace  time.Duration

	mu      sync.Mutex
	states  []state
	results []result
	ready   []*channelv1.Result // known, not yet streamed
	spare   []*channelv1.Result // the other buffer of ready
	open    int                 // items without a result
	owed    int                 // items not yet streamed
	running int                 // the handler and calls of the author's code
}

// result is a Result with its parts beside it.
type result struct {
	channelv1.Result
	latency durationpb.Duration
	started time.Time
}

func newBatch(ctx context.Context, c *connector, items []*channelv1.Item) *batch {
	n := len(items)
	b := &batch{
		c: c, messages: make([]Message, n), wake: make(chan struct{}, 1),
		states: make([]state, n), results: make([]result, n),
		ready: make([]*channelv1.Result, 0, n), spare: make([]*channelv1.Result, 0, n),
		open: n, owed: n, running: 1,
	}
	seen := make(map[string]struct{}, n)
	for i, item := range items {
		b.messages[i].fill(item, c.id)
		b.results[i].AttemptId = item.GetAttemptId()
		if _, repeated := seen[item.GetAttemptId()]; repeated {
			// The same attempt twice in one batch: send it once, answer it once.
			b.states[i], b.open, b.owed = done, b.open-1, b.owed-1
			c.server.gate.leave(1)
			continue
		}
		seen[item.GetAttemptId()] = struct{}{}
	}
	b.limitTime(ctx)
	if c.batch == nil {
		b.calls = make([]call, n)
	}
	return b
}

// limitTime makes the author's ctx. It ends before the gateway's deadline, but not because the
// gateway hung up: to break off halfway would only leave more messages uncertain.
func (b *batch) limitTime(ctx context.Context) {
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(deliverTimeout)
	}
	margin := max(0, min(time.Until(deadline)/10, maxMargin))
	b.grace = margin / 2
	b.ctx, b.cancel = context.WithDeadline(context.WithoutCancel(ctx), deadline.Add(-margin))
}

// begin claims item i for a worker. While the item is pending the handler has not left, so that the
// connector is surely open; the worker's own use keeps it open from here on.
func (b *batch) begin(i int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.claim(i, time.Now()) {
		return false
	}
	b.running++
	b.c.again()
	b.c.server.gate.begin(1)
	return true
}

// claim marks item i as begun, with mu held. It answers an item that must not be sent, and is false
// for it and for one that was answered meanwhile.
func (b *batch) claim(i int, now time.Time) bool {
	m := &b.messages[i]
	switch limit := b.c.server.plugin.limits.MaxMessageBytes; {
	case b.states[i] != pending:
		return false
	case m.expired(now):
		b.fail(i, Permanent(errExpired, Code(CodeExpired)))
		return false
	case limit > 0 && m.size() > limit:
		b.fail(i, Permanent(errTooLarge, Code(CodeTooLarge)))
		return false
	case b.ctx.Err() != nil:
		b.fail(i, Retryable(errNotStarted, Code(CodeNotStarted)))
		return false
	}
	b.states[i], b.results[i].started = begun, now
	return true
}

// sendOne sends item i through a Sender.
func (b *batch) sendOne(i int) {
	if !b.begin(i) {
		return
	}
	defer b.exit()
	defer b.c.server.gate.end(1)
	var r Receipt
	err := errVanished // unless Send returns
	defer func() { b.report(i, r, err) }()
	b.calls[i] = call{Context: b.ctx, server: b.c.server, connector: b.c.id, message: &b.messages[i], health: b.c.health}
	r, err = b.c.send(&b.calls[i], &b.messages[i])
}

// sendBatches sends the items through a BatchSender, in parts of at most MaxBatch and MaxInFlight.
func (b *batch) sendBatches() {
	defer b.exit()
	part := b.c.limit
	if most := b.c.server.plugin.limits.MaxBatch; most > 0 {
		part = min(part, most)
	}
	for from := 0; from < len(b.messages); from += part {
		to := min(from+part, len(b.messages))
		if b.c.slots.Acquire(b.ctx, int64(to-from)) != nil {
			return // settle answers the rest
		}
		b.sendPart(from, to)
	}
}

// sendPart sends the items from up to to, less those that must not be sent, and frees their slots.
func (b *batch) sendPart(from, to int) {
	defer b.c.slots.Release(int64(to - from))
	ms, index := b.beginPart(from, to)
	if len(ms) == 0 {
		return
	}
	b.c.server.gate.begin(len(ms))
	defer b.c.server.gate.end(len(ms))
	var ignored atomic.Int64
	verdict := errVanished // unless SendBatch returns
	defer func() {
		for _, i := range index {
			b.report(i, Receipt{}, verdict) // counts only where there is no result yet
		}
		if n := ignored.Load(); n > 0 {
			b.c.server.log.Warn("messages reported by SendBatch twice, too late or out of range",
				"connector", b.c.id, "ignored", n)
		}
	}()
	err := b.c.sendBatch(b.c.server.context(b.ctx, b.c.id, b.c.health), ms, func(i int, r Receipt, err error) {
		if i < 0 || i >= len(index) || !b.report(index[i], r, err) {
			ignored.Add(1)
		}
	})
	verdict = cmp.Or(err, errNoResult)
}

func (b *batch) beginPart(from, to int) (ms []*Message, index []int) {
	ms, index = make([]*Message, 0, to-from), make([]int, 0, to-from)
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := from; i < to; i++ {
		if b.claim(i, now) {
			ms, index = append(ms, &b.messages[i]), append(index, i)
		}
	}
	return ms, index
}

// report sets the result of item i unless it has one, and tells whether it did.
func (b *batch) report(i int, r Receipt, err error) bool {
	if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		return b.fail(i, err)
	}
	now := time.Now()
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.states[i] == done {
		return false
	}
	res := &b.results[i]
	res.Outcome = channelv1.Outcome_OUTCOME_ACCEPTED
	setReceipt(&res.Result, r)
	b.finish(i, now)
	return true
}

// fail is report for an error, with mu held.
func (b *batch) fail(i int, err error) bool {
	if b.states[i] == done {
		return false
	}
	e := classify(err)
	res := &b.results[i]
	res.Outcome = channelv1.Outcome(e.Outcome)
	res.Error = b.c.server.protoError(e, err.Error())
	if e.RetryAfter > 0 {
		res.RetryAfter = durationpb.New(e.RetryAfter)
	}
	b.finish(i, time.Now())
	return true
}

// finish puts item i among the ready, with mu held. It wakes the handler for the first of them and
// for the last of the batch; the rest travel along.
func (b *batch) finish(i int, now time.Time) {
	res := &b.results[i]
	if !res.started.IsZero() {
		d := now.Sub(res.started)
		res.latency.Seconds, res.latency.Nanos = int64(d/time.Second), int32(d%time.Second)
		res.Latency = &res.latency
	}
	b.states[i] = done
	b.ready = append(b.ready, &res.Result)
	b.open--
	if len(b.ready) == 1 || b.open == 0 {
		select {
		case b.wake <- struct{}{}:
		default: // it is awake already
		}
	}
}

// settle answers every item that has no result: one that nobody began was surely not sent.
func (b *batch) settle(uncertain error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, st := range b.states {
		switch st {
		case pending:
			b.fail(i, Retryable(errNotStarted, Code(CodeNotStarted)))
		case begun:
			b.fail(i, uncertain)
		case done:
		}
	}
}

func (b *batch) complete() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open == 0
}

// take empties ready. The two buffers change places: the handler reads one while results come into
// the other.
func (b *batch) take() []*channelv1.Result {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.ready
	b.ready, b.spare = b.spare[:0], out
	return out
}

// answered counts n results as streamed.
func (b *batch) answered(n int) {
	b.owed -= n
	b.c.server.gate.leave(n)
}

// enter and exit enclose the use of the author's code.
func (b *batch) enter() {
	b.c.again()
	b.mu.Lock()
	b.running++
	b.mu.Unlock()
}

func (b *batch) exit() {
	b.mu.Lock()
	b.running--
	last := b.running == 0
	b.mu.Unlock()
	if last {
		b.cancel()
	}
	b.c.release()
}

// leave is the handler's end: nobody will stream what is still owed.
func (b *batch) leave() {
	b.settle(Uncertain(context.Canceled, Code(CodeTimeout)))
	b.answered(b.owed)
	b.exit()
}
