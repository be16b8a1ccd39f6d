package engine

import "syscall"

// attributes give a process a group of its own, so that Ctrl-C in a terminal reaches us and not it, and
// have the kernel end it when we die, however that happens.
func attributes(credential *syscall.Credential, orphaned syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential, Pdeathsig: orphaned}
}
