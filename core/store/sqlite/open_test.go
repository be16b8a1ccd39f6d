package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
)

func openBeside(t *testing.T, path string) (*sqlite.Store, error) {
	t.Helper()
	s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path})
	if err == nil {
		t.Cleanup(func() { closeStore(t, s) })
	}
	return s, err
}

func closeStore(t *testing.T, s *sqlite.Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// wantError checks that an error says all of some words.
func wantError(t *testing.T, err error, words ...string) {
	t.Helper()
	for _, word := range words {
		if err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("error %v, want one that says %q", err, word)
		}
	}
}

func accept(s *sqlite.Store, ids ...core.RecordID) error {
	messages := make([]core.Message, len(ids))
	for i, id := range ids {
		messages[i] = core.Message{
			ID: id, TraceID: core.NewTraceID(id, 1), Account: 1, Channel: "sms", Recipient: fmt.Sprint("r", id%3), Budget: 5,
			Content: core.Content{Text: "hello"}, CreatedAt: id.Time(),
		}
	}
	_, _, err := s.Accept(context.Background(), []store.Submission{{Account: 1, Messages: messages}})
	return err
}

func TestTwoGatewaysCannotHaveOneDatabase(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	first := open(t, path)
	_, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Exclusive: true})
	wantError(t, err, "in use by another gateway", fmt.Sprintf("process %d", os.Getpid()), path+".lock", "data_dir")
	closeStore(t, first)
	closeStore(t, open(t, path))
}

func TestACommandMayMakeAKeyBesideAGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	gateway := open(t, path)
	defer closeStore(t, gateway)
	command, err := openBeside(t, path)
	if err != nil {
		t.Fatal(err)
	}
	a, err := command.EnsureAccount(t.Context(), core.Account{Name: "acme", CreatedAt: time.Now()})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.AddKey(t.Context(), core.Key{Account: a.ID, Hash: [32]byte{1}, CreatedAt: time.Now()}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := gateway.KeyByHash(t.Context(), [32]byte{1}); err != nil {
		t.Errorf("the gateway looks for the key: %v", err)
	}
	if err := accept(command, 1); core.KindOf(err) != core.KindConflict {
		t.Errorf("a store beside a gateway took a message in: %v", err)
	}
}

func TestACommandMakesTheDatabaseBeforeTheFirstGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "new", "a b?#%.db")
	if _, err := openBeside(t, path); err != nil {
		t.Fatal(err)
	}
	closeStore(t, open(t, path))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
}

func TestAFileThatIsNoDatabaseIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	content := []byte(strings.Repeat("these are not the bytes of a database. ", 200))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Exclusive: true})
	wantError(t, err, path, "not a SQLite database")
	if after, err := os.ReadFile(path); err != nil || string(after) != string(content) {
		t.Errorf("the file was changed (%v)", err)
	}
}

func TestADamagedDatabaseIsNamed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	closeStore(t, open(t, path))
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := 4096; i < len(content); i++ {
		content[i] = 0xA5
	}
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), sqlite.Options{Path: path, Exclusive: true})
	wantError(t, err, path, "damaged", "backup")
}

func TestADatabaseOfANewerVersionIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	closeStore(t, open(t, path))
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	_, err = sqlite.Open(t.Context(), sqlite.Options{Path: path, Exclusive: true})
	wantError(t, err, path, "schema 99", "newer version", "backup")
}

func TestAFolderThatCannotBeMadeIsNamed(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sqlite.Open(t.Context(), sqlite.Options{Path: filepath.Join(blocked, "a.db"), Exclusive: true})
	wantError(t, err, "folder of the database", blocked)
}

// Ids grow over restarts, even if the clock was set back.
func TestIDsGrowOverRestarts(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	clock := time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)
	last := core.RecordID(0)
	for range 3 {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: path, Exclusive: true, Now: func() time.Time { return clock }})
		if err != nil {
			t.Fatal(err)
		}
		first, err := s.ReserveIDs(t.Context(), 2)
		if err != nil || first <= last {
			t.Errorf("id %d follows %d (%v)", first, last, err)
		}
		if err := accept(s, first, first+1); err != nil {
			t.Error(err)
		}
		last = first + 1
		closeStore(t, s)
		clock = clock.Add(-time.Hour)
	}
}

func TestReservingNoIDsIsAnError(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	defer closeStore(t, s)
	if _, err := s.ReserveIDs(t.Context(), 0); err == nil {
		t.Error("no ids were reserved without an error")
	}
}

// The index by recipient is in blocks: lists cross them, and restarts begin new ones.
func TestListsByRecipientCrossBlocks(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	base, n := core.FirstRecordID(time.Date(2026, time.March, 1, 0, 0, 0, 0, time.UTC)), core.RecordID(0)
	for _, size := range []int{8300, 400, 300} { // a block and a bit, and two restarts
		s := open(t, path)
		ids := make([]core.RecordID, size)
		for i := range ids {
			n += 2
			ids[i] = base + n
		}
		if err := accept(s, ids...); err != nil {
			t.Fatal(err)
		}
		closeStore(t, s)
	}
	s := open(t, path)
	defer closeStore(t, s)
	for _, straggler := range []core.RecordID{3, 8192*2 + 1, 8193*2 + 1, 8300*2 + 1, 8700*2 + 1} {
		if err := accept(s, base+straggler); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, recipient := range []string{"r0", "r1", "r2"} {
		last := core.RecordID(1 << 52)
		for {
			page, err := s.List(t.Context(), 1, store.Filter{Recipient: recipient, Before: last, Limit: 997})
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				break
			}
			for _, m := range page {
				if m.ID >= last || m.Recipient != recipient {
					t.Fatalf("message %d to %s follows %d in the list of %s", m.ID, m.Recipient, last, recipient)
				}
				last = m.ID
			}
			total += len(page)
		}
	}
	if total != 9000+5 {
		t.Errorf("listed %d messages, want %d", total, 9000+5)
	}
}

// A write that fails shares its transaction with others, which must not suffer.
func TestAFailedWriteDoesNotFailItsNeighbours(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	defer closeStore(t, s)
	if err := accept(s, 1); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range core.RecordID(200) {
		wg.Go(func() {
			if err := accept(s, 10+i); err != nil {
				t.Errorf("a good write: %v", err)
			}
		})
		wg.Go(func() {
			if err := accept(s, 1000+i, 1); err == nil {
				t.Error("an id was taken twice")
			}
		})
	}
	wg.Wait()
	messages, err := s.List(t.Context(), 1, store.Filter{Limit: 1000})
	if err != nil || len(messages) != 201 {
		t.Errorf("%d messages, want 201 (%v)", len(messages), err)
	}
}

func TestInboundIsKeptOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	in := core.Inbound{Connector: "sms/main", DedupeKey: "k", From: "+86", To: "10690", Text: "STOP", ReceivedAt: time.Now()}
	other := in
	other.Connector = "sms/backup"
	if err := s.SaveInbound(t.Context(), []core.Inbound{in, in, other}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var n int
	if err := db.QueryRow("SELECT COUNT(*) FROM inbound_messages WHERE content = 'STOP'").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d inbound messages, want one for each connector (%v)", n, err)
	}
}
