package chaos

import "syscall"

// attributes give a process a group of its own, so that Ctrl-C in a terminal reaches us and not it, and
// have the kernel end it when we die, however that happens.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
