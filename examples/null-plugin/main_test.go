package main

import (
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/sdk"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

// The null channel passes the kit like any other, in process and as a binary.
func TestConformance(t *testing.T) {
	suite := channeltest.Suite{
		Config: map[string]any{"latency": "1ms"},
		BadConfigs: []channeltest.BadConfig{
			{Name: "a negative latency", Path: "latency", Config: map[string]any{"latency": "-1s"}},
			{Name: "a bare number", Path: "latency", Config: map[string]any{"latency": "20"}},
			{Name: "a negative quota", Path: "strict", Config: map[string]any{"strict": -1}},
		},
	}
	t.Run("in process", func(t *testing.T) {
		suite.Plugin = channeltest.InProcess(plugin())
		channeltest.Run(t, suite)
	})
	t.Run("binary", func(t *testing.T) {
		suite.Plugin, suite.Binary = nil, filepath.Join(t.TempDir(), "null")
		if out, err := exec.Command("go", "build", "-o", suite.Binary, ".").CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
		channeltest.Run(t, suite)
	})
}

// Without a ledger nothing is written: above all no file of refused messages into the folder of the process.
func TestStrictWithoutLedger(t *testing.T) {
	t.Chdir(t.TempDir())
	sender, err := open(t.Context(), config{Strict: 1})
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []sdk.Outcome{sdk.OutcomeAccepted, sdk.OutcomeThrottled} {
		if _, err := sender.Send(t.Context(), &sdk.Message{ID: "1"}); sdk.OutcomeOf(err) != want {
			t.Errorf("message %d: %v, want %v", i, err, want)
		}
	}
	if err := sender.(io.Closer).Close(); err != nil {
		t.Error(err)
	}
	files, err := os.ReadDir(".")
	if err != nil || len(files) > 0 {
		t.Errorf("files: %v, %v", files, err)
	}
}

func TestQuotaCountsWithinAnySecond(t *testing.T) {
	q := newQuota(3)
	start := time.Now()
	for _, step := range []struct {
		after   time.Duration
		n, want int
	}{
		{0, 1, 1},
		{900 * time.Millisecond, 4, 2},
		{999 * time.Millisecond, 1, 0},
		{time.Second, 2, 1}, // the first has left the second, the other two have not
		{1900 * time.Millisecond, 3, 2},
	} {
		if got, _ := q.take(start.Add(step.after), step.n); got != step.want {
			t.Errorf("after %v: %d of %d passed, want %d", step.after, got, step.n, step.want)
		}
	}
	if got, wait := q.take(start.Add(1950*time.Millisecond), 1); got != 0 || wait != 50*time.Millisecond {
		t.Errorf("of one too many %d passed, and the next one may after %v, want 50ms", got, wait)
	}
	if got, _ := (*quota)(nil).take(start, 5); got != 5 {
		t.Errorf("without a quota %d of 5 passed", got)
	}
}
