package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
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
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	fields := processStat(pid)
	if err != nil || fields == nil {
		return ""
	}
	return strings.TrimSpace(string(boot)) + "/" + fields[22-3]
}

// processStat returns what proc_pid_stat(5) has from field 3 on, nil for a process that is not there any more.
func processStat(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	// Field 2 is the name in parentheses and may hold anything; what follows the last one is safe.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 20 || fields[0] == "Z" || fields[0] == "X" {
		return nil
	}
	return fields
}

// groupHolds says whether there is a process in the group that has the mark in its environment. The number of a group
// may be another one's by now, the mark is nobody else's.
func groupHolds(group int, mark string) bool {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		fields := processStat(pid)
		if len(fields) <= 5-3 || fields[5-3] != strconv.Itoa(group) {
			continue
		}
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && bytes.Contains(environment, []byte(mark)) {
			return true
		}
	}
	return false
}
