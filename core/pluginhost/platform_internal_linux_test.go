package pluginhost

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A process that is in nobody's way has a lower priority, and gets back what it had.
func TestRenice(t *testing.T) {
	d, err := openRuntimeDir(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	pid := leftover(t, d, func(*record) {}).Process.Pid
	mine := priority(t, os.Getpid())
	steps := []int{background, 0}
	if !mayRaise() {
		steps = steps[:1]
	}
	for _, n := range steps {
		if err := renice(pid, n); err != nil {
			t.Fatal(err)
		}
		if got, want := priority(t, pid), max(1, mine-n); got != want {
			t.Errorf("%d steps down: priority %d, want %d", n, got, want)
		}
	}
	if now := priority(t, os.Getpid()); now != mine {
		t.Errorf("this process went from %d to %d", mine, now)
	}
}

// priority is a process's, as the kernel answers: 20 less its niceness.
func priority(t *testing.T, pid int) int {
	t.Helper()
	p, err := unix.Getpriority(unix.PRIO_PROCESS, pid)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What a plugin has started ends with the next gateway at the latest, and nobody else.
func TestSweepEndsDescendants(t *testing.T) {
	for name, c := range map[string]struct {
		marked bool
		killed bool
	}{"a plugin's": {true, true}, "another group by now": {false, false}} {
		t.Run(name, func(t *testing.T) {
			d, err := openRuntimeDir(filepath.Join(t.TempDir(), "run"), false)
			if err != nil {
				t.Fatal(err)
			}
			place, err := d.reserve("good")
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(place.remove)
			cmd := exec.Command("/bin/sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!")
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
			if c.marked {
				cmd.Env = append(cmd.Env, "PLUGIN_UNIX_SOCKET_DIR="+place.folder+"/plugin-dir1")
			}
			out, err := cmd.Output()
			if err != nil {
				t.Fatal(err)
			}
			child, err := strconv.Atoi(strings.TrimSpace(string(out)))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = syscall.Kill(child, syscall.SIGKILL) })
			place.record.Gateway = owner{PID: 1 << 30, Identity: "gone"}
			place.record.Process = owner{PID: cmd.Process.Pid, Identity: "gone"}
			if err := place.write(); err != nil {
				t.Fatal(err)
			}
			if err := d.sweep(slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			if killed := identify(child) == ""; killed != c.killed {
				t.Errorf("killed: %v, want %v", killed, c.killed)
			}
		})
	}
}

// What has left its process group is still in its control group, and ends with it.
func TestEndCgroup(t *testing.T) {
	path := testCgroup(t)
	folder, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close()
	cmd := exec.Command("sleep", "600")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, UseCgroupFD: true, CgroupFD: int(folder.Fd())}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	endCgroup(path)
	<-ended
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("the group is left: %v", err)
	}
	precious := t.TempDir()
	for _, odd := range []string{"", precious, cgroupRoot + "/../../" + precious, cgroupRoot} {
		endCgroup(odd)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Error(err)
	}
}

// testCgroup makes a control group where this machine lets us.
func testCgroup(t *testing.T) string {
	t.Helper()
	for _, parent := range []string{cgroupRoot, cgroupRoot + "/unified"} {
		path, err := os.MkdirTemp(parent, cgroupPrefix) //nolint:usetesting // control groups have a place of their own
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = os.Remove(path) })
		if _, err := os.Stat(filepath.Join(path, "cgroup.kill")); err == nil {
			return path
		}
	}
	t.Skip("no control groups of version 2 that this user may make")
	return ""
}
