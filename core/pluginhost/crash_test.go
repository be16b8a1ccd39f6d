package pluginhost_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

func noEvents(context.Context, []core.Receipt, []core.Inbound) error { return nil }

func kill(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

// gone awaits the end of a process that need not be our child.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.NewTimer(10 * time.Second)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for alive(pid) {
		select {
		case <-deadline.C:
			t.Fatalf("process %d is still there", pid)
		case <-poll.C:
		}
	}
}

func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return syscall.Kill(pid, 0) == nil && os.IsNotExist(err) && !hasProc()
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

func hasProc() bool {
	_, err := os.Stat("/proc/self/stat")
	return err == nil
}

// kill -9 in the middle of a batch: what was reported stays, the rest is uncertain, nothing is lost.
func TestKillInMidBatch(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	pid := h.pid("good", 0)
	b := batch("accept", "accept", "hold", "accept", "accept")
	got := map[core.RecordID]core.Result{}
	h.Deliver(t.Context(), "test/good", b, collect(t, got, func(r core.Result) {
		if r.Record == 2 {
			kill(t, pid)
		}
	}))
	complete(t, b, got)
	for record, want := range map[core.RecordID]string{
		1: "accepted", 2: "accepted", 3: "uncertain/connection_lost", 4: "uncertain/connection_lost", 5: "uncertain/connection_lost",
	} {
		if describeResult(got[record]) != want {
			t.Errorf("record %d: %s, want %s", record, describeResult(got[record]), want)
		}
	}
}

// The plugin is back within a second, with its connectors, however often it is killed from outside.
func TestKilledPluginIsBackWithinASecond(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	pid := 0
	var returns []time.Duration
	for round := range 9 {
		pid = h.pid("good", pid)
		killed := time.Now()
		kill(t, pid)
		h.await("the connector is back", func() bool {
			g := h.generation("good", "1.0.0")
			return g.PID != pid && g.PID != 0 && h.Ready("test/good")
		})
		returns = append(returns, time.Since(killed))
		if got := h.deliver("good", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
			t.Errorf("round %d: %+v", round, got[1])
		}
	}
	slices.Sort(returns)
	t.Logf("returns: %v", returns)
	if median := returns[len(returns)/2]; median > time.Second { // a single one may suffer from a busy machine
		t.Errorf("half of the returns took more than %v", median)
	}
	if g := h.generation("good", "1.0.0"); g.Restarts != 9 || !strings.Contains(g.Error, "signal 9") {
		t.Errorf("generation: %+v", g)
	}
}

// A plugin that ends itself at every message fails in the end; its neighbor keeps its pace.
func TestPoisonedPluginFailsAlone(t *testing.T) {
	h := run(t, nil, "good", "other")
	h.connect("good", "other")
	pid := 0
	for range 5 {
		pid = h.pid("good", pid)
		h.await("good is ready", func() bool { return h.Ready("test/good") })
		if got := h.deliver("good", batch("exit")); describeResult(got[1]) != "uncertain/connection_lost" {
			t.Fatalf("result: %+v", got[1])
		}
		if got := h.deliver("other", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
			t.Errorf("neighbor: %+v", got[1])
		}
	}
	wantText(t, "error", h.failed("good"), "crash loop", "exit status 5")
	if got := h.deliver("good", batch("accept", "accept")); describeResult(got[1]) != "retryable/not_sent" || describeResult(got[2]) != "retryable/not_sent" {
		t.Errorf("to a failed plugin: %v", got)
	}
}

// A process that hangs gives no proof of life: it is killed within the deadline and replaced.
func TestStoppedProcessIsReplaced(t *testing.T) {
	h := run(t, func(o *pluginhost.Options) {
		o.Timing.HealthEvery, o.Timing.HealthAnswer = 50*time.Millisecond, 200*time.Millisecond
	}, "good")
	h.connect("good")
	pid := h.pid("good", 0)
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	// The signal takes effect thread by thread; a stopped child is reported when all of them stand.
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		t.Fatalf("await the stop: %v, status %#x", err, status)
	}
	got := h.deliver("good", batch("accept"))
	if describeResult(got[1]) != "uncertain/connection_lost" {
		t.Errorf("result: %+v", got[1])
	}
	h.pid("good", pid)
	gone(t, pid)
	wantText(t, "error", h.generation("good", "1.0.0").Error, "hung", "3 proofs of life missing")
}

// Neither a plugin that ignores the request to end and SIGTERM nor one that is stopped delays Stop
// beyond its deadlines.
func TestStopKillsWithinItsDeadlines(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, pid int){
		"stubborn": func(*testing.T, int) {},
		"good": func(t *testing.T, pid int) {
			t.Helper()
			if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := run(t, func(o *pluginhost.Options) {
				o.Timing = pluginhost.Timing{Drain: 300 * time.Millisecond, Exit: 200 * time.Millisecond, Terminate: 100 * time.Millisecond}
			}, name)
			pid := h.pid(name, 0)
			prepare(t, pid)
			started := time.Now()
			if err := h.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(started); took > 2*time.Second {
				t.Errorf("stop took %v", took)
			}
			if alive(pid) {
				t.Error("the process is left")
			}
			if g := h.generation(name, "1.0.0"); g.State != core.GenerationStopped || g.PID != 0 {
				t.Errorf("generation: %+v", g)
			}
		})
	}
}

// The end of a process is noticed, and its descendants end with it, though they hold its pipes.
func TestGrandchildDoesNotHideTheEnd(t *testing.T) {
	h := run(t, nil, "grandchild")
	h.connect("grandchild")
	check, err := h.Check(t.Context(), "test/grandchild")
	if err != nil {
		t.Fatal(err)
	}
	var child int
	if _, err := fmt.Sscanf(check.Message, "child=%d", &child); err != nil || !alive(child) {
		t.Fatalf("no grandchild: %v, %s", err, check.Message)
	}
	pid := h.pid("grandchild", 0)
	killed := time.Now()
	kill(t, pid)
	h.pid("grandchild", pid)
	if took := time.Since(killed); took > 2*time.Second {
		t.Errorf("noticed after %v", took)
	}
	gone(t, child)
}

// hostProcess is a gateway in a process of its own; it prints the number of its plugin's process.
func hostProcess() {
	c, err := catalog.Open(catalog.Options{Dir: os.Args[1], Store: filepath.Join(os.Args[1], ".staged")})
	if err != nil {
		die(err.Error(), 1)
	}
	h, err := pluginhost.New(pluginhost.Options{Catalog: c, RuntimeDir: os.Args[2], Events: noEvents})
	if err == nil {
		err = h.Start()
	}
	if err != nil {
		die(err.Error(), 1)
	}
	arrangeHighest(h)
	for {
		changed := h.Changed()
		if g := h.Plugins()[0].Generations[0]; g.State == core.GenerationActive {
			fmt.Fprintln(os.Stdout, g.PID)
			select {}
		}
		<-changed
	}
}

// hostInProcess starts hostProcess over the plugin "good" and returns both process numbers.
func hostInProcess(t *testing.T, runtime string) (host *exec.Cmd, plugin int) {
	t.Helper()
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"hostproc", dir, runtime}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_, _ = cmd.Process.Kill(), cmd.Wait()
		for _, folder := range socketFolders(t, runtime) { // the next gateway would do it
			_ = os.RemoveAll(folder)
		}
	})
	if _, err := fmt.Fscan(out, &plugin); err != nil {
		t.Fatal(err)
	}
	return cmd, plugin
}

// kill -9 of the gateway leaves no plugin behind.
func TestNoOrphanAfterTheGatewayIsKilled(t *testing.T) {
	runtime := t.TempDir()
	host, plugin := hostInProcess(t, runtime)
	if !alive(plugin) {
		t.Fatal("no plugin")
	}
	kill(t, host.Process.Pid)
	_ = host.Wait() // it was killed
	gone(t, plugin)

	// The next gateway takes away what the first had in the runtime folder, beside its own.
	folders := socketFolders(t, runtime)
	h := run(t, func(o *pluginhost.Options) { o.RuntimeDir = runtime }, "good")
	h.pid("good", 0)
	for _, folder := range folders {
		if _, err := os.Stat(folder); !os.IsNotExist(err) {
			t.Errorf("left behind: %s", folder)
		}
	}
}

// Two gateways that share a runtime folder leave each other's plugins alone.
func TestGatewaysShareARuntimeFolder(t *testing.T) {
	runtime := t.TempDir()
	_, plugin := hostInProcess(t, runtime)
	h := run(t, func(o *pluginhost.Options) { o.RuntimeDir = runtime }, "other")
	h.pid("other", 0)
	if !alive(plugin) {
		t.Error("the other gateway's plugin is gone")
	}
}

// socketFolders reads from the records where the sockets lie.
func socketFolders(t *testing.T, runtime string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(runtime, "*.process.json"))
	if err != nil {
		t.Fatal(err)
	}
	var folders []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), `"folder":"`)
		folder, _, _ := strings.Cut(rest, `"`)
		folders = append(folders, folder)
	}
	return folders
}

// Restarts leave no file open and, as TestMain proves, no goroutine.
func TestRestartsLeakNothing(t *testing.T) {
	h := run(t, nil, "good", "misnamed", "crash-on-start", "plaintext")
	h.connect("good")
	h.failed("crash-on-start")
	h.failed("misnamed")
	pid := h.pid("good", 0)
	before := openFiles(t)
	for range 5 {
		kill(t, pid)
		pid = h.pid("good", pid)
		h.await("ready", func() bool { return h.Ready("test/good") })
	}
	if after := openFiles(t); after > before+2 {
		t.Errorf("%d open files before, %d after 5 restarts", before, after)
	}
}

func openFiles(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(entries)
}

// Plugins start, crash and are called at the same time without a race.
func TestConcurrentUse(t *testing.T) {
	h := run(t, nil, "good", "other")
	h.connect("good", "other")
	var work sync.WaitGroup
	for worker := range 4 {
		work.Go(func() {
			for i := range 20 {
				plugin := []string{"good", "other"}[(worker+i)%2]
				got := map[core.RecordID]core.Result{}
				b := batch("accept", "accept", "double", "foreign")
				h.Deliver(t.Context(), core.ConnectorID("test/"+plugin), b, collect(t, got, nil))
				complete(t, b, got)
				_, _ = h.Plugins(), h.Connectors()
			}
		})
	}
	work.Go(func() {
		for i := range 5 {
			h.Configure(t.Context(), []pluginhost.ConnectorConfig{
				connector("good", int64(i+2), `{"emit": `+strconv.Itoa(i)+`}`), connector("other", 1, `{}`),
			})
		}
	})
	if g := h.generation("other", "1.0.0"); g.PID != 0 {
		kill(t, g.PID)
	}
	work.Wait()
}
