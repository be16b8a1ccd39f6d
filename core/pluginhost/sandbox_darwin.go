package pluginhost

import "syscall"

// limit does nothing: macOS cannot bound another process.
func (c *confinement) limit(int) error { return nil }

// cgroup is nothing that macOS has.
type cgroup struct{}

func newCgroup(Sandbox) *cgroup { return nil }

func (*cgroup) enter(*syscall.SysProcAttr) {}

func (*cgroup) at() string { return "" }

func (*cgroup) remove() {}

func endCgroup(string) {}

// residentMemory is not known here.
func residentMemory(int) int64 { return 0 }
