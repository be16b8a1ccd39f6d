package pluginhost_test

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// A plugin gets its bounds before it does anything, and its group of its own.
func TestSandboxBoundsTheProcess(t *testing.T) {
	h := run(t, func(o *pluginhost.Options) {
		o.Sandbox = pluginhost.Sandbox{Memory: 512 << 20, Files: 100, Processes: 4000}
	}, "good")
	pid := h.pid("good", 0)
	for name, c := range map[string]struct{ resource, want int }{
		"files":     {unix.RLIMIT_NOFILE, 100},
		"processes": {unix.RLIMIT_NPROC, 4000},
	} {
		var limit unix.Rlimit
		if err := unix.Prlimit(pid, c.resource, nil, &limit); err != nil || limit.Max != uint64(c.want) {
			t.Errorf("%s: %d, want %d: %v", name, limit.Max, c.want, err)
		}
	}
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d of process %d: %v", group, pid, err)
	}
	if !memoryBounded(t, pid) {
		t.Error("neither a cgroup nor a limit bounds the memory")
	}
}

// memoryBounded says whether a process may take 512 MiB at most, by whichever means.
func memoryBounded(t *testing.T, pid int) bool {
	t.Helper()
	var limit unix.Rlimit
	if err := unix.Prlimit(pid, unix.RLIMIT_DATA, nil, &limit); err != nil {
		t.Fatal(err)
	}
	if limit.Max == 512<<20 {
		return true
	}
	own, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		t.Fatal(err)
	}
	path, _ := strings.CutPrefix(strings.TrimSpace(string(own)), "0::")
	bound, err := os.ReadFile("/sys/fs/cgroup" + path + "/memory.max")
	return err == nil && strings.TrimSpace(string(bound)) == strconv.Itoa(512<<20)
}

// A plugin has no file of the gateway's open.
func TestPluginInheritsNoFiles(t *testing.T) {
	secret, err := os.Create(filepath.Join(t.TempDir(), "secret"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	h := run(t, nil, "good")
	folder := fmt.Sprintf("/proc/%d/fd", h.pid("good", 0))
	files, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		target, err := os.Readlink(filepath.Join(folder, f.Name()))
		if err == nil && target == secret.Name() {
			t.Errorf("the plugin has %s open", target)
		}
	}
}

// A plugin that runs as another user works like any other.
func TestSandboxUser(t *testing.T) {
	nobody, err := user.Lookup("nobody")
	if err != nil || os.Geteuid() != 0 {
		t.Skip("needs root and the user nobody")
	}
	dir, store := t.TempDir(), reachable(t)
	installSelf(t, dir)
	c, err := catalog.Open(catalog.Options{Dir: dir, Store: store, Shared: true})
	if err != nil {
		t.Fatal(err)
	}
	h := runIn(t, dir, func(o *pluginhost.Options) {
		o.Catalog = c
		o.Sandbox.User = "nobody"
	})
	h.connect("good")
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", h.pid("good", 0)))
	if err != nil || !strings.Contains(string(status), "\nUid:\t"+nobody.Uid+"\t") {
		t.Errorf("the process is not nobody's: %v", err)
	}
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("as nobody: %s", describeResult(got))
	}
}

// installSelf puts this binary itself into dir, as the plugin good: another user may run the copy of it, but not the
// binary where it lies, as a script would.
func installSelf(t *testing.T, dir string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "good", "1.0.0")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(self, filepath.Join(folder, "good")); err != nil {
		t.Fatal(err)
	}
}

// reachable is a folder that every user may pass through.
func reachable(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "pigeonry-shared-") //nolint:usetesting // nobody else enters t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// What stands in the way of another user is named.
func TestSandboxUserThatCannotBe(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	for name, c := range map[string]struct {
		user string
		want []string
	}{
		"unknown user": {"nobody-knows-him", []string{"user of the sandbox", "no such user", "plugins.sandbox.user"}},
		"closed store": {"nobody", []string{"out of the user's reach", "plugins.store"}}, // the store of these tests is the gateway's alone
	} {
		t.Run(name, func(t *testing.T) {
			h := run(t, func(o *pluginhost.Options) { o.Sandbox.User = c.user }, "good")
			wantText(t, "error", h.failed("good"), c.want...)
		})
	}
}

// A version that carries messages has the gateway's priority, and one that only finishes what it has a lower one.
func TestReplacedVersionStepsBack(t *testing.T) {
	h, result, finish := swapWith(t, pluginhost.Timing{}, time.Hour)
	mine := priority(t, os.Getpid())
	if p := priority(t, h.generation("good", "1.0.0").PID); p != mine {
		t.Errorf("the new version has priority %d, the gateway %d", p, mine)
	}
	if p := priority(t, h.generation("good", "2.0.0").PID); p >= mine {
		t.Errorf("the old version has priority %d, the gateway %d", p, mine)
	}
	finish()
	<-result
}

// priority is a process's, as the kernel answers: the more the better.
func priority(t *testing.T, pid int) int {
	t.Helper()
	p, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}
