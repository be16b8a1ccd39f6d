package postgres_test

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/enginetest"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/postgres"
)

// dated is a store whose clock stands at a time, and which keeps messages for thirty days.
func dated(t *testing.T, at string, now time.Time) *postgres.Store {
	t.Helper()
	s, err := postgres.Open(t.Context(), postgres.Options{
		URL: at, Keep: 30 * 24 * time.Hour, Now: func() time.Time { return now }, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// accept takes in one message made at a time and returns its id.
func accept(t *testing.T, s *postgres.Store, account core.AccountID, made, notBefore time.Time) core.RecordID {
	t.Helper()
	id, err := s.ReserveIDs(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	m := core.Message{
		ID: id, TraceID: core.NewTraceID(id, 1), Account: account, Channel: "sms", Recipient: "+8613800000001", Budget: 5,
		CreatedAt: made, NextAttempt: notBefore,
	}
	envelopes, _, err := s.Accept(t.Context(), []store.Submission{{Account: account, Messages: []core.Message{m}}})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range envelopes { // as a worker does that finds nothing to send
		if err := s.Settled(t.Context(), []int64{e.ID}); err != nil {
			t.Fatal(err)
		}
	}
	return id
}

func purge(t *testing.T, s *postgres.Store, now time.Time) {
	t.Helper()
	if _, err := s.Purge(t.Context(), now, now.Add(-72*time.Hour), 1000); err != nil {
		t.Fatal(err)
	}
}

// A day past its retention goes as a whole, unless one of its messages is not done.
func TestDaysPastTheirRetentionAreDropped(t *testing.T) {
	at := enginetest.Database(t).String()
	first := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	second := first.AddDate(0, 0, 1)

	s := dated(t, at, first)
	account, err := s.EnsureAccount(t.Context(), core.Account{Name: "acme", CreatedAt: first})
	if err != nil {
		t.Fatal(err)
	}
	done := accept(t, s, account.ID, first, time.Time{})
	if _, err := s.Cancel(t.Context(), account.ID, store.Target{Record: done}, first); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	s = dated(t, at, second)
	waiting := accept(t, s, account.ID, second, second.AddDate(0, 6, 0))
	purge(t, s, second)
	if _, _, err := s.Message(t.Context(), account.ID, done); err != nil {
		t.Errorf("a message within its retention: %v", err)
	}
	closeStore(t, s)

	late := second.AddDate(0, 0, 40)
	s = dated(t, at, late)
	defer closeStore(t, s)
	purge(t, s, late)
	if _, _, err := s.Message(t.Context(), account.ID, done); core.KindOf(err) != core.KindNotFound {
		t.Errorf("a message past its retention: %v", err)
	}
	if _, _, err := s.Message(t.Context(), account.ID, waiting); err != nil {
		t.Errorf("a message that still waits: %v", err)
	}
	if _, err := s.Cancel(t.Context(), account.ID, store.Target{Record: waiting}, late); err != nil {
		t.Fatal(err)
	}
	purge(t, s, late.Add(time.Hour))
	if _, _, err := s.Message(t.Context(), account.ID, waiting); core.KindOf(err) != core.KindNotFound {
		t.Errorf("a message that was done at last: %v", err)
	}
}

// A gateway that makes no partitions itself, as it has no scheduler, learns of those that another one makes.
func TestDaysThatAnotherGatewayMakesAreLearned(t *testing.T) {
	at := enginetest.Database(t).String()
	first := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	worker := dated(t, at, first)
	defer closeStore(t, worker)
	late := first.AddDate(0, 0, 5)
	scheduler := dated(t, at, late)
	defer closeStore(t, scheduler)
	if worker.KnowsDay(late) {
		t.Fatal("the day is known before it was looked for")
	}

	ctx, cancel := context.WithCancel(t.Context())
	var watch sync.WaitGroup
	watch.Go(func() { worker.WatchPartitions(ctx, 10*time.Millisecond) })
	defer watch.Wait()
	defer cancel()
	await(t, "the day is known", func() bool { return worker.KnowsDay(late) })
}

// A gateway that has not heard that another one dropped a day finds no message of it, and trips over nothing.
func TestADayThatAnotherGatewayDroppedIsGone(t *testing.T) {
	at := enginetest.Database(t).String()
	first := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	unaware := dated(t, at, first)
	defer closeStore(t, unaware)
	account, err := unaware.EnsureAccount(t.Context(), core.Account{Name: "acme", CreatedAt: first})
	if err != nil {
		t.Fatal(err)
	}
	id := accept(t, unaware, account.ID, first, time.Time{})
	if _, err := unaware.Cancel(t.Context(), account.ID, store.Target{Record: id}, first); err != nil {
		t.Fatal(err)
	}
	late := first.AddDate(0, 0, 40)
	other := dated(t, at, late)
	purge(t, other, late)
	closeStore(t, other)

	messages, err := unaware.Load(t.Context(), []core.RecordID{id})
	if err != nil || len(messages) != 0 {
		t.Errorf("loaded %d messages, %v", len(messages), err)
	}
	await(t, "it looks which days there are", func() bool { return unaware.KnowsDay(late) })
	won, err := unaware.Claim(t.Context(), []store.Claim{{Record: id, Attempt: 1, Connector: "sms/main"}}, first, first.Add(time.Minute))
	if err != nil || won[0] {
		t.Errorf("a claim of a message that is gone: %v, %v", won, err)
	}
	receipt := core.Receipt{Connector: "sms/main", DedupeKey: "1", Record: id, Attempt: 1, Status: core.ReceiptDelivered, At: first, ReceivedAt: first}
	if _, err := unaware.SaveReceipts(t.Context(), []core.Receipt{receipt}); err != nil {
		t.Errorf("a receipt about a message that is gone: %v", err)
	}
}

// A day whose rows came before its partition stays where it is, and stops nothing.
func TestADayWithoutAPartitionStopsNothing(t *testing.T) {
	at := enginetest.Database(t).String()
	first := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	late := first.AddDate(0, 0, 10)
	s := dated(t, at, first)
	account, err := s.EnsureAccount(t.Context(), core.Account{Name: "acme", CreatedAt: first})
	if err != nil {
		t.Fatal(err)
	}
	id := core.FirstRecordID(late) + 1<<24 // hours later, on the same day
	m := core.Message{ID: id, TraceID: core.NewTraceID(id, 1), Account: account.ID, Channel: "sms", Recipient: "1", Budget: 5, CreatedAt: late}
	if _, _, err := s.Accept(t.Context(), []store.Submission{{Account: account.ID, Messages: []core.Message{m}}}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	s = dated(t, at, late)
	defer closeStore(t, s)
	purge(t, s, late)
	accept(t, s, account.ID, late, time.Time{})
	if _, _, err := s.Message(t.Context(), account.ID, id); err != nil {
		t.Error(err)
	}
}

// Gateways that start at the same time on an empty database make its schema once, and never the same ids.
func TestGatewaysStartTogether(t *testing.T) {
	at := enginetest.Database(t).String()
	const gateways, rounds, size = 4, 20, 1000
	var mu sync.Mutex
	taken := map[core.RecordID]bool{}
	var wg sync.WaitGroup
	for range gateways {
		wg.Go(func() {
			s, err := postgres.Open(t.Context(), postgres.Options{URL: at, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Error(err)
				return
			}
			defer closeStore(t, s)
			for range rounds {
				first, err := s.ReserveIDs(t.Context(), size)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				for i := range core.RecordID(size) {
					if taken[first+i] {
						t.Errorf("id %d was given out twice", first+i)
					}
					taken[first+i] = true
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	end := time.After(10 * time.Second)
	for !holds() {
		select {
		case <-again.C:
		case <-end:
			t.Fatalf("waited too long until %s", what)
		}
	}
}
