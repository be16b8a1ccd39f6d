package pluginhost

import (
	"encoding/json"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// leftover starts a process as an earlier gateway might have left it, and records it.
func leftover(t *testing.T, d *runtimeDir, change func(*record)) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Args = []string{"lingerer"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = cmd.Process.Kill(), cmd.Wait() })
	place, err := d.reserve("lingerer")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(place.remove)
	place.record.Gateway = owner{PID: 1 << 30, Identity: "gone"}
	if err := place.note(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	change(&place.record)
	if err := place.write(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

func TestSweepEndsWhatAnEarlierGatewayLeft(t *testing.T) {
	me := owner{os.Getpid(), identify(os.Getpid())}
	for name, c := range map[string]struct {
		change func(*record)
		killed bool
		kept   bool // the record
	}{
		"left behind":             {func(*record) {}, true, false},
		"of a living gateway":     {func(r *record) { r.Gateway = me }, false, true},
		"another process by now":  {func(r *record) { r.Process.Identity = "an earlier one" }, false, false},
		"gateway's number reused": {func(r *record) { r.Gateway = owner{me.PID, "an earlier one"} }, true, false},
		"never started":           {func(r *record) { r.Process = owner{} }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := openRuntimeDir(filepath.Join(t.TempDir(), "run"), false)
			if err != nil {
				t.Fatal(err)
			}
			cmd := leftover(t, d, c.change)
			if err := d.sweep(slog.New(slog.DiscardHandler)); err != nil {
				t.Fatal(err)
			}
			if killed := identify(cmd.Process.Pid) == ""; killed != c.killed {
				t.Errorf("killed: %v, want %v", killed, c.killed)
			}
			files, err := filepath.Glob(filepath.Join(d.path, "*"))
			if err != nil {
				t.Fatal(err)
			}
			if kept := len(files) > 0; kept != c.kept {
				t.Errorf("in the folder: %v", files)
			}
		})
	}
}

// A record that says something odd harms nothing outside.
func TestSweepMindsItsOwnFolders(t *testing.T) {
	d, err := openRuntimeDir(filepath.Join(t.TempDir(), "run"), false)
	if err != nil {
		t.Fatal(err)
	}
	precious := t.TempDir()
	text, err := json.Marshal(record{Folder: precious})
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{"a": text, "b": []byte("{")} {
		if err := os.WriteFile(filepath.Join(d.path, name+recordSuffix), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.sweep(slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(precious); err != nil {
		t.Errorf("the folder that a record named is gone: %v", err)
	}
	if left, _ := os.ReadDir(d.path); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Gateways that share a runtime folder may sweep it at the same time.
func TestSweepOfWhatIsGone(t *testing.T) {
	d, err := openRuntimeDir(filepath.Join(t.TempDir(), "run"), false)
	if err != nil {
		t.Fatal(err)
	}
	gone := filepath.Join(d.path, "gone"+recordSuffix)
	if err := d.sweepOne(gone, slog.New(slog.DiscardHandler)); err != nil {
		t.Error(err)
	}
	if err := removeRecord(gone); err != nil {
		t.Error(err)
	}
}

func TestIdentify(t *testing.T) {
	if me := identify(os.Getpid()); me == "" || me != identify(os.Getpid()) {
		t.Errorf("this process is %q", me)
	}
	if identify(1<<30) != "" {
		t.Error("a process that is not there has an identity")
	}
}
