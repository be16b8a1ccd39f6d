package pluginhost

import (
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that a unix socket can be bound to (sun_path is 104 bytes).
const maxSocketPath = 103

// errBadCPUType is what macOS says to an executable for another processor.
const errBadCPUType = syscall.EBADARCH

// processAttributes gives a process its own group, so that its descendants can be ended with it.
// macOS has no parent-death signal: the SDK watches its parent instead.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}

// renice does nothing: what it would gain here was not measured.
func renice(int, int) error { return nil }

// mayRaise is false, so that nobody tries.
func mayRaise() bool { return false }

// awaitExit does nothing: reaping the process awaits its end.
func awaitExit(int) {}

// identify returns what tells a process from a later one with the same number: the time of its start.
// It returns "" if there is no such process.
func identify(pid int) string {
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil || int(info.Proc.P_pid) != pid {
		return ""
	}
	start := info.Proc.P_starttime
	return fmt.Sprintf("%d.%06d", start.Sec, start.Usec)
}

// groupHolds is false: another process's environment cannot be read here.
func groupHolds(int, string) bool { return false }
