package chaos

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// disk is a file system in memory of our own, whose size can be changed: one that is made as small as what it holds
// is full.
type disk struct {
	dir     string
	size    int64
	mounted bool
}

// How large a disk is that is not full. It takes only the memory that its files take.
const diskSize = 8 << 30

// mount makes the disk. Only root can.
func (d *disk) mount() error {
	if err := os.MkdirAll(d.dir, 0o755); err != nil { //nolint:gosec // the engine's user passes through
		return err
	}
	d.size = diskSize
	if err := system("mount", "-t", "tmpfs", "-o", "mode=755,size="+strconv.FormatInt(d.size, 10), "pigeonry-chaos", d.dir); err != nil {
		return err
	}
	d.mounted = true
	return nil
}

// fill leaves no more than some bytes free.
func (d *disk) fill(left int64) error {
	used, err := d.used()
	if err != nil {
		return err
	}
	return d.resize(used + left)
}

func (d *disk) empty() error { return d.resize(d.size) }

func (d *disk) resize(size int64) error {
	return system("mount", "-o", "remount,size="+strconv.FormatInt(size, 10), d.dir)
}

func (d *disk) used() (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(d.dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Blocks-s.Bfree) * int64(s.Bsize), nil //nolint:unconvert // not everywhere is Bsize an int64
}

// unmount ends the disk with all that is on it.
func (d *disk) unmount() error {
	if !d.mounted {
		return nil
	}
	d.mounted = false
	return system("umount", "-l", d.dir)
}

// canMount says whether this process may make disks: it is root, and not in a container that forbids it.
func canMount(dir string) bool {
	probe := &disk{dir: filepath.Join(dir, "probe")}
	if os.Geteuid() != 0 || probe.mount() != nil {
		return false
	}
	return probe.unmount() == nil
}

func system(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %v: %w: %s", name, args, err, out)
	}
	return nil
}
