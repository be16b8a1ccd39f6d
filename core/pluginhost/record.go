package pluginhost

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const (
	recordSuffix = ".process.json"
	folderPrefix = "pgn-"
	// socketTail is the longest path that go-plugin makes below a runtime folder:
	// /pgn-4294967295/plugin-dir4294967295/plugin4294967295
	socketTail = 15 + 21 + 17
	// leftoverWait bounds the wait for the end of a killed leftover.
	leftoverWait = 2 * time.Second
)

// runtimeDir is the folder in which the gateway notes its processes, so that after a crash of its own
// it finds those that outlived it.
type runtimeDir struct {
	path    string
	sockets string // where the folders of the sockets are made
	gateway owner
}

// owner names a process beyond doubt.
type owner struct {
	PID      int    `json:"pid"`
	Identity string `json:"identity"` // see identify
}

func (o owner) alive() bool { return o.PID > 0 && o.Identity != "" && identify(o.PID) == o.Identity }

// record is what is noted of one process.
type record struct {
	Plugin  string `json:"plugin"`
	Process owner  `json:"process"`
	Gateway owner  `json:"gateway"`
	Folder  string `json:"folder"`           // of its socket
	Cgroup  string `json:"cgroup,omitempty"` // its control group; empty: none
}

// openRuntimeDir makes the folder and sees to it that nobody else may enter. Shared: plugins run as another user, so
// that their sockets have to be elsewhere.
func openRuntimeDir(path string, shared bool) (*runtimeDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("find the runtime folder: %w", err)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("make the runtime folder: %w", err)
	}
	if err := os.Chmod(path, 0o700); err != nil { //nolint:gosec // a folder must be executable to be entered
		return nil, fmt.Errorf("close the runtime folder to others: %w", err)
	}
	d := &runtimeDir{path: path, sockets: path, gateway: owner{os.Getpid(), identify(os.Getpid())}}
	if shared || len(d.sockets)+socketTail > maxSocketPath {
		d.sockets = os.TempDir() // its folders are made with mode 0700 as well
	}
	if over := len(d.sockets) + socketTail - maxSocketPath; over > 0 {
		return nil, fmt.Errorf("the path %s is %d characters too long for unix sockets; choose a shorter runtime folder or TMPDIR", d.sockets, over)
	}
	return d, nil
}

// place is what one process has in the runtime folder.
type place struct {
	dir    *runtimeDir
	folder string
	record record
}

// reserve makes the folder for one process and notes it before the process exists.
func (d *runtimeDir) reserve(plugin string) (*place, error) {
	folder, err := os.MkdirTemp(d.sockets, folderPrefix)
	if err != nil {
		return nil, fmt.Errorf("make the folder of the socket: %w", err)
	}
	p := &place{dir: d, folder: folder, record: record{Plugin: plugin, Gateway: d.gateway, Folder: folder}}
	if err := p.write(); err != nil {
		p.remove()
		return nil, err
	}
	return p, nil
}

// note adds the process.
func (p *place) note(pid int) error {
	p.record.Process = owner{pid, identify(pid)}
	return p.write()
}

func (p *place) file() string {
	return filepath.Join(p.dir.path, filepath.Base(p.folder)+recordSuffix)
}

// write replaces the record as a whole, so that a crash never leaves half of one.
func (p *place) write() error {
	text, err := json.Marshal(p.record)
	if err != nil {
		return fmt.Errorf("encode process record: %w", err)
	}
	temporary := p.file() + ".tmp"
	if err := os.WriteFile(temporary, text, 0o600); err != nil {
		return fmt.Errorf("write process record: %w", err)
	}
	if err := os.Rename(temporary, p.file()); err != nil {
		return fmt.Errorf("write process record: %w", err)
	}
	return nil
}

// remove takes the folder and the record away. What cannot be removed is found at the next start.
func (p *place) remove() {
	_ = os.RemoveAll(p.folder)
	_ = os.Remove(p.file())
}

// sweep ends the processes that an earlier gateway left behind. Those of another gateway that is
// alive and shares the folder stay.
func (d *runtimeDir) sweep(log *slog.Logger) error {
	files, err := filepath.Glob(filepath.Join(d.path, "*"+recordSuffix))
	if err != nil {
		return fmt.Errorf("read the runtime folder: %w", err)
	}
	for _, file := range files {
		if err := d.sweepOne(file, log); err != nil {
			return err
		}
	}
	return nil
}

func (d *runtimeDir) sweepOne(file string, log *slog.Logger) error {
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // its process has ended, or another gateway that shares the folder has swept it
	case err != nil:
		return fmt.Errorf("read process record: %w", err)
	}
	var r record
	if err := json.Unmarshal(text, &r); err != nil {
		log.Warn("unreadable process record removed", "file", file, "error", err)
		return removeRecord(file)
	}
	if r.Gateway.alive() {
		return nil
	}
	if r.left() {
		log.Warn("plugin process left behind by an earlier gateway: ended", "plugin", r.Plugin, "pid", r.Process.PID)
		_ = syscall.Kill(-r.Process.PID, syscall.SIGKILL) // it ended meanwhile: ESRCH
		if !awaitThat(func() bool { return !r.left() }) {
			return fmt.Errorf("end the leftover process %d of plugin %s: still there %s after SIGKILL; end it by hand", r.Process.PID, r.Plugin, leftoverWait)
		}
	}
	endCgroup(r.Cgroup)
	if r.ours() {
		_ = os.RemoveAll(r.Folder)
	}
	return removeRecord(file)
}

// removeRecord removes a record, unless another gateway has.
func removeRecord(file string) error {
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove process record: %w", err)
	}
	return nil
}

// left says whether the process is still there, or has ended and left descendants in its group. The kernel ends a
// plugin with its gateway, and not what the plugin has started.
func (r record) left() bool {
	return r.Process.PID > 1 && (r.Process.alive() || r.ours() && groupHolds(r.Process.PID, r.Folder+"/"))
}

// ours says whether the folder is one that reserve makes.
func (r record) ours() bool { return strings.HasPrefix(filepath.Base(r.Folder), folderPrefix) }

// awaitThat polls until something holds, because only a parent can await a process. It gives up after leftoverWait.
func awaitThat(holds func() bool) bool {
	deadline := time.NewTimer(leftoverWait)
	defer deadline.Stop()
	poll := time.NewTicker(5 * time.Millisecond)
	defer poll.Stop()
	for !holds() {
		select {
		case <-deadline.C:
			return false
		case <-poll.C:
		}
	}
	return true
}
