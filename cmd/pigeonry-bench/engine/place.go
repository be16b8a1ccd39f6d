package engine

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// place is where an engine lives: its folder, its port, and the user who runs it.
type place struct {
	name     string
	dir      string
	port     int
	durable  bool
	owner    *syscall.Credential // nil: whoever we are
	orphaned syscall.Signal      // what its processes get when we die
}

// newPlace makes nothing yet. The engine's user is the one of Debian's package; it counts only for root.
func newPlace(name, account string, port int, o Options) (place, error) {
	dir, err := filepath.Abs(o.Dir)
	if err != nil || o.Dir == "" {
		return place{}, fmt.Errorf("%s needs a folder: %w", name, err)
	}
	p := place{name: name, dir: dir, port: port, durable: o.Durable, orphaned: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		p.owner, err = credentialOf(account)
	}
	return p, err
}

// credentialOf finds the user who runs an engine for root. PostgreSQL refuses root, and no engine
// without passwords should have its rights.
func credentialOf(account string) (*syscall.Credential, error) {
	found, err := user.Lookup(account)
	if err != nil {
		found, err = user.Lookup("nobody")
	}
	if err != nil {
		return nil, fmt.Errorf("root needs a user to run an engine, but there is neither %s nor nobody: %w", account, err)
	}
	uid, err := strconv.ParseUint(found.Uid, 10, 32)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.ParseUint(found.Gid, 10, 32)
	if err != nil {
		return nil, err
	}
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
}

// data is the folder that Wipe deletes.
func (p *place) data() string { return filepath.Join(p.dir, "data") }

// make makes the folder, if it is not there, and lets the engine's user reach it.
func (p *place) make() error {
	if err := os.MkdirAll(p.dir, 0o755); err != nil { //nolint:gosec // the engine's user passes through
		return err
	}
	if err := p.own(p.dir); err != nil || p.owner == nil {
		return err
	}
	for dir := filepath.Dir(p.dir); dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		if err := open(dir); err != nil {
			return err
		}
	}
	return nil
}

// open lets others pass through a folder, if it is a temporary one. Those that root makes are closed.
func open(dir string) error {
	info, err := os.Stat(dir)
	if err != nil || info.Mode()&0o001 != 0 {
		return err
	}
	if temporary := os.TempDir() + string(filepath.Separator); !strings.HasPrefix(dir, temporary) {
		return fmt.Errorf("%s is closed to the user who runs the engine; choose another folder or: chmod o+x %s", dir, dir)
	}
	return os.Chmod(dir, info.Mode().Perm()|0o011)
}

// own gives a file or folder to the engine's user.
func (p *place) own(path string) error {
	if p.owner == nil {
		return nil
	}
	return os.Chown(path, int(p.owner.Uid), int(p.owner.Gid))
}

// makeData makes the folder of the data, if it is not there.
func (p *place) makeData() error {
	if err := os.MkdirAll(p.data(), 0o700); err != nil {
		return err
	}
	return p.own(p.data())
}

// command is a program of the engine, with an environment of its own: what the caller has set for
// engines of its own must not reach this one.
func (p *place) command(path string, args ...string) *exec.Cmd {
	c := exec.Command(path, args...)
	c.Dir = p.dir
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + p.dir, "LC_ALL=C"}
	c.SysProcAttr = attributes(p.owner, p.orphaned)
	return c
}

func (p *place) address() string { return "127.0.0.1:" + strconv.Itoa(p.port) }
