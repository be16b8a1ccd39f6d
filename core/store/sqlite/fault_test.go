package sqlite_test

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
)

// childEnv names the database that a re-executed test binary works on instead of testing.
const childEnv = "PIGEONRY_TEST_ACCEPT_INTO"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		acceptForever(path)
		return
	}
	// The race detector makes an engine that is C turned into Go many times slower.
	if err := flag.Set("rapid.checks", "30"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m)
}

// acceptForever accepts messages from several goroutines and prints the id of each once it was answered.
func acceptForever(path string) {
	s, err := sqlite.Open(context.Background(), sqlite.Options{Path: path, Exclusive: true})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				first, err := s.ReserveIDs(context.Background(), 3)
				if err == nil {
					err = accept(s, first, first+1, first+2)
				}
				mu.Lock()
				if err != nil {
					fmt.Println("error", err)
				} else {
					fmt.Println(int64(first))
				}
				mu.Unlock()
				if err != nil {
					return
				}
			}
		})
	}
	wg.Wait()
}

// A process that is killed in the middle of accepting loses nothing that it had answered, and no message
// is there without its envelope.
func TestKillLosesNothingThatWasAnswered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	answered := map[core.RecordID]bool{}
	for round := range 5 {
		acceptUntilKilled(t, path, 100+37*round, answered)
	}
	s := open(t, path)
	defer closeStore(t, s)
	ids := make([]core.RecordID, 0, 3*len(answered))
	for first := range answered {
		ids = append(ids, first, first+1, first+2)
	}
	loaded, err := s.Load(t.Context(), ids)
	if err != nil || len(loaded) != len(ids) {
		t.Errorf("%d of %d answered messages are there (%v)", len(loaded), len(ids), err)
	}
	envelopes, err := s.Unpublished(t.Context(), 1, time.Now().Add(time.Hour), 0, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	enveloped := map[core.RecordID]bool{}
	for _, e := range envelopes {
		for _, id := range e.Records {
			enveloped[id] = true
		}
	}
	all, err := s.List(t.Context(), 1, store.Filter{Limit: 1_000_000})
	if err != nil || len(all) != len(enveloped) {
		t.Errorf("%d messages and %d in envelopes (%v)", len(all), len(enveloped), err)
	}
	for _, m := range all {
		if !enveloped[m.ID] {
			t.Errorf("message %d is in no envelope", m.ID)
		}
	}
}

// acceptUntilKilled runs a child until it has answered n times, kills it and collects its answers.
func acceptUntilKilled(t *testing.T, path string, n int, answered map[core.RecordID]bool) {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), childEnv+"="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for count := 0; lines.Scan(); count++ {
		id, err := strconv.ParseInt(lines.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the child said %q", lines.Text())
		}
		answered[core.RecordID(id)] = true
		if count == n {
			if err := child.Process.Kill(); err != nil {
				t.Fatal(err)
			}
		}
	}
	_ = child.Wait() // it was killed
}

// A disk that is full refuses new messages with an error that callers understand, keeps what it has, and
// goes on when there is room again.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		t.Skipf("left out: a small disk cannot be mounted here (%v)", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	ballast := filepath.Join(dir, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "a.db"))
	defer closeStore(t, s)
	accepted, err := fill(t, s)
	if core.KindOf(err) != core.KindUnavailable || !strings.Contains(err.Error(), "disk") {
		t.Errorf("the error of a full disk: %v (kind %d)", err, core.KindOf(err))
	}
	wantAll(t, s, accepted)
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if err := accept(s, 1<<40); err != nil {
		t.Errorf("with room again: %v", err)
	}
	wantAll(t, s, append(accepted, 1<<40))
}

// A write error during a commit leaves open whether it happened: the error says so. The limit of the
// size of files makes such errors without special rights.
func TestWriteError(t *testing.T) {
	signal.Ignore(syscall.SIGXFSZ)
	defer signal.Reset(syscall.SIGXFSZ)
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	defer closeStore(t, s)
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	small := limit
	small.Cur = 1 << 20
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &small); err != nil {
		t.Skipf("left out: the size of files cannot be limited here (%v)", err)
	}
	accepted, err := fill(t, s)
	if restoreErr := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); restoreErr != nil {
		t.Fatal(restoreErr)
	}
	if core.KindOf(err) != core.KindUnavailable || !errors.Is(err, store.ErrUnknown) {
		t.Errorf("the error of a failed write: %v (kind %d)", err, core.KindOf(err))
	}
	wantAll(t, s, accepted)
	if err := accept(s, 1<<40); err != nil {
		t.Errorf("with the disk well again: %v", err)
	}
}

// fill accepts messages until that fails, and returns those that were accepted and the error.
func fill(t *testing.T, s *sqlite.Store) ([]core.RecordID, error) {
	t.Helper()
	var accepted []core.RecordID
	for next := core.RecordID(1); next < 1_000_000; next += 50 {
		ids := make([]core.RecordID, 50)
		for i := range ids {
			ids[i] = next + core.RecordID(i)
		}
		if err := accept(s, ids...); err != nil {
			return accepted, err
		}
		accepted = append(accepted, ids...)
	}
	t.Fatal("the disk never failed")
	return nil, nil
}

func wantAll(t *testing.T, s *sqlite.Store, ids []core.RecordID) {
	t.Helper()
	loaded, err := s.Load(t.Context(), ids)
	if err != nil || len(loaded) != len(ids) {
		t.Errorf("%d of %d accepted messages are there (%v)", len(loaded), len(ids), err)
	}
}
