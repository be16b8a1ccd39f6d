package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// limit bounds a process that has just been started. What a cgroup bounds needs no second bound.
func (c *confinement) limit(pid int) error {
	limits := map[int]uint64{unix.RLIMIT_NOFILE: c.sandbox.Files, unix.RLIMIT_NPROC: c.sandbox.Processes}
	if c.group == nil {
		// Not RLIMIT_AS: languages with a collector reserve far more than they use.
		limits[unix.RLIMIT_DATA] = uint64(max(0, c.sandbox.Memory))
	}
	var errs []error
	for resource, value := range limits {
		if value == 0 {
			continue
		}
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			errs = append(errs, fmt.Errorf("limit a process: %w", err))
		}
	}
	return errors.Join(errs...)
}

const (
	cgroupRoot   = "/sys/fs/cgroup"
	cgroupPrefix = "pigeonry-plugin-"
)

// cgroup is a control group (cgroups(7), version 2) of one process and its descendants.
type cgroup struct {
	path   string
	folder *os.File
}

// newCgroup makes a group beside the gateway's own, nil if the host does not let us or there is nothing to bound.
func newCgroup(s Sandbox) *cgroup {
	settings := map[string]string{}
	if s.Memory > 0 {
		settings["memory.max"] = strconv.FormatInt(s.Memory, 10)
	}
	if s.CPU > 0 {
		const period = 100_000 // microseconds
		settings["cpu.max"] = fmt.Sprintf("%d %d", int(s.CPU*period), period)
	}
	parent := cgroupParent()
	if len(settings) == 0 || parent == "" {
		return nil
	}
	path, err := os.MkdirTemp(parent, cgroupPrefix)
	if err != nil {
		return nil
	}
	g := &cgroup{path: path}
	for name, value := range settings {
		if err := setCgroup(filepath.Join(path, name), value); err != nil {
			g.remove()
			return nil
		}
	}
	if g.folder, err = os.Open(path); err != nil {
		g.remove()
		return nil
	}
	return g
}

// setCgroup writes a setting of a group; one that is not there is not made.
func setCgroup(path, value string) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// cgroupParent is the group that holds the gateway's own: "" where there are none of version 2.
func cgroupParent() string {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err != nil {
		return "" // groups of version 1, or none
	}
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return ""
	}
	own, ok := strings.CutPrefix(string(bytes.TrimSpace(text)), "0::")
	if !ok {
		return ""
	}
	return filepath.Join(cgroupRoot, filepath.Dir(own))
}

// enter has the process begin in the group.
func (g *cgroup) enter(attributes *syscall.SysProcAttr) {
	if g != nil {
		attributes.UseCgroupFD, attributes.CgroupFD = true, int(g.folder.Fd())
	}
}

// remove removes the group, whose processes have ended.
func (g *cgroup) remove() {
	if g == nil {
		return
	}
	if g.folder != nil {
		_ = g.folder.Close() // only read
	}
	endCgroup(g.path)
}

// at is where the group is, "" if there is none.
func (g *cgroup) at() string {
	if g == nil {
		return ""
	}
	return g.path
}

// endCgroup ends what is left in a group, also what has left its process group, and removes it. A path that newCgroup
// did not make is left alone.
func endCgroup(path string) {
	if !strings.HasPrefix(filepath.Clean(path), cgroupRoot+"/") || !strings.HasPrefix(filepath.Base(path), cgroupPrefix) {
		return
	}
	_ = setCgroup(filepath.Join(path, "cgroup.kill"), "1") // Linux has it since 5.14
	// One that stays busy stays behind.
	awaitThat(func() bool {
		err := os.Remove(path)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
}

// residentMemory is how many bytes a process holds in memory (proc_pid_statm(5)), 0 if there is none.
func residentMemory(pid int) int64 {
	if pid == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0
	}
	fields := strings.Fields(string(text))
	if len(fields) < 2 {
		return 0
	}
	pages, err := strconv.ParseInt(fields[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}
