package pluginhost_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// Each delivery gets exactly one result, whatever the plugin does with the one in the middle.
func TestExactlyOneResultWhateverThePluginDoes(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	for deed, c := range map[string]struct {
		middle, last string // "": accepted
		counted      pluginhost.Violations
	}{
		"accept":   {},
		"double":   {counted: pluginhost.Violations{Repeated: 1}},
		"foreign":  {counted: pluginhost.Violations{Foreign: 2}},
		"missing":  {middle: "uncertain/no_result", counted: pluginhost.Violations{Missing: 1}},
		"odd":      {middle: "uncertain/no_result", counted: pluginhost.Violations{Malformed: 1}},
		"negative": {middle: "throttled/slow_down", counted: pluginhost.Violations{Malformed: 1}},
		"big":      {middle: "uncertain/no_result", last: "uncertain/no_result", counted: pluginhost.Violations{Missing: 2}},
		"fail":     {middle: "uncertain/no_result", last: "uncertain/no_result", counted: pluginhost.Violations{Missing: 2}},
	} {
		t.Run(deed, func(t *testing.T) {
			before := h.Violations("good")
			got := h.deliver("good", batch("accept", deed, "accept"))
			for record, want := range map[core.RecordID]string{1: "", 2: c.middle, 3: c.last} {
				if want == "" {
					want = "accepted"
				}
				if describeResult(got[record]) != want {
					t.Errorf("record %d: %s, want %s", record, describeResult(got[record]), want)
				}
			}
			after := h.Violations("good")
			counted := pluginhost.Violations{
				Foreign: after.Foreign - before.Foreign, Repeated: after.Repeated - before.Repeated,
				Missing: after.Missing - before.Missing, Malformed: after.Malformed - before.Malformed,
			}
			if counted != c.counted {
				t.Errorf("violations: %+v, want %+v", counted, c.counted)
			}
		})
	}
	if g := h.generation("good", "1.0.0"); g.InFlight != 0 || g.Restarts != 0 {
		t.Errorf("generation: %+v", g)
	}
}

// What a plugin says is bounded and fit to be stored.
func TestResultIsBounded(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	r := h.deliver("good", batch("negative"))[1]
	if r.RetryAfter != 0 || len(r.Error.Message) > 3<<10 || strings.Contains(r.Error.Message, "\x00") || r.Error.Fault != core.FaultProvider {
		t.Errorf("result: retry after %v, %d bytes of message, %s", r.RetryAfter, len(r.Error.Message), r.Error.Fault)
	}
	big := h.deliver("good", batch("big"))[1]
	wantText(t, "oversize reply", big.Error.Message, "oversize reply: expected at most 16777216 bytes")
}

func TestResultCarriesWhatTheProviderSaid(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	r := h.deliver("good", batch("accept"))[1]
	if r.Record != 1 || r.Attempt != 1 || len(r.ProviderIDs) != 1 || !strings.HasPrefix(r.ProviderIDs[0], "1.1@") || r.Latency <= 0 {
		t.Errorf("result: %+v", r)
	}
}

// A deadline makes what is open uncertain, and returns.
func TestDeadlineEndsDeliver(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	b := batch("accept", "hold", "accept")
	got := map[core.RecordID]core.Result{}
	h.Deliver(ctx, "test/good", b, collect(t, got, nil))
	complete(t, b, got)
	if describeResult(got[1]) != "accepted" || describeResult(got[2]) != "uncertain/deadline_exceeded" || describeResult(got[3]) != "uncertain/deadline_exceeded" {
		t.Errorf("results: %v", got)
	}
}

// A plugin that never ends its stream does not hold the caller.
func TestLingeringStreamIsCut(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	started := time.Now()
	if got := h.deliver("good", batch("linger")); got[1].Outcome != core.OutcomeAccepted {
		t.Errorf("result: %+v", got[1])
	}
	if took := time.Since(started); took > 5*time.Second {
		t.Errorf("deliver took %v", took)
	}
}

func TestNotHandedOverIsRetryable(t *testing.T) {
	h := run(t, nil, "good", "misnamed")
	h.failed("misnamed")
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{
		connector("misnamed", 1, `{}`), connector("absent", 1, `{}`), connector("good", 1, `{"fail": "validate"}`),
	})
	for plugin, reason := range map[string]string{
		"misnamed": "plugin misnamed 1.0.0 is failed",
		"absent":   "plugin absent is not installed",
		"good":     "the port is not free",
		"unknown":  "connector test/unknown is not configured",
	} {
		got := h.deliver(plugin, batch("accept", "accept"))
		for record, r := range got {
			if describeResult(r) != "retryable/not_sent" || !strings.Contains(r.Error.Message, reason) {
				t.Errorf("%s, record %d: %+v", plugin, record, r)
			}
		}
		if h.Ready(core.ConnectorID("test/" + plugin)) {
			t.Errorf("%s is ready", plugin)
		}
	}
}

// A batch is split where the plugin's limits ask for it; what is too large for it is rejected.
func TestBatchIsSplitByThePluginsLimits(t *testing.T) {
	h := run(t, nil, "limited")
	h.connect("limited")
	texts := slices.Repeat([]string{"accept"}, 21)
	texts[3] = strings.Repeat("x", 101)
	got := h.deliver("limited", batch(texts...))
	for record, r := range got {
		want := "accepted"
		if record == 4 {
			want = "rejected/" + pluginhost.CodeMessageTooLarge
		}
		if describeResult(r) != want {
			t.Errorf("record %d: %+v, want %s", record, r, want)
		}
	}
	if s := h.status("limited"); s.MaxBatch != 2 || s.MaxInFlight != 7 {
		t.Errorf("status: %+v", s)
	}
}

// Stop lets what is in flight finish, takes nothing new meanwhile, and has the plugin drain.
func TestStopFinishesWhatIsInFlight(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	pipe := namedPipe(t)
	b := batch("accept", "wait:"+pipe)
	got := map[core.RecordID]core.Result{}
	begun, delivered, stopped := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(delivered)
		h.Deliver(t.Context(), "test/good", b, collect(t, got, func(r core.Result) {
			if r.Record == 1 {
				close(begun)
			}
		}))
	}()
	<-begun
	if g := h.generation("good", "1.0.0"); g.InFlight != 1 {
		t.Errorf("in flight: %d, want 1", g.InFlight)
	}
	go func() { stopped <- h.Stop(context.WithoutCancel(t.Context())) }()
	h.await("good drains", func() bool { return h.generation("good", "1.0.0").State == core.GenerationDraining })
	if late := h.deliver("good", batch("accept")); describeResult(late[1]) != "retryable/not_sent" {
		t.Errorf("while draining: %+v", late[1])
	}
	release(t, pipe)
	<-delivered
	complete(t, b, got)
	if got[2].Outcome != core.OutcomeAccepted {
		t.Errorf("what was in flight: %+v", got[2])
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	wantText(t, "standard error", h.generation("good", "1.0.0").LastStderr, "drained")
}

// What does not finish in the drain time is uncertain, and Stop says so.
func TestStopCutsOffWhatDoesNotFinish(t *testing.T) {
	h := run(t, func(o *pluginhost.Options) { o.Timing.Drain = 200 * time.Millisecond }, "good")
	h.connect("good")
	got := map[core.RecordID]core.Result{}
	begun, delivered := make(chan struct{}), make(chan struct{})
	b := batch("accept", "hold")
	go func() {
		defer close(delivered)
		h.Deliver(t.Context(), "test/good", b, collect(t, got, func(r core.Result) {
			if r.Record == 1 {
				close(begun)
			}
		}))
	}()
	<-begun
	err := h.Stop(t.Context())
	if err == nil || !strings.Contains(err.Error(), "still in flight") {
		t.Errorf("stop: %v", err)
	}
	<-delivered
	complete(t, b, got)
	if got[2].Outcome != core.OutcomeUncertain {
		t.Errorf("what was cut off: %+v", got[2])
	}
}

// namedPipe makes a pipe on which the fake plugin waits.
func namedPipe(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// release lets the plugin that waits on the pipe go on.
func release(t *testing.T, pipe string) {
	t.Helper()
	f, err := os.OpenFile(pipe, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// Two generations of one plugin share its messages, the same message always going to the same one;
// one of them is retired while the other carries on.
func TestTwoGenerationsSideBySide(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	install(t, dir, "good", "2.0.0")
	h := runIn(t, dir, nil)
	h.connect("good")
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0", Share: 50})
	h.await("both carry messages", func() bool {
		return h.generation("good", "1.0.0").State == core.GenerationActive && h.Standing("good", "2.0.0").Ready
	})
	b := batch(slices.Repeat([]string{"accept"}, 200)...)
	var first map[core.RecordID]core.Result
	h.await("both carry messages", func() bool {
		first = h.deliver("good", b)
		return len(processes(first)) == 2
	})
	for process, n := range processes(first) {
		if n < 60 || n > 140 {
			t.Errorf("process %s carried %d of 200", process, n)
		}
	}
	for record, r := range h.deliver("good", b) {
		if r.ProviderIDs[0] != first[record].ProviderIDs[0] {
			t.Errorf("record %d went to %s and then to %s", record, first[record].ProviderIDs[0], r.ProviderIDs[0])
		}
	}
	old := h.generation("good", "1.0.0").PID
	h.Arrange("good", core.Arrangement{Active: "2.0.0"})
	h.await("the old one has ended", func() bool { return h.generation("good", "1.0.0").State == core.GenerationStopped })
	gone(t, old)
	after := processes(h.deliver("good", b))
	if len(after) != 1 || h.generation("good", "1.0.0").State != core.GenerationStopped {
		t.Errorf("after the retirement: %v, %+v", after, h.Plugins())
	}
}

// processes counts accepted messages by the process that carried them.
func processes(results map[core.RecordID]core.Result) map[string]int {
	count := map[string]int{}
	for _, r := range results {
		if r.Outcome == core.OutcomeAccepted {
			_, process, _ := strings.Cut(r.ProviderIDs[0], "@")
			count[process]++
		}
	}
	return count
}
