package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQuantile(t *testing.T) {
	var times []time.Duration
	for i := range 100 {
		times = append(times, time.Duration(100-i)*time.Millisecond)
	}
	for q, want := range map[float64]float64{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := quantile(times, q); got != want {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	if got := quantile(nil, 0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestParentOfThisProcess(t *testing.T) {
	pid, parent := parentOf(fmt.Sprintf("/proc/%d/stat", os.Getpid()))
	if pid != os.Getpid() || parent != os.Getppid() {
		t.Errorf("got %d of %d, want %d of %d", pid, parent, os.Getpid(), os.Getppid())
	}
}

// ledgerOf writes a ledger as the null plugin does.
func ledgerOf(t *testing.T, at time.Time, records ...int64) *subject {
	t.Helper()
	var b []byte
	for _, r := range records {
		b = binary.LittleEndian.AppendUint64(b, uint64(r))
		b = binary.LittleEndian.AppendUint64(b, uint64(at.UnixNano()))
	}
	s := &subject{ledger: filepath.Join(t.TempDir(), "ledger")}
	if err := os.WriteFile(s.ledger, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestJudgeFindsLostAndDoubles(t *testing.T) {
	due := time.Now()
	s := ledgerOf(t, due.Add(30*time.Millisecond), 1, 2, 2, 4)
	var accepted []sample
	for _, id := range []int64{1, 2, 3, 4} {
		accepted = append(accepted, sample{record: id, due: due, done: due.Add(10 * time.Millisecond)})
	}
	var r report
	if err := r.judge(s, accepted, accepted); err != nil {
		t.Fatal(err)
	}
	if r.Lost != 1 || r.Doubles != 1 || r.AcceptP50 != 10 || r.EndToEndP50 != 30 {
		t.Errorf("got %+v", r)
	}
}

func TestJudgeBatchesFindsLostAndDoubles(t *testing.T) {
	began := time.Now()
	s := ledgerOf(t, began.Add(time.Second), 101, 102, 102, 104)
	batches := []sentBatch{{BatchID: 100, Accepted: 4, due: began, done: began.Add(5 * time.Millisecond)}}
	var r report
	if err := r.judgeBatches(s, batches, began); err != nil {
		t.Fatal(err)
	}
	if r.Lost != 1 || r.Doubles != 1 || r.Rate < 2.9 || r.Rate > 3.1 || r.EndToEndP50 != 1000 {
		t.Errorf("got %+v", r)
	}
}

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "say what to measure",
		"everything":                             "nothing to measure",
		"rest -engines production":               "not built in",
		"rest -duration soon":                    "invalid value",
		"rest -duration 1s -bin /nowhere -json":  "null plugin is not built",
		"batch -duration 1s -bin /nowhere -json": "null plugin is not built",
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(args), &out, &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

// A short run against the built programs: what it prints is what others read.
func TestRest(t *testing.T) {
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(bin, "pigeonry")); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("bin/pigeonry is not built; run: make build")
		}
		t.Skip("left out: the run against bin/pigeonry, which is not built; run: make build")
	}
	var out, stderr bytes.Buffer
	if err := run(t.Context(), []string{"rest", "-duration", "1s", "-json", "-bin", bin}, &out, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var r report
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
	if r.Messages == 0 || r.Lost != 0 || r.Doubles != 0 || r.RSS == 0 || r.AcceptP50 == 0 || r.Limits == nil || r.Limits.PluginBatched == 0 {
		t.Errorf("got %+v, limits %+v", r, r.Limits)
	}
}
