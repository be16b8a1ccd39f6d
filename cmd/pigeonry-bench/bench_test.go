package main

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(programsDir)
		os.Exit(code)
	}))
}

// programsDir is where programs has built, "" if it has not.
var programsDir string

// programs builds what is measured, once, for the tests that measure.
var programs = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "pigeonry-bench-built-")
	if err != nil {
		return "", err
	}
	programsDir = dir
	for _, command := range [][]string{
		{"go", "build", "-o", dir + "/", "./cmd/pigeonry"},
		{".tools/plugin.sh", "examples/null-plugin", filepath.Join(dir, "examples", "plugins")},
	} {
		build := exec.Command(command[0], command[1:]...)
		build.Dir = filepath.Join("..", "..")
		if out, err := build.CombinedOutput(); err != nil {
			return dir, fmt.Errorf("%v: %w\n%s", command, err, out)
		}
	}
	return dir, nil
})

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

// writtenLedger writes a ledger as the null plugin does.
func writtenLedger(t *testing.T, at time.Time, records ...int64) *subject {
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
	s := writtenLedger(t, due.Add(30*time.Millisecond), 1, 2, 2, 4)
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
	s := writtenLedger(t, began.Add(time.Second), 101, 102, 102, 104)
	batches := []sentBatch{{BatchID: 100, Accepted: 4, due: began, done: began.Add(5 * time.Millisecond)}}
	var r report
	if err := r.judgeBatches(s, batches, began); err != nil {
		t.Fatal(err)
	}
	if r.Lost != 1 || r.Doubles != 1 || r.Rate < 2.9 || r.Rate > 3.1 || r.EndToEndP50 != 1000 {
		t.Errorf("got %+v", r)
	}
}

func TestReportSetsOursBesideTheLimits(t *testing.T) {
	r := report{
		What: "batch", Engines: embedded, Seconds: 20, Messages: 654_000, Rate: 32_700,
		Limits: map[string]float64{"sqlite_insert_rows": 314_000, "sqlite_commits": 6900},
	}
	r.compare()
	var out bytes.Buffer
	if err := r.print(&out, false); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"32,700 a second", "314,000   10.4 %", "6,900  473.9 %"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is not in\n%s", want, out.String())
		}
	}
}

func TestThousands(t *testing.T) {
	for n, want := range map[float64]string{0: "0", 999.4: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := thousands(n); got != want {
			t.Errorf("%v: got %s, want %s", n, got, want)
		}
	}
}

func TestCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"":                                       "say what to measure",
		"everything":                             "nothing to measure",
		"rest -engines rented":                   "use embedded or production",
		"engines -only mongodb":                  "is no engine",
		"rest -duration soon":                    "invalid value",
		"rest -duration 1s -bin /nowhere -json":  "null plugin is not built",
		"batch -duration 1s -bin /nowhere -json": "null plugin is not built",
		"swap -rate 0":                           "above 0",
		"swap -swaps 0":                          "at least one",
	} {
		var out bytes.Buffer
		err := run(t.Context(), strings.Fields(args), &out, &out)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", args, err, want)
		}
	}
}

// built is the folder of the built programs.
func built(t *testing.T) string {
	t.Helper()
	if testing.Short() {
		t.Skip("left out: a run against the built programs")
	}
	dir, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// measured runs the program and reads what it prints.
func measured(t *testing.T, r *report, args ...string) {
	t.Helper()
	var out, stderr bytes.Buffer
	if err := run(t.Context(), append(args, "-json", "-bin", built(t)), &out, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	if err := json.Unmarshal(out.Bytes(), r); err != nil {
		t.Fatalf("%v in %s", err, out.String())
	}
}

// A short run against the built programs: what it prints is what others read.
func TestRest(t *testing.T) {
	var r report
	measured(t, &r, "rest", "-duration", "1s")
	if r.Messages == 0 || r.Lost != 0 || r.Doubles != 0 || r.RSS == 0 || r.AcceptP50 == 0 || r.Limits["plugin_batched_items"] == 0 {
		t.Errorf("got %+v, limits %+v", r, r.Limits)
	}
}

// Versions that change places under load lose nothing, double nothing and let no request fail, however busy the machine is.
func TestSwap(t *testing.T) {
	r := report{swapFigures: &swapFigures{}}
	measured(t, &r, "swap", "-duration", "2s", "-rate", "700", "-swaps", "4")
	if r.Swaps != 4 || r.SwapP99 == 0 || r.APIErrors != 0 || r.Lost != 0 || r.Doubles != 0 || r.Messages == 0 {
		t.Errorf("got %+v, %+v", r, r.swapFigures)
	}
}

func TestMiddleLeavesOutWhatHappenedOnce(t *testing.T) {
	var samples []sample
	for i := range 100 {
		due := time.Unix(int64(i), 0)
		took := time.Millisecond
		if i < 20 {
			took = time.Second // the machine stalled
		}
		samples = append(samples, sample{due: due, done: due.Add(took)})
	}
	if got := middle(samples, acceptP99); got != 1 {
		t.Errorf("got %v ms, want 1", got)
	}
	if got := middle(nil, acceptP99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

// Each version has bytes of its own, and runs.
func TestInstalledVersionsDiffer(t *testing.T) {
	bin, folder := built(t), t.TempDir()
	if err := installVersions(folder, bin, []string{"0.1.0", "0.2.0"}); err != nil {
		t.Fatal(err)
	}
	first, second := filepath.Join(folder, "null", "0.1.0", "null"), filepath.Join(folder, "null", "0.2.0", "null")
	a, err := os.ReadFile(first)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(second)
	if err != nil || bytes.Equal(a, b) {
		t.Errorf("the versions are the same, or not there: %v", err)
	}
	if out, err := exec.Command(second, "-describe").Output(); err != nil || !bytes.Contains(out, []byte(`"null"`)) {
		t.Errorf("the second version: %v: %s", err, out)
	}
}
