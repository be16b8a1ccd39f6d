package catalog

import (
	"io/fs"
	"syscall"
	"time"
)

// changeTime is when the file or what is known of it last changed.
func changeTime(info fs.FileInfo) time.Time {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(s.Ctim.Unix())
	}
	return info.ModTime()
}

// noExec says whether the file system of a folder executes nothing.
func noExec(folder string) bool {
	const stNoExec = 8 // ST_NOEXEC, statfs(2)
	var s syscall.Statfs_t
	return syscall.Statfs(folder, &s) == nil && s.Flags&stNoExec != 0
}
