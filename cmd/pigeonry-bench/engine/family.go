package engine

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Descendants returns the processes that descend from one, parents first, without those that have ended
// and wait to be reaped. Where there is no /proc it finds none.
func Descendants(pid int) []int {
	children := make(map[int][]int)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		if child, parent, alive := readStat(path); alive {
			children[parent] = append(children[parent], child)
		}
	}
	family := slices.Clone(children[pid])
	for i := 0; i < len(family); i++ {
		family = append(family, children[family[i]]...)
	}
	return family
}

// anyAlive says whether one of some processes still runs.
func anyAlive(pids []int) bool {
	return slices.ContainsFunc(pids, func(pid int) bool {
		_, _, alive := readStat("/proc/" + strconv.Itoa(pid) + "/stat")
		return alive
	})
}

// readStat reads a process and its parent from /proc/<pid>/stat: "pid (name) state parent …". A process
// that waits to be reaped is not alive.
func readStat(path string) (pid, parent int, alive bool) {
	b, _ := os.ReadFile(path) // it may have ended
	head, tail, found := strings.Cut(string(b), " (")
	fields := strings.Fields(tail[strings.LastIndexByte(tail, ')')+1:]) // the name may hold anything
	if !found || len(fields) < 2 || fields[0] == "Z" || fields[0] == "X" {
		return 0, 0, false
	}
	pid, _ = strconv.Atoi(head)
	parent, _ = strconv.Atoi(fields[1])
	return pid, parent, true
}
