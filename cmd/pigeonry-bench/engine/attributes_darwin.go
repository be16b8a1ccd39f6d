package engine

import "syscall"

// attributes give a process a group of its own, so that Ctrl-C in a terminal reaches us and not it.
// macOS has no signal for orphans: what we start lives on if we are killed.
func attributes(credential *syscall.Credential, _ syscall.Signal) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Credential: credential}
}
