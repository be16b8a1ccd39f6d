package pluginhost

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

const (
	// maxParallel is how many calls one Deliver has open at a time, where the plugin's bounds split a
	// batch.
	maxParallel = 8
	// trailerWait is how long a call may stay open after its last result.
	trailerWait = time.Second
)

// Deliver hands a batch to a connector and passes results on as they come. It returns when every
// delivery has had exactly one result, whatever the plugin does:
//
//   - what the plugin answers about an attempt for the first time counts; a result for an attempt that
//     it was not given, or that has one already, is dropped and counted in Violations;
//   - an attempt without an answer is uncertain: with core.CodeConnectionLost if the process ended,
//     core.CodeDeadlineExceeded if ctx ended, core.CodeNoResult if the plugin ended the call;
//   - an attempt that the plugin surely did not get is retryable with core.CodeNotSent;
//   - a message over the plugin's limit is rejected with CodeMessageTooLarge.
//
// The batch is split where the plugin's limits ask for it. ctx should have a deadline, for a plugin
// may take forever. Results is never called by two goroutines at
// once and must not keep the slice.
func (h *Host) Deliver(ctx context.Context, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) {
	c, ok := (*h.desired.Load())[connector]
	if !ok {
		results(notSent(batch, "connector "+string(connector)+" is not configured"))
		return
	}
	p, ok := (*h.plugins.Load())[c.Plugin]
	if !ok || len(*p.route.Load()) == 0 {
		results(notSent(batch, "plugin "+c.Plugin+" has no version that can be started"))
		return
	}
	var calls []*call
	var sessions []*session
	defer func() {
		for _, s := range sessions {
			s.close()
		}
	}()
	for g, part := range p.route.Load().split(batch) {
		s, err := g.enter(connector, len(part))
		if err != nil {
			results(notSent(part, err.Error()))
			continue
		}
		sessions = append(sessions, s)
		chunks, tooLarge := chunk(part, s.about.limits)
		if len(tooLarge) > 0 {
			s.settle(len(tooLarge))
			results(tooLarge)
		}
		for _, chunk := range chunks {
			calls = append(calls, newCall(s, connector, chunk))
		}
	}
	deliverAll(ctx, calls, results)
}

// deliverAll makes the calls, several at a time where there are several.
func deliverAll(ctx context.Context, calls []*call, results func([]core.Result)) {
	if len(calls) == 1 {
		calls[0].deliver(ctx, results)
		return
	}
	var mu sync.Mutex
	oneAtATime := func(rs []core.Result) {
		mu.Lock()
		defer mu.Unlock()
		results(rs)
	}
	next := make(chan *call, len(calls))
	for _, c := range calls {
		next <- c
	}
	close(next)
	var work sync.WaitGroup
	for range min(len(calls), maxParallel) {
		work.Go(func() {
			for c := range next {
				c.deliver(ctx, oneAtATime)
			}
		})
	}
	work.Wait()
}

// call is one Deliver call of the contract: a chunk of a batch, and which of it has a result.
type call struct {
	session   *session
	connector core.ConnectorID
	batch     []core.Delivery
	items     []*channelv1.Item
	answered  []bool
	open      int // without a result
	expected  int // index of the item whose result probably comes next
	started   time.Time

	complained bool
}

func newCall(s *session, connector core.ConnectorID, batch []core.Delivery) *call {
	return &call{
		session: s, connector: connector, batch: batch, items: toItems(connector, batch),
		answered: make([]bool, len(batch)), open: len(batch),
	}
}

// deliver makes the call and passes on one result per item.
func (c *call) deliver(ctx context.Context, results func([]core.Result)) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.started = time.Now()
	stream, err := c.session.process.service.Deliver(ctx, &channelv1.DeliverRequest{
		BatchId: c.items[0].GetAttemptId(), Connector: string(c.connector), Items: c.items,
	})
	if err != nil {
		// gRPC fails here only as long as it has not begun to write the request to the connection.
		c.session.settle(c.open)
		results(notSent(c.batch, callError("Deliver", err).Error()))
		return
	}
	trailer := time.AfterFunc(math.MaxInt64, cancel)
	defer trailer.Stop()
	for {
		reply, err := stream.Recv()
		if err != nil {
			c.finish(ctx, err, results)
			return
		}
		if known := c.take(reply.GetResults()); len(known) > 0 {
			c.session.g.fruitful.Store(true)
			c.session.settle(len(known))
			results(known)
			if c.open == 0 {
				// The plugin has nothing more to say; it shall not hold the caller up.
				trailer.Reset(trailerWait)
			}
		}
	}
}

// take picks the results that count.
func (c *call) take(given []*channelv1.Result) []core.Result {
	known := make([]core.Result, 0, min(len(given), c.open))
	for _, r := range given {
		i := c.find(r.GetAttemptId())
		switch {
		case i < 0:
			c.session.g.violations.foreign.Add(1)
			c.complain("a result for an attempt that it was not given", r.GetAttemptId())
		case c.answered[i]:
			c.session.g.violations.repeated.Add(1)
			c.complain("a second result for an attempt", r.GetAttemptId())
		default:
			c.answered[i] = true
			c.open--
			c.expected = i + 1
			known = append(known, c.session.g.toResult(c.batch[i], r, time.Since(c.started)))
		}
	}
	return known
}

// complain logs the first breach of the contract in a call; all of them are counted.
func (c *call) complain(breach, attempt string) {
	if !c.complained {
		c.complained = true
		c.session.g.log.Warn("plugin breaks the contract", "breach", breach, "connector", c.connector, "attempt", truncateTo(attempt, maxIDText))
	}
}

// find returns the index of an attempt, -1 if the call does not have it. Plugins mostly answer in
// order, so the search begins behind the last hit.
func (c *call) find(attempt string) int {
	n := len(c.items)
	for step := range n {
		i := (c.expected + step) % n
		if c.items[i].GetAttemptId() == attempt {
			return i
		}
	}
	return -1
}

// finish gives a result to every item that the call has left without one.
func (c *call) finish(ctx context.Context, err error, results func([]core.Result)) {
	if c.open == 0 {
		return
	}
	reason := c.session.g.lost(ctx, err)
	if reason.Code == core.CodeNoResult {
		c.session.g.violations.missing.Add(uint64(c.open))
		c.session.g.log.WarnContext(ctx, "plugin breaks the contract: attempts without a result", "connector", c.connector, "attempts", c.open, "reason", reason.Message)
	}
	latency := time.Since(c.started)
	rest := make([]core.Result, 0, c.open)
	for i, d := range c.batch {
		if !c.answered[i] {
			rest = append(rest, core.Result{
				Record: d.Message.ID, Attempt: d.Attempt, Outcome: core.OutcomeUncertain, Error: reason, Latency: latency,
			})
		}
	}
	c.open = 0
	c.session.settle(len(rest))
	results(rest)
}
