package pluginhost

import (
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// confinement is a sandbox made ready for one process.
type confinement struct {
	sandbox Sandbox
	group   *cgroup // nil: the host has none for us
	uid     int     // -1: the gateway's own
	gid     int
}

// confine makes the sandbox ready for a process that cmd will start. What the host cannot bound is bounded as
// far as it can be; a user that there is not, or that the gateway may not become, is an error.
func (s Sandbox) confine(cmd *exec.Cmd) (*confinement, error) {
	c := &confinement{sandbox: s, uid: -1}
	if err := c.become(cmd.SysProcAttr); err != nil {
		return nil, err
	}
	if err := c.reaches(cmd.Path); err != nil {
		return nil, err
	}
	c.group = newCgroup(s)
	c.group.enter(cmd.SysProcAttr)
	return c, nil
}

// become has the process run as the sandbox's user.
func (c *confinement) become(attributes *syscall.SysProcAttr) error {
	if c.sandbox.User == "" {
		return nil
	}
	refuse := func(found string, cause error) error {
		return &catalog.Fault{
			What: "user of the sandbox", Expected: fmt.Sprintf("the user %q, and a gateway that may become it", c.sandbox.User),
			Found: found, Remedy: "create the user and run the gateway as root, or leave out plugins.sandbox.user", Permanent: true, Cause: cause,
		}
	}
	u, err := user.Lookup(c.sandbox.User)
	if err != nil {
		u, err = user.LookupId(c.sandbox.User)
	}
	if err != nil {
		return refuse("no such user", err)
	}
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if uidErr != nil || gidErr != nil {
		return refuse("a user without a number", nil)
	}
	if os.Geteuid() != 0 && uint64(os.Geteuid()) != uid {
		return refuse(fmt.Sprintf("a gateway that runs as user number %d", os.Geteuid()), nil)
	}
	c.uid, c.gid = int(uid), int(gid)
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return nil
}

// reaches says whether the user of the sandbox may pass through the folders above the executable.
func (c *confinement) reaches(path string) error {
	if c.uid < 0 {
		return nil
	}
	for folder := filepath.Dir(path); ; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err != nil {
			return fmt.Errorf("look at the folders above the plugin: %w", err)
		}
		owner, known := info.Sys().(*syscall.Stat_t)
		passes := info.Mode().Perm()&0o001 != 0 || known && (int(owner.Uid) == c.uid && info.Mode().Perm()&0o100 != 0 ||
			int(owner.Gid) == c.gid && info.Mode().Perm()&0o010 != 0)
		if !passes {
			return &catalog.Fault{
				What: "plugin out of the user's reach", Expected: fmt.Sprintf("folders that user %s may pass through", c.sandbox.User),
				Found:  fmt.Sprintf("%s with mode %s", folder, info.Mode().Perm()),
				Remedy: "set plugins.store to a folder elsewhere, such as /var/lib/pigeonry/plugins", Permanent: true,
			}
		}
		if folder == filepath.Dir(folder) {
			return nil
		}
	}
}

// open lets the process into the folder of its socket.
func (c *confinement) open(folders ...string) error {
	if c.uid < 0 {
		return nil
	}
	for _, folder := range folders {
		if err := os.Chown(folder, c.uid, c.gid); err != nil {
			return fmt.Errorf("give the socket's folder to the user of the sandbox: %w", err)
		}
	}
	return nil
}
