package dispatch_test

import (
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/dispatch"
	"github.com/pigeonry/pigeonry/core/limit"
	limitlocal "github.com/pigeonry/pigeonry/core/limit/local"
	"github.com/pigeonry/pigeonry/core/pool"
	"github.com/pigeonry/pigeonry/core/queue/memory"
	"github.com/pigeonry/pigeonry/core/relay"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
	"github.com/pigeonry/pigeonry/core/trace"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// carrier stands for the plugins: a test scripts what becomes of each delivery.
type carrier struct {
	mu        sync.Mutex
	deliver   func(ctx context.Context, id core.ConnectorID, d core.Delivery) core.Result
	query     func(core.Inquiry) core.Result
	status    map[core.ConnectorID]core.ConnectorStatus
	delivered map[core.RecordID][]int // attempts that reached the provider
	inFlight  map[core.ConnectorID]int
	most      map[core.ConnectorID]int
	order     []core.RecordID
	rules     map[string][]limit.Rule // by resource
}

// limits are those of a resource.
func (c *carrier) limits(resource string) []limit.Rule {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rules[resource]
}

func newCarrier(ids ...core.ConnectorID) *carrier {
	c := &carrier{
		status: map[core.ConnectorID]core.ConnectorStatus{}, delivered: map[core.RecordID][]int{},
		inFlight: map[core.ConnectorID]int{}, most: map[core.ConnectorID]int{},
		deliver: func(_ context.Context, _ core.ConnectorID, d core.Delivery) core.Result { return accepted() },
	}
	for _, id := range ids {
		c.status[id] = core.ConnectorStatus{ID: id, State: core.ConnectorReady}
	}
	return c
}

func accepted() core.Result { return core.Result{Outcome: core.OutcomeAccepted} }

// Deliver implements dispatch.Carrier.
func (c *carrier) Deliver(ctx context.Context, id core.ConnectorID, batch []core.Delivery, results func([]core.Result)) {
	c.mu.Lock()
	c.inFlight[id] += len(batch)
	c.most[id] = max(c.most[id], c.inFlight[id])
	script := c.deliver
	c.mu.Unlock()
	for _, d := range batch {
		r := script(ctx, id, d)
		r.Record, r.Attempt = d.Message.ID, d.Attempt
		c.mu.Lock()
		c.delivered[d.Message.ID] = append(c.delivered[d.Message.ID], d.Attempt)
		c.order = append(c.order, d.Message.ID)
		c.inFlight[id]--
		c.mu.Unlock()
		results([]core.Result{r})
	}
}

// Query implements dispatch.Carrier.
func (c *carrier) Query(_ context.Context, _ core.ConnectorID, inquiries []core.Inquiry) ([]core.Result, error) {
	results := make([]core.Result, len(inquiries))
	for i, q := range inquiries {
		results[i] = c.query(q)
		results[i].Record, results[i].Attempt = q.Record, q.Attempt
	}
	return results, nil
}

// Connectors implements dispatch.Carrier.
func (c *carrier) Connectors() []core.ConnectorStatus {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []core.ConnectorStatus
	for _, s := range c.status {
		all = append(all, s)
	}
	return all
}

// nothing records no traces and counts nothing.
type nothing struct{}

func (nothing) Record(...trace.Entry) {}
func (nothing) Outcome(core.ConnectorID, core.Outcome, core.Status, time.Duration) {
}

// rig is the way of a message from the store to the carrier, on the embedded engines.
type rig struct {
	t        *testing.T
	store    store.Store
	relay    *relay.Relay
	dispatch *dispatch.Dispatcher
	carrier  *carrier
	account  core.Account
	stop     func()
}

func newRig(t *testing.T, c *carrier, policies ...dispatch.Policy) *rig {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.DiscardHandler)
	r := &rig{t: t, store: s, carrier: c}
	if r.account, err = s.EnsureAccount(t.Context(), core.Account{Name: "shop", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	q := memory.New(memory.Options{})
	r.dispatch = dispatch.New(dispatch.Options{
		Store: s, Queue: q, Carrier: c, Limiter: limitlocal.New(limitlocal.Options{}), Rules: c.limits, Traces: nothing{}, Observer: nothing{},
		Applied: func([]store.Applied) {}, Settled: func(int64) {}, Logger: logger,
		Pool: pool.Options{Name: "message_sender", Core: 4, Max: 8, ScaleUp: 0.8, ScaleDown: 0.2, QueueSize: 16},
	})
	for i := range policies {
		if policies[i].Backoff == 0 {
			policies[i].Backoff = 20 * time.Millisecond
		}
	}
	if err := r.dispatch.Configure(policies); err != nil {
		t.Fatal(err)
	}
	r.relay = relay.New(relay.Options{Outbox: s, Sweep: s, Index: q, Resolver: r.dispatch, Logger: logger, Sweeping: true})

	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.dispatch.Run(ctx) })
	running.Go(func() { r.relay.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		drain, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := r.dispatch.Drain(drain); err != nil {
			t.Errorf("drain: %v", err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// send accepts n messages for a channel.
func (r *rig) send(channel string, n int, change func(i int, m *core.Message)) []core.RecordID {
	r.t.Helper()
	first, err := r.store.ReserveIDs(r.t.Context(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	messages := make([]core.Message, n)
	ids := make([]core.RecordID, n)
	now := time.Now()
	for i := range messages {
		ids[i] = first + core.RecordID(i)
		messages[i] = core.Message{
			ID: ids[i], TraceID: core.NewTraceID(ids[i], 1), Account: r.account.ID, Channel: channel, Priority: 5,
			Recipient: strconv.Itoa(i), Content: core.Content{Text: "hello"}, Status: core.StatusQueued, Budget: 5,
			CreatedAt: now, UpdatedAt: now,
		}
		if change != nil {
			change(i, &messages[i])
		}
	}
	envelopes, _, err := r.store.Accept(r.t.Context(), []store.Submission{{Account: r.account.ID, Messages: messages}})
	if err != nil {
		r.t.Fatal(err)
	}
	r.relay.Publish(envelopes)
	return ids
}

func (r *rig) message(id core.RecordID) core.Message {
	r.t.Helper()
	m, _, err := r.store.Message(r.t.Context(), r.account.ID, id)
	if err != nil {
		r.t.Fatal(err)
	}
	return m
}

// await polls until messages have a status; the store sends no signals.
func (r *rig) await(status core.Status, ids ...core.RecordID) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for _, id := range ids {
		for r.message(id).Status != status {
			select {
			case <-tick.C:
			case <-deadline:
				r.t.Fatalf("message %d is %+v, want %s", id, r.message(id), status)
			}
		}
	}
}

func TestEveryMessageIsDeliveredOnce(t *testing.T) {
	c := newCarrier("sms/a", "sms/b")
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"}, dispatch.Policy{ID: "sms/b", Weight: 3})
	ids := r.send("sms", 1000, func(i int, m *core.Message) { m.Priority = core.Priority(i % 11) })
	r.await(core.StatusSent, ids...)
	byConnector := map[core.ConnectorID]int{}
	for _, id := range ids {
		if got := c.delivered[id]; !slices.Equal(got, []int{1}) {
			t.Fatalf("message %d was delivered by attempts %v", id, got)
		}
		byConnector[r.message(id).Connector]++
	}
	if b := byConnector["sms/b"]; b < 600 || b > 900 {
		t.Errorf("the connector of weight 3 of 4 got %d of 1000", b)
	}
}

func TestRetryableIsTriedAgainUntilItSucceeds(t *testing.T) {
	c := newCarrier("sms/a")
	c.deliver = func(_ context.Context, _ core.ConnectorID, d core.Delivery) core.Result {
		if d.Attempt < 3 {
			return core.Result{Outcome: core.OutcomeRetryable, Error: &core.SendError{Code: "busy", Fault: core.FaultMessage}}
		}
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	id := r.send("sms", 1, nil)[0]
	r.await(core.StatusSent, id)
	m, attempts, err := r.store.Message(t.Context(), r.account.ID, id)
	if err != nil || m.Attempt != 3 || len(attempts) != 3 || m.Doubtful {
		t.Errorf("message %+v, attempts %+v, %v", m, attempts, err)
	}
	if attempts[0].Error == nil || attempts[0].Error.Code != "busy" || attempts[2].Outcome != core.OutcomeAccepted {
		t.Errorf("attempts %+v", attempts)
	}
}

func TestOutOfAttemptsFails(t *testing.T) {
	c := newCarrier("sms/a")
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		return core.Result{Outcome: core.OutcomeRetryable, Error: &core.SendError{Code: "busy", Fault: core.FaultMessage}}
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a", MaxBackoff: 30 * time.Millisecond})
	id := r.send("sms", 1, nil)[0]
	r.await(core.StatusFailed, id)
	if m := r.message(id); m.Attempt != 5 || m.Error.Code != core.CodeOutOfAttempts {
		t.Errorf("message %+v, error %v", m, m.Error)
	}
}

func TestUncertainRepeatCarriesTheMark(t *testing.T) {
	c := newCarrier("sms/a")
	c.deliver = func(_ context.Context, _ core.ConnectorID, d core.Delivery) core.Result {
		if d.Attempt == 1 {
			return core.Result{Outcome: core.OutcomeUncertain, Error: &core.SendError{Code: core.CodeConnectionLost}}
		}
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	id := r.send("sms", 1, nil)[0]
	r.await(core.StatusSent, id)
	if m := r.message(id); !m.Doubtful || m.Attempt != 2 {
		t.Errorf("message %+v", m)
	}
}

func TestUncertainIsHeldWhereThePolicySaysSo(t *testing.T) {
	c := newCarrier("sms/a")
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		return core.Result{Outcome: core.OutcomeUncertain}
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a", OnUncertain: dispatch.Hold})
	id := r.send("sms", 1, nil)[0]
	r.await(core.StatusUncertain, id)
}

func TestExpiredAndCanceledAreNeverSent(t *testing.T) {
	c := newCarrier("sms/a")
	c.status["sms/a"] = core.ConnectorStatus{ID: "sms/a", State: core.ConnectorUnavailable}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	expires := r.send("sms", 1, func(_ int, m *core.Message) { m.ExpireAt = time.Now().Add(200 * time.Millisecond) })[0]
	canceled := r.send("sms", 1, nil)[0]
	last := r.send("sms", 1, nil)[0]
	if n, err := r.store.Cancel(t.Context(), r.account.ID, store.Target{Record: canceled}, time.Now()); n != 1 || err != nil {
		t.Fatalf("canceled %d, %v", n, err)
	}
	r.await(core.StatusExpired, expires)
	c.mu.Lock()
	c.status["sms/a"] = core.ConnectorStatus{ID: "sms/a", State: core.ConnectorReady}
	c.mu.Unlock()
	r.await(core.StatusSent, last)
	if len(c.delivered[expires])+len(c.delivered[canceled]) != 0 {
		t.Errorf("delivered: %v", c.delivered)
	}
}

// Its connector may come back: that a message is old does not end it, only that the connector has been gone for long (route_test.go).
func TestMessageForAConnectorThatIsGoneWaits(t *testing.T) {
	c := newCarrier("sms/a")
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	old := r.send("sms", 1, func(_ int, m *core.Message) {
		m.Pinned, m.CreatedAt = "sms/gone", time.Now().Add(-100*time.Hour)
	})[0]
	r.await(core.StatusSent, r.send("sms", 1, nil)[0])
	if m := r.message(old); m.Status != core.StatusQueued || m.Attempt != 0 {
		t.Errorf("message %+v", m)
	}
}

// What a plugin answers while the worker is being cut off is recorded all the same.
func TestResultAtTheEndOfADrainIsKept(t *testing.T) {
	c := newCarrier("sms/a")
	begun := make(chan struct{})
	c.deliver = func(ctx context.Context, _ core.ConnectorID, _ core.Delivery) core.Result {
		close(begun)
		<-ctx.Done()
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	id := r.send("sms", 1, nil)[0]
	<-begun
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // no patience at all
	if err := r.dispatch.Drain(ctx); err == nil {
		t.Error("the drain says that it cut nothing off")
	}
	r.await(core.StatusSent, id)
}

func TestNoMoreInFlightThanAllowed(t *testing.T) {
	c := newCarrier("sms/a")
	c.deliver = func(ctx context.Context, _ core.ConnectorID, _ core.Delivery) core.Result {
		<-time.After(time.Millisecond)
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a", MaxInFlight: 7})
	r.await(core.StatusSent, r.send("sms", 300, nil)...)
	if c.most["sms/a"] > 7 {
		t.Errorf("%d were in flight, at most 7 are allowed", c.most["sms/a"])
	}
}

func TestSlowChannelDoesNotSlowAnother(t *testing.T) {
	c := newCarrier("sms/slow", "email/fast")
	release := make(chan struct{})
	c.deliver = func(ctx context.Context, id core.ConnectorID, _ core.Delivery) core.Result {
		if id == "sms/slow" {
			<-release
		}
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/slow"}, dispatch.Policy{ID: "email/fast"})
	slow := r.send("sms", 1500, nil)
	fast := r.send("email", 500, nil)
	r.await(core.StatusSent, fast...)
	close(release)
	r.await(core.StatusSent, slow...)
}

func TestUrgentOvertakesLow(t *testing.T) {
	c := newCarrier("sms/a")
	gate := make(chan struct{})
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		<-gate
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a", MaxInFlight: 50})
	low := r.send("sms", 3000, func(_ int, m *core.Message) { m.Priority = 0 })
	urgent := r.send("sms", 1, func(_ int, m *core.Message) { m.Priority = 10 })
	go func() {
		for range 3001 {
			gate <- struct{}{}
		}
	}()
	r.await(core.StatusSent, urgent...)
	c.mu.Lock()
	at := slices.Index(c.order, urgent[0])
	c.mu.Unlock()
	if at > 1000 {
		t.Errorf("the urgent message went out as number %d of 3001", at)
	}
	r.await(core.StatusSent, low...)
}

func TestRateIsKept(t *testing.T) {
	c := newCarrier("sms/a")
	r := newRig(t, c, dispatch.Policy{ID: "sms/a", Rate: 100})
	began := time.Now()
	r.await(core.StatusSent, r.send("sms", 300, nil)...)
	// The burst of a second's worth goes at once; the other 200 take two seconds, and on a busy machine more.
	if took := time.Since(began); took < 1900*time.Millisecond || took > 20*time.Second {
		t.Errorf("300 messages at 100 a second took %s", took)
	}
}

// A stop does not wait for what a slow connector would take hours for: it stays in the store.
func TestDrainGivesBackWhatIsNotClaimed(t *testing.T) {
	c := newCarrier("sms/a")
	r := newRig(t, c, dispatch.Policy{ID: "sms/a", Rate: 1})
	first := make(chan struct{}, 3000)
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		first <- struct{}{}
		return accepted()
	}
	r.send("sms", 3000, nil)
	<-first
	began := time.Now()
	r.stop() // fails the test if it does not drain
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("the stop took %s", took)
	}
}

// A worker that has free places stops all the same, and does not work its envelope off first.
func TestDrainEndsBetweenBatches(t *testing.T) {
	c := newCarrier("sms/a")
	c.status["sms/a"] = core.ConnectorStatus{ID: "sms/a", State: core.ConnectorReady, MaxBatch: 1}
	first := make(chan struct{}, 100)
	c.deliver = func(context.Context, core.ConnectorID, core.Delivery) core.Result {
		first <- struct{}{}
		<-time.After(10 * time.Millisecond)
		return accepted()
	}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	r.send("sms", 100, nil)
	<-first
	r.stop()
	if n := len(c.order); n > 50 {
		t.Errorf("%d of 100 messages were sent while it stopped", n)
	}
}

// A worker died between claim and result: after its lease the message is uncertain and, as the policy says,
// sent again with the mark.
func TestLapsedClaimIsTakenUp(t *testing.T) {
	c := newCarrier("sms/a")
	c.status["sms/a"] = core.ConnectorStatus{ID: "sms/a", State: core.ConnectorUnavailable}
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	id := r.send("sms", 1, nil)[0]
	now := time.Now()
	won, err := r.store.Claim(t.Context(), []store.Claim{{Record: id, Attempt: 1, Connector: "sms/a"}}, now, now.Add(100*time.Millisecond))
	if err != nil || !won[0] {
		t.Fatalf("claim: %v, %v", won, err)
	}
	c.mu.Lock()
	c.status["sms/a"] = core.ConnectorStatus{ID: "sms/a", State: core.ConnectorReady}
	c.mu.Unlock()
	r.await(core.StatusSent, id)
	if m := r.message(id); !m.Doubtful || m.Attempt != 2 {
		t.Errorf("message %+v", m)
	}
}

func TestProviderIsAskedAboutALapsedClaim(t *testing.T) {
	c := newCarrier("sms/a")
	asked := core.ConnectorStatus{ID: "sms/a", State: core.ConnectorUnavailable, Query: true}
	c.status["sms/a"] = asked
	c.query = func(core.Inquiry) core.Result { return accepted() }
	r := newRig(t, c, dispatch.Policy{ID: "sms/a"})
	id := r.send("sms", 1, nil)[0]
	now := time.Now()
	won, err := r.store.Claim(t.Context(), []store.Claim{{Record: id, Attempt: 1, Connector: "sms/a"}}, now, now.Add(100*time.Millisecond))
	if err != nil || !won[0] {
		t.Fatalf("claim: %v, %v", won, err)
	}
	r.await(core.StatusSent, id)
	if m := r.message(id); m.Doubtful || m.Attempt != 1 || len(c.delivered[id]) != 0 {
		t.Errorf("message %+v, delivered by %v", m, c.delivered[id])
	}
}
