package author_test

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/sdk/channeltest"
)

func TestBench(t *testing.T) {
	provider, err := channeltest.StartProvider()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = provider.Close() })
	plugin := filepath.Join(t.TempDir(), "plugin")
	if out, err := exec.Command("go", "build", "-o", plugin, "../scaffold/golang").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	mute := program(t, filepath.Join(t.TempDir(), "mute"), `[ "$1" ] && echo '{"name": "mute", "version": "1.0.0"}' || echo "not today" >&2`)
	good := map[string]any{"url": provider.URL, "token": "s3cret-token"}
	tests := []struct {
		name, executable string
		config           map[string]any
		recipient        string
		fault            string // of the whole
		outcome, err     string // of every message
	}{
		{name: "good", executable: plugin, config: good, outcome: "accepted"},
		{name: "refused", executable: plugin, config: good, recipient: channeltest.RefusedRecipient, outcome: "rejected", err: "http_status: provider answered 400"},
		{name: "a bad config", executable: plugin, config: map[string]any{"url": "x"}, fault: "it refuses the config of --config:\n  "},
		{name: "no config", executable: plugin, fault: "token: "},
		{name: "no plugin", executable: mute, fault: "not today"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var told []float64
			b := author.Bench{
				Executable: test.executable, Config: test.config, Recipient: test.recipient, Content: core.Content{Text: "Hello"},
				Batches: []int{1, 20}, Callers: []int{1, 2}, Time: 30 * time.Millisecond, Progress: func(share float64) { told = append(told, share) },
			}
			all, err := b.Run(t.Context())
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), test.fault) || strings.Contains(err.Error(), "s3cret") {
					t.Errorf("have %v, want %q", err, test.fault)
				}
				return
			}
			if err != nil || len(all) != 4 {
				t.Fatalf("%d measurements, %v", len(all), err)
			}
			for i, m := range all {
				if m.Batch != []int{1, 1, 20, 20}[i] || m.Callers != []int{1, 2, 1, 2}[i] {
					t.Errorf("measurement %d is of %d and %d", i, m.Batch, m.Callers)
				}
				if m.Messages < m.Batch*m.Callers || m.Outcomes[test.outcome] != m.Messages || m.PerSecond <= 0 || m.P50 <= 0 || m.P99 < m.P50 {
					t.Errorf("measurement %d: %+v", i, m)
				}
				if !strings.HasPrefix(m.Error, test.err) {
					t.Errorf("error %q", m.Error)
				}
			}
			if len(told) == 0 || told[len(told)-1] != 1 {
				t.Errorf("progress: %v", told)
			}
		})
	}
	t.Run("interrupted", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := author.Bench{
			Executable: plugin, Config: good, Batches: []int{1}, Callers: []int{2}, Time: 5 * time.Second,
			Progress: func(float64) { cancel() }, // at the first beat
		}
		if _, err := b.Run(ctx); err == nil {
			t.Error("no error")
		}
	})
}
