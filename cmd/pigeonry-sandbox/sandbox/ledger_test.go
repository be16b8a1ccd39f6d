package sandbox_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-sandbox/sandbox"
)

func TestLedgerFileGoesOnWhereItEnded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ledger.jsonl")
	const raw = "Message-Id: <1@x>\n\nhi\n"
	first := start(t, sandbox.Options{Ledger: path})
	if err := sendMail(first, "a@example.com", raw); err != nil {
		t.Fatal(err)
	}
	if err := first.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	cutShort(t, path)

	second := start(t, sandbox.Options{Ledger: path})
	if err := sendMail(second, "a@example.com", raw); err != nil {
		t.Fatal(err)
	}
	all := entries(t, second)
	if len(all) != 2 || all[0].Seq != 1 || all[1].Seq != 2 || all[0].ProviderID == all[1].ProviderID {
		t.Errorf("ledger has %+v, want entries 1 and 2 with ids of their own", all)
	}
	if d := second.Summary().Channels["email"].Doubles; d != 1 {
		t.Errorf("%d doubles, want the one across the restart", d)
	}
}

// cutShort writes the beginning of a line, as a crash leaves it behind.
func cutShort(t *testing.T, path string) {
	t.Helper()
	file, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if _, err := file.WriteString(`{"seq":2,"chan`); err != nil {
		t.Fatal(err)
	}
}

func TestForeignFileIsNoLedger(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notes.txt")
	if err := os.WriteFile(path, []byte("dear diary\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := sandbox.Start(context.Background(), sandbox.Options{
		SMTP: "127.0.0.1:0", SMPP: "127.0.0.1:0", HTTP: "127.0.0.1:0", Ledger: path,
	})
	if err == nil {
		t.Fatal("a diary was taken for a ledger")
	}
	if content, _ := os.ReadFile(path); string(content) != "dear diary\n" {
		t.Errorf("the file was changed to %q", content)
	}
}

func TestInboxForgetsTheOldest(t *testing.T) {
	s := start(t, sandbox.Options{InboxBound: 10})
	session, _ := dial(t, s)
	for range 25 {
		if _, err := session.Submit(t.Context(), sms("8613800138000", 0, []byte("hi"))); err != nil {
			t.Fatal(err)
		}
	}
	got := s.Messages(sandbox.Filter{})
	if len(got) > 10 || len(got) < 8 || got[0].ID != 25 {
		t.Errorf("inbox has %d messages, newest %d; want at most 10, newest 25", len(got), got[0].ID)
	}
	if n := s.Summary().Entries; n != 25 {
		t.Errorf("ledger has %d entries, want all 25", n)
	}
}
