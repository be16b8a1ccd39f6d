package pluginhost

import (
	"os"
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
