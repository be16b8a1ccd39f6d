package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
)

// A message that is done goes when its time is over, one that waits stays until it is done.
func TestMessagesPastTheirRetentionGo(t *testing.T) {
	now := time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)
	s, err := sqlite.Open(t.Context(), sqlite.Options{
		Path: filepath.Join(t.TempDir(), "test.db"), Exclusive: true, Keep: 30 * 24 * time.Hour, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer closeStore(t, s)
	account, err := s.EnsureAccount(t.Context(), core.Account{Name: "acme", CreatedAt: now})
	if err != nil {
		t.Fatal(err)
	}
	var ids []core.RecordID
	for _, notBefore := range []time.Time{{}, now.AddDate(0, 6, 0)} {
		id, err := s.ReserveIDs(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		m := core.Message{ID: id, TraceID: core.NewTraceID(id, 1), Account: account.ID, Channel: "sms", Recipient: "1", CreatedAt: now, NextAttempt: notBefore}
		if _, _, err := s.Accept(t.Context(), []store.Submission{{Account: account.ID, Messages: []core.Message{m}}}); err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	done, waiting := ids[0], ids[1]
	if _, err := s.Cancel(t.Context(), account.ID, store.Target{Record: done}, now); err != nil {
		t.Fatal(err)
	}
	purged := func(at time.Time, want int) {
		t.Helper()
		if n, err := s.Purge(t.Context(), at, at, 100); err != nil || n != want {
			t.Errorf("purged %d, want %d (%v)", n, want, err)
		}
	}
	late := now.AddDate(0, 0, 31)
	purged(now.AddDate(0, 0, 29), 0)
	purged(late, 1)
	if _, _, err := s.Message(t.Context(), account.ID, done); core.KindOf(err) != core.KindNotFound {
		t.Errorf("the message that was done: %v", err)
	}
	if _, _, err := s.Message(t.Context(), account.ID, waiting); err != nil {
		t.Errorf("the message that waits: %v", err)
	}
}
