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
//     it was not given, or that has one already, is dropped and counted as a violation of the contract;
//   - an attempt without an answer is uncertain: with core.CodeConnectionLost if the process ended,
//     core.CodeDeadlineExceeded if ctx ended, core.CodeNoResult if the plugin ended the call;
//   - an attempt that the plugin surely did not get is retryable with core.CodeNotSent;
//   - a message over the plugin's limit is rejected with CodeMessageTooLarge.
//
// The batch is split where the plugin's limits ask for it. ctx should have a deadline, for a plugin
// may take forever. Results is never called by two goroutines at
// once and must not keep the slice.
//
// While two versions run, what the new one surely did not send is handed to the old one at once, whose answer
// counts.
func (h *Host) Deliver(ctx context.Context, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) {
	c, ok := (*h.desired.Load())[connector]
	if !ok {
		results(notSent(batch, "connector "+string(connector)+" is not configured"))
		return
	}
	p, ok := (*h.plugins.Load())[c.Plugin]
	if !ok {
		results(notSent(batch, "plugin "+c.Plugin+" is not installed"))
		return
	}
	p.deliver(ctx, connector, batch, results)
}

// carry hands a batch to the generation. An error says why none of it was handed over.
func (g *generation) carry(ctx context.Context, connector core.ConnectorID, batch []core.Delivery, results func([]core.Result)) error {
	s, err := g.enter(connector, len(batch))
	if err != nil {
		return err
	}
	defer s.close()
	chunks, tooLarge := chunk(batch, s.about.limits)
	if len(tooLarge) > 0 {
		s.settle(len(tooLarge))
		g.meter.observe(tooLarge, 0)
		results(tooLarge)
	}
	calls := make([]*call, len(chunks))
	for i, chunk := range chunks {
		calls[i] = newCall(s, connector, chunk)
	}
	deliverAll(ctx, calls, results)
	return nil
}

// deliverAll makes the calls, several at a time where there are several.
func deliverAll(ctx context.Context, calls []*call, results func([]core.Result)) {
	if len(calls) == 1 {
		calls[0].deliver(ctx, results)
		return
	}
	results = oneAtATime(results)
	next := make(chan *call, len(calls))
	for _, c := range calls {
		next <- c
	}
	close(next)
	var work sync.WaitGroup
	for range min(len(calls), maxParallel) {
		work.Go(func() {
			for c := range next {
				c.deliver(ctx, results)
			}
		})
	}
	work.Wait()
}

// oneAtATime lets one goroutine at a time report results.
func oneAtATime(results func([]core.Result)) func([]core.Result) {
	var mu sync.Mutex
	return func(rs []core.Result) {
		mu.Lock()
		defer mu.Unlock()
		results(rs)
	}
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
	c.session.g.meter.begin(c)
	defer c.session.g.meter.end(c)
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
			c.session.g.meter.progress()
			c.session.g.meter.observe(known, time.Since(c.started))
			c.session.settle(len(known))
			results(known)
			if c.open == 0 {
				// The plugin has nothing more to say; it shall not hold the caller up.
				c.session.g.meter.end(c)
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
	c.session.g.meter.observe(rest, latency)
	results(rest)
}
