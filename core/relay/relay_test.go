package relay_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/queue"
	"github.com/pigeonry/pigeonry/core/queue/memory"
	"github.com/pigeonry/pigeonry/core/relay"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// resolver takes what lapsed and tells the test.
type resolver chan []store.Lapsed

// Resolve implements relay.Resolver.
func (r resolver) Resolve(_ context.Context, lapsed []store.Lapsed) { r <- lapsed }

// rig is a relay between an embedded store and a queue in memory.
type rig struct {
	t        *testing.T
	store    store.Store
	index    relay.Index
	queue    *memory.Queue
	relay    *relay.Relay
	resolver relay.Resolver
	logger   *slog.Logger
	account  core.Account
	revive   func(context.Context, int) (int, error) // nil: the queue gives nothing up
}

func newRig(t *testing.T, o memory.Options) *rig {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, store: s, queue: memory.New(o), resolver: make(resolver, 10), logger: slog.New(slog.DiscardHandler)}
	r.index = r.queue
	if r.account, err = s.EnsureAccount(t.Context(), core.Account{Name: "shop", CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(r.queue.Close(), s.Close()); err != nil {
			t.Error(err)
		}
	})
	return r
}

// run starts the relay; it ends with the test.
func (r *rig) run() {
	r.relay = relay.New(relay.Options{
		Outbox: r.store, Sweep: r.store, Index: r.index, Resolver: r.resolver,
		Logger: r.logger, Sweeping: true, Overdue: 200 * time.Millisecond, Missing: time.Second, Lease: time.Second,
		Revive: r.revive, Dead: 20 * time.Millisecond,
	})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { r.relay.Run(ctx) })
	r.t.Cleanup(func() {
		cancel()
		running.Wait()
	})
}

// accept commits n messages and returns their ids and envelopes.
func (r *rig) accept(n int, change func(*core.Message)) ([]core.RecordID, []core.Envelope) {
	r.t.Helper()
	first, err := r.store.ReserveIDs(r.t.Context(), n)
	if err != nil {
		r.t.Fatal(err)
	}
	now := time.Now()
	ids, messages := make([]core.RecordID, n), make([]core.Message, n)
	for i := range n {
		ids[i] = first + core.RecordID(i)
		messages[i] = core.Message{
			ID: ids[i], TraceID: core.NewTraceID(ids[i], 1), Account: r.account.ID, Channel: "sms", Priority: 5,
			Recipient: strconv.Itoa(i), Status: core.StatusQueued, Budget: 5, CreatedAt: now, UpdatedAt: now,
		}
		if change != nil {
			change(&messages[i])
		}
	}
	envelopes, _, err := r.store.Accept(r.t.Context(), []store.Submission{{Account: r.account.ID, Messages: messages}})
	if err != nil {
		r.t.Fatal(err)
	}
	return ids, envelopes
}

// receive takes envelopes from the queue until it has seen all the ids, each at least once.
func (r *rig) receive(ids []core.RecordID) {
	r.t.Helper()
	r.receiveFrom("sms", ids)
}

// receiveFrom is receive for a channel.
func (r *rig) receiveFrom(channel string, ids []core.RecordID) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	sub, err := r.queue.Subscribe(ctx, channel)
	if err != nil {
		r.t.Fatal(err)
	}
	defer sub.Close()
	missing := map[core.RecordID]bool{}
	for _, id := range ids {
		missing[id] = true
	}
	for len(missing) > 0 {
		got, err := sub.Receive(ctx)
		if err != nil {
			r.t.Fatalf("%d messages never came: %v", len(missing), err)
		}
		for _, id := range got.Records {
			delete(missing, id)
		}
		r.relay.Settle(got.ID)
		if err := got.Ack(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

func TestSettledIsForgotten(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.run()
	ids, envelopes := r.accept(250, nil)
	if len(envelopes) != 3 {
		t.Errorf("%d envelopes for 250 messages, want 3", len(envelopes))
	}
	r.relay.Publish(envelopes)
	r.receive(ids)
	r.awaitEmptyOutbox()
}

// anyGeneration is one that has nothing, so that everything in the outbox is unpublished.
const anyGeneration = 1 << 40

// awaitEmptyOutbox polls, as the store sends no signals.
func (r *rig) awaitEmptyOutbox() {
	r.t.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		left, err := r.store.Unpublished(r.t.Context(), anyGeneration, time.Now().Add(time.Hour), 0, 10)
		if err != nil {
			r.t.Fatal(err)
		}
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			r.t.Fatalf("the outbox still holds %d envelopes", len(left))
		}
	}
}

func TestCrashBetweenCommitAndPublishIsSwept(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.run()
	ids, _ := r.accept(10, nil) // nobody hands the envelopes over
	r.receive(ids)
}

func TestQueuedBeforeTheStartIsPublished(t *testing.T) {
	r := newRig(t, memory.Options{})
	ids, envelopes := r.accept(1234, nil)
	published := make([]int64, len(envelopes))
	for i := range envelopes {
		published[i] = envelopes[i].ID
	}
	generation, err := r.store.Generation(t.Context(), "an earlier process")
	if err != nil {
		t.Fatal(err)
	}
	if err := r.store.Published(t.Context(), published, generation, time.Now()); err != nil { // a queue had them, and lost them
		t.Fatal(err)
	}
	r.run()
	r.receive(ids)
}

func TestLostEnvelopesOfAnIdleLaneArePublishedAgain(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.run()
	ids, envelopes := r.accept(300, nil)
	r.relay.Publish(envelopes)
	r.lose(len(envelopes))
	r.receive(ids)
}

// lose takes envelopes out of the queue as if the queue had lost them.
func (r *rig) lose(n int) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), 20*time.Second)
	defer cancel()
	sub, err := r.queue.Subscribe(ctx, "sms")
	if err != nil {
		r.t.Fatal(err)
	}
	defer sub.Close()
	for range n {
		got, err := sub.Receive(ctx)
		if err != nil {
			r.t.Fatal(err)
		}
		if err := got.Ack(ctx); err != nil {
			r.t.Fatal(err)
		}
	}
}

// What the queue has given up is asked for again and again, a bounded number at a time and for a bounded time, and told.
func TestDeadEnvelopesAreRevived(t *testing.T) {
	r := newRig(t, memory.Options{})
	log := tally{Handler: slog.DiscardHandler, key: "envelopes", value: "3", told: make(chan slog.Level, 1)}
	r.logger = slog.New(log)
	calls := make(chan error, 1)
	r.revive = func(ctx context.Context, most int) (int, error) {
		var wrong error
		if _, bounded := ctx.Deadline(); !bounded || most <= 0 {
			wrong = fmt.Errorf("asked for %d, bounded in time: %t", most, bounded)
		}
		select {
		case calls <- wrong:
			return 3, nil
		default:
			return 0, nil
		}
	}
	r.run()
	for range 3 {
		if err := <-calls; err != nil {
			t.Error(err)
		}
		if level := <-log.told; level != slog.LevelWarn {
			t.Errorf("it is told at level %s", level)
		}
	}
}

func TestFullLaneWaitsInTheOutbox(t *testing.T) {
	r := newRig(t, memory.Options{LaneMessages: 100})
	r.run()
	ids, envelopes := r.accept(1000, nil)
	r.relay.Publish(envelopes)
	r.receive(ids)
}

func TestScheduledIsPublishedWhenDue(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.run()
	due := time.Now().Add(300 * time.Millisecond)
	ids, envelopes := r.accept(1, func(m *core.Message) { m.Status, m.NextAttempt = core.StatusScheduled, due })
	if len(envelopes) != 0 {
		t.Fatalf("a scheduled message has envelopes %v", envelopes)
	}
	r.receive(ids)
	if early := time.Until(due); early > time.Millisecond {
		t.Errorf("published %s early", early)
	} else if early < -2*time.Second {
		t.Errorf("published %s late", -early)
	}
}

func TestLapsedGoesToTheResolver(t *testing.T) {
	r := newRig(t, memory.Options{})
	heard := make(resolver, 10)
	r.resolver = heard
	ids, _ := r.accept(1, nil)
	now := time.Now()
	won, err := r.store.Claim(t.Context(), []store.Claim{{Record: ids[0], Attempt: 1, Connector: "sms/a"}}, now, now.Add(50*time.Millisecond))
	if err != nil || !won[0] {
		t.Fatalf("claim: %v, %v", won, err)
	}
	r.run()
	select {
	case lapsed := <-heard:
		if len(lapsed) != 1 || lapsed[0].Message.ID != ids[0] || lapsed[0].Message.Connector != "sms/a" {
			t.Errorf("lapsed: %+v", lapsed)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the resolver heard nothing")
	}
}

// stuck asks a provider that never answers.
type stuck struct{}

// Resolve implements relay.Resolver.
func (stuck) Resolve(ctx context.Context, _ []store.Lapsed) { <-ctx.Done() }

func TestSlowResolverHoldsUpNothingElse(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.resolver = stuck{}
	lapsed, _ := r.accept(1, nil)
	now := time.Now()
	won, err := r.store.Claim(t.Context(), []store.Claim{{Record: lapsed[0], Attempt: 1, Connector: "sms/a"}}, now, now.Add(10*time.Millisecond))
	if err != nil || !won[0] {
		t.Fatalf("claim: %v, %v", won, err)
	}
	r.run()
	due, _ := r.accept(1, func(m *core.Message) {
		m.Status, m.NextAttempt = core.StatusScheduled, time.Now().Add(200*time.Millisecond)
	})
	r.receive(due)
}

// flaky fails the first publications.
type flaky struct {
	queue.Queue
	mu    sync.Mutex
	fails int
}

// Publish implements queue.Publisher.
func (f *flaky) Publish(ctx context.Context, envelopes []core.Envelope) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fails > 0 {
		f.fails--
		return errors.New("the broker is gone")
	}
	return f.Queue.Publish(ctx, envelopes)
}

func TestFailedPublicationIsRepeated(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.index = &flaky{Queue: r.queue, fails: 3}
	r.run()
	ids, envelopes := r.accept(5, nil)
	r.relay.Publish(envelopes)
	r.receive(ids)
}

// shut refuses the channel email until it is told to open.
type shut struct {
	queue.Queue
	refusals chan struct{} // gets one for each
	open     chan struct{} // closed when the channel is taken
}

// Publish implements queue.Publisher.
func (s *shut) Publish(ctx context.Context, envelopes []core.Envelope) error {
	select {
	case <-s.open:
		return s.Queue.Publish(ctx, envelopes)
	default:
	}
	if !slices.ContainsFunc(envelopes, func(e core.Envelope) bool { return e.Channel == "email" }) {
		return s.Queue.Publish(ctx, envelopes)
	}
	select {
	case s.refusals <- struct{}{}:
	default:
	}
	return &queue.ChannelError{Channel: "email", Err: errors.New("its queue has other arguments")}
}

// tally tells the level of what is logged with an attribute.
type tally struct {
	slog.Handler
	key, value string
	told       chan slog.Level
}

// Enabled implements slog.Handler.
func (tally) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h tally) Handle(_ context.Context, record slog.Record) error {
	record.Attrs(func(a slog.Attr) bool {
		if a.Key == h.key && a.Value.String() == h.value {
			h.told <- record.Level
		}
		return true
	})
	return nil
}

// A channel that the queue refuses holds up no other, handed over with it or swept with it, and is told of once.
func TestChannelThatTheQueueRefuses(t *testing.T) {
	for _, handedOver := range []bool{true, false} {
		t.Run(fmt.Sprintf("handed over %t", handedOver), func(t *testing.T) {
			r := newRig(t, memory.Options{})
			index := &shut{Queue: r.queue, refusals: make(chan struct{}), open: make(chan struct{})}
			log := tally{Handler: slog.DiscardHandler, key: "channel", value: "email", told: make(chan slog.Level, 100)}
			r.index, r.logger = index, slog.New(log)
			r.run()
			bad, first := r.accept(1, func(m *core.Message) { m.Channel = "email" })
			good, others := r.accept(5, nil)
			if handedOver {
				r.relay.Publish(append(first, others...))
			}
			r.receive(good)
			for range 3 { // it is tried on
				<-index.refusals
			}
			close(index.open)
			r.receiveFrom("email", bad)
			if level := <-log.told; level != slog.LevelError {
				t.Errorf("the refusal is told at level %s", level)
			}
			if level := <-log.told; level != slog.LevelInfo {
				t.Errorf("told once more, at level %s, before the channel is taken again", level)
			}
		})
	}
}

func TestPublishNeverBlocks(t *testing.T) {
	r := newRig(t, memory.Options{})
	r.relay = relay.New(relay.Options{Logger: slog.New(slog.DiscardHandler)})
	_, envelopes := r.accept(1, nil)
	for range 10_000 { // nobody runs the relay
		r.relay.Publish(slices.Clone(envelopes))
	}
}
