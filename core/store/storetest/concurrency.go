package storetest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// racers is how many goroutines compete.
const racers = 8

// race runs f in racers goroutines at once, on as many stores as the technology allows for the database.
func (f *fixture) race(run func(racer int, s store.Store)) {
	f.Helper()
	stores := []store.Store{f.Store}
	if f.factory.Another != nil {
		second := f.factory.Another(f.T, f.Store)
		defer func() { f.check("Close", second.Close()) }()
		stores = append(stores, second)
	}
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() { run(i, stores[i%len(stores)]) })
	}
	wg.Wait()
}

var concurrencyTests = []test{
	{"ids are reserved once", func(f *fixture) {
		var mu sync.Mutex
		var all []core.RecordID
		f.race(func(_ int, s store.Store) {
			for range 200 {
				first, err := s.ReserveIDs(f.ctx, 3)
				if err != nil {
					f.Error(err)
				}
				mu.Lock()
				all = append(all, first, first+1, first+2)
				mu.Unlock()
			}
		})
		slices.Sort(all)
		equal(f, "different ids", len(slices.Compact(all)), racers*600)
	}},
	{"of claims that race one is won", func(f *fixture) {
		claims := make([]store.Claim, 100)
		for i := range claims {
			claims[i] = store.Claim{Record: f.queued(), Attempt: 1, Connector: connector}
		}
		wins := make([][]bool, racers)
		f.race(func(racer int, s store.Store) {
			won, err := s.Claim(f.ctx, claims, t0, at(lease))
			if err != nil {
				f.Error(err)
			}
			wins[racer] = won
		})
		for i := range claims {
			n := 0
			for _, won := range wins {
				if won[i] {
					n++
				}
			}
			equal(f, "wins", n, 1)
		}
	}},
	{"of requests with one key one is taken", func(f *fixture) {
		var mu sync.Mutex
		taken := 0
		messages := make([]core.Message, racers)
		for i := range messages {
			messages[i] = f.message()
		}
		f.race(func(racer int, s store.Store) {
			_, refused, err := s.Accept(f.ctx, []store.Submission{f.keyed("k", messages[racer])})
			if err != nil {
				f.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if refused[0] == nil {
				taken++
			} else if !errors.Is(refused[0], store.ErrKeyTaken) {
				f.Error(refused[0])
			}
		})
		equal(f, "taken", taken, 1)
		equal(f, "messages", len(f.list(store.Filter{Limit: 100})), 1)
	}},
	{"of ends that race one counts, and a message that waits is woken once", func(f *fixture) {
		var mu sync.Mutex
		counts, woken, lapsed := map[core.RecordID]int{}, map[core.RecordID]int{}, map[core.RecordID]int{}
		var sending []core.RecordID
		for range 50 {
			sending = append(sending, f.sending())
			f.queued(func(m *core.Message) { m.NextAttempt = at(time.Second) })
		}
		f.race(func(_ int, s store.Store) {
			w, err := s.Wake(f.ctx, at(lease), at(2*lease), 1000)
			if err != nil {
				f.Error(err)
			}
			transitions := make([]store.Transition, len(sending))
			for i, id := range sending {
				transitions[i] = accepted(id, 1)
			}
			counted, _, err := s.Record(f.ctx, transitions, at(lease))
			if err != nil {
				f.Error(err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, ok := range counted {
				if ok {
					counts[sending[i]]++
				}
			}
			for _, id := range recordsOf(w.Envelopes) {
				woken[id]++
			}
			for _, l := range w.Lapsed {
				lapsed[l.Message.ID]++
			}
		})
		equal(f, "messages that ended", len(counts), 50)
		equal(f, "messages woken", len(woken), 50)
		for _, times := range []map[core.RecordID]int{counts, woken, lapsed} {
			for id, n := range times {
				if n != 1 {
					f.Errorf("message %d: %d times", id, n)
				}
			}
		}
	}},
	{"one receipt told by many is applied once", func(f *fixture) {
		f.sent("p-1")
		var mu sync.Mutex
		applied := 0
		f.race(func(_ int, s store.Store) {
			a, err := s.SaveReceipts(f.ctx, []core.Receipt{receipt("p-1", core.ReceiptDelivered)})
			if err != nil {
				f.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			applied += len(a)
		})
		equal(f, "applied", applied, 1)
	}},
	{"a receipt that races with its message's end is applied by one of them", func(f *fixture) {
		for range 20 {
			id := f.sending()
			name := string(core.NewTraceID(id, 1))
			var wg sync.WaitGroup
			var early, late int
			wg.Go(func() {
				_, applied, err := f.Record(f.ctx, []store.Transition{accepted(id, 1, name)}, t0)
				if err != nil {
					f.Error(err)
				}
				early = len(applied)
			})
			wg.Go(func() {
				applied, err := f.SaveReceipts(f.ctx, []core.Receipt{receipt(name, core.ReceiptDelivered)})
				if err != nil {
					f.Error(err)
				}
				late = len(applied)
			})
			wg.Wait()
			equal(f, "applied", early+late, 1)
			f.wantStatus(id, core.StatusDelivered)
		}
	}},
	{"one account is created however many ask for it", func(f *fixture) {
		ids := make([]core.AccountID, racers)
		f.race(func(racer int, s store.Store) {
			a, err := s.EnsureAccount(f.ctx, core.Account{Name: "contested", DefaultRegion: "CN", CreatedAt: t0})
			if err != nil {
				f.Error(err)
			}
			ids[racer] = a.ID
		})
		equal(f, "accounts", len(slices.Compact(ids)), 1)
	}},
	{"a context that has ended is an error and changes nothing", func(f *fixture) {
		ctx, cancel := context.WithCancel(f.ctx)
		cancel()
		m := f.message()
		_, _, err := f.Accept(ctx, []store.Submission{{Account: f.account, Messages: []core.Message{m}}})
		if !errors.Is(err, context.Canceled) {
			f.Errorf("Accept: %v, want the context's error", err)
		}
		if _, err := f.Load(ctx, []core.RecordID{m.ID}); !errors.Is(err, context.Canceled) {
			f.Errorf("Load: %v, want the context's error", err)
		}
		_, _, err = f.Message(f.ctx, f.account, m.ID)
		f.wantKind("the message", err, core.KindNotFound)
	}},
	{"a closed store says so", func(f *fixture) {
		f.check("Close", f.Close())
		f.check("Close again", f.Close())
		_, err := f.Claim(f.ctx, []store.Claim{{Record: 1, Attempt: 1}}, t0, at(lease))
		f.wantKind("Claim", err, core.KindUnavailable)
		f.wantKind("Check", f.Check(f.ctx), core.KindUnavailable)
	}},
}
