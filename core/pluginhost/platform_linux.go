package pluginhost

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxSocketPath is the longest path that a unix socket can be bound to (unix(7): 108 with the NUL).
const maxSocketPath = 107

// errBadCPUType is no error of Linux, which says ENOEXEC.
var errBadCPUType = errors.New("bad CPU type in executable")

// processAttributes gives a process its own group, so that its descendants can be ended with it, and
// has the kernel end it when the gateway dies, however that happens.
func processAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// renice gives all of a process group a lower priority than the gateway has, by so many steps of setpriority(2), or
// with 0 the gateway's own.
func renice(group, steps int) error {
	mine, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
	if err != nil {
		return err
	}
	nice := 20 - mine // as the kernel answers
	return unix.Setpriority(unix.PRIO_PGRP, group, min(19, nice+steps))
}

// mayRaise says whether the gateway may take back that it gave a process a lower priority: root may, and whoever has
// a limit that allows it (RLIMIT_NICE, getrlimit(2)).
func mayRaise() bool {
	answer := make(chan bool)
	go func() {
		runtime.LockOSThread() // for good: a thread that has to stay behind ends with the goroutine
		mine, err := unix.Getpriority(unix.PRIO_PROCESS, 0)
		nice := 20 - mine
		answer <- err == nil && unix.Setpriority(unix.PRIO_PROCESS, 0, nice+1) == nil && unix.Setpriority(unix.PRIO_PROCESS, 0, nice) == nil
	}()
	return <-answer
}

// awaitExit returns when the process has ended and leaves it to be reaped.
func awaitExit(pid int) {
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// identify returns what tells a process from a later one with the same number: the boot and the time
// of its start (proc_pid_stat(5), field 22). It returns "" if there is no such process.
func identify(pid int) string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	// Field 2 is the name in parentheses and may hold anything; what follows the last one is safe.
	_, rest, _ := cutLast(string(stat), ")")
	fields := strings.Fields(rest) // from field 3
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[19]
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
