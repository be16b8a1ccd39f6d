package pluginhost_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// A plugin that cannot be started says what was expected, what was found and what to do; the healthy
// one beside it works.
func TestFaultyPluginsAreNamedAndAlone(t *testing.T) {
	for plugin, want := range map[string][]string{
		"cookie":        {"cookie mismatch", "rebuild the plugin"},
		"protocol":      {"protocol mismatch", "expected protocol version 1, found 7"},
		"core-protocol": {"core protocol mismatch", "expected go-plugin's core protocol 1, found 2"},
		"tcp":           {"transport mismatch", "expected a unix socket, found tcp"},
		"elsewhere":     {"socket in the wrong place", "found /tmp/elsewhere.sock"},
		"plaintext":     {"no certificate", "expected mutual TLS"},
		"misnamed":      {"name mismatch", `expected the plugin "misnamed"`, `found "somebody-else"`},
		"contract":      {"contract mismatch", "expected channel.v1", "channel.v9"},
		"bad-schema":    {"invalid config schema", "expected a JSON Schema 2020-12"},
		"far-schema":    {"invalid config schema", "file:///etc/passwd"},
		"no-channel":    {"no channel", "expected at least one channel"},
	} {
		t.Run(plugin, func(t *testing.T) {
			h := run(t, nil, plugin, "good")
			wantText(t, "error", h.failed(plugin), want...)
			if g := h.generation(plugin, "1.0.0"); g.Restarts != 0 || g.PID != 0 {
				t.Errorf("a fault that no restart mends led to %d restarts, pid %d", g.Restarts, g.PID)
			}
			h.connect("good")
			if got := h.deliver("good", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
				t.Errorf("the healthy plugin: %+v", got[1])
			}
		})
	}
}

// Faults that may pass are tried again until they are a crash loop.
func TestCrashLoopEndsInFailed(t *testing.T) {
	t.Parallel()
	for plugin, want := range map[string][]string{
		"crash-on-start": {"crash loop: 5 crashes within 10m0s", "no handshake", "exit status 3"},
		"no-handshake":   {"crash loop", "no handshake", "expected the handshake 1|1|unix|", "exit status 4 without it"},
		"slow":           {"crash loop", "slow start", "within 100ms, found none"},
		"mute":           {"crash loop", "Describe: no answer in time"},
		"oversize":       {"crash loop", "Describe: oversize reply: expected at most 16777216 bytes"},
	} {
		t.Run(plugin, func(t *testing.T) {
			t.Parallel()
			h := run(t, func(o *pluginhost.Options) {
				switch plugin {
				case "slow":
					o.Timing.Start = 100 * time.Millisecond
				case "mute":
					o.Timing.Start = 2 * time.Second
				}
			}, plugin)
			wantText(t, "error", h.failed(plugin), want...)
			g := h.generation(plugin, "1.0.0")
			if g.Restarts != 4 {
				t.Errorf("%d restarts, want 4", g.Restarts)
			}
			if plugin == "crash-on-start" {
				wantText(t, "last standard error", g.LastStderr, "panic: no luck today")
			}
			h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector(plugin, 1, `{}`)})
			if s := h.status(plugin); s.State != core.ConnectorUnavailable || !strings.Contains(s.Message, "failed") {
				t.Errorf("connector of a failed plugin: %+v", s)
			}
		})
	}
}

// What is wrong with the files is found before or by the attempt to execute them.
func TestFaultyFilesAreNamed(t *testing.T) {
	foreign := func(path string) {
		machine := elf.EM_AARCH64
		if strings.Contains(elfMachine(t), "AARCH64") {
			machine = elf.EM_X86_64
		}
		write(t, path, elfHeader(t, machine), 0o755)
	}
	for name, c := range map[string]struct {
		make func(path string)
		want []string
	}{
		"missing":        {func(string) {}, []string{"missing file", "expected the executable /"}},
		"not-executable": {func(p string) { write(t, p, []byte("#!/bin/sh\n"), 0o644) }, []string{"not executable", "found mode -rw-r--r--", "chmod 0755"}},
		"text":           {func(p string) { write(t, p, []byte("hello"), 0o755) }, []string{"wrong architecture or format", "no known executable format"}},
		"empty":          {func(p string) { write(t, p, nil, 0o755) }, []string{"wrong architecture or format", "an empty file"}},
		"foreign":        {foreign, []string{"wrong architecture or format", "an ELF file for "}},
		"interpreter":    {func(p string) { write(t, p, []byte("#!/nonexistent/interpreter\n"), 0o755) }, []string{"missing interpreter"}},
		"folder":         {func(p string) { _ = os.Mkdir(p, 0o755) }, []string{"not a file"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, name, "1.0.0", name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			c.make(path)
			h := runIn(t, dir, nil)
			wantText(t, "error", h.failed(name), c.want...)
		})
	}
}

func write(t *testing.T, path string, content []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, content, mode); err != nil {
		t.Fatal(err)
	}
}

// elfHeader is a program for another machine, as far as the kernel reads it.
func elfHeader(t *testing.T, machine elf.Machine) []byte {
	t.Helper()
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(machine), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	var b bytes.Buffer
	if err := binary.Write(&b, binary.LittleEndian, h); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// elfMachine is the machine of this test, "" where programs are not ELF files.
func elfMachine(t *testing.T) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := elf.Open(self)
	if err != nil {
		return ""
	}
	defer f.Close()
	return f.Machine.String()
}

// The highest semantic version that can be started is the active one; the others are listed.
func TestCatalogueTakesTheHighestVersion(t *testing.T) {
	dir := t.TempDir()
	for _, version := range []string{"1.2.0", "1.10.0", "1.9.9", "1.10.0-rc.1", "latest", "v3.0.0", "2.0.0.tmp", ".5.0.0"} {
		install(t, dir, "good", version)
	}
	if err := os.MkdirAll(filepath.Join(dir, "good", "4.0.0"), 0o755); err != nil { // without an executable
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "Bad Name", "1.0.0"), 0o755); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "README.md"), []byte("not a plugin"), 0o644)
	h := runIn(t, dir, nil)
	h.await("1.10.0 is active", func() bool { return h.generation("good", "1.10.0").State == core.GenerationActive })
	for version, state := range map[string]core.GenerationState{
		"1.2.0": core.GenerationStaged, "1.9.9": core.GenerationStaged, "1.10.0-rc.1": core.GenerationStaged,
		"latest": core.GenerationFailed, "v3.0.0": core.GenerationFailed, "4.0.0": core.GenerationFailed,
	} {
		if g := h.generation("good", version); g.State != state {
			t.Errorf("%s is %s, want %s", version, g.State, state)
		}
	}
	plugins := h.Plugins()
	if len(plugins) != 2 || plugins[0].Name != "Bad Name" || len(plugins[1].Generations) != 7 {
		t.Errorf("plugins: %+v", plugins)
	}
	wantText(t, "bad name", plugins[0].Generations[0].Error, "invalid plugin name", "rename the folder")
}

func TestPluginTellsWhoItIs(t *testing.T) {
	h := run(t, nil, "good", "bare")
	h.pid("good", 0)
	h.pid("bare", 0)
	plugins := h.Plugins()
	good, bare := plugins[1], plugins[0]
	if len(good.Channels) != 1 || good.Channels[0] != "test" {
		t.Errorf("channels: %q", good.Channels)
	}
	if got, want := strings.Join(good.Capabilities, " "), "callback check idempotent query receipts receive"; got != want {
		t.Errorf("capabilities: %q, want %q", got, want)
	}
	if len(bare.Capabilities) != 0 {
		t.Errorf("capabilities of the bare plugin: %q", bare.Capabilities)
	}
}

func TestStartRefusesWhatItCannotUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, nil, 0o600)
	for name, o := range map[string]pluginhost.Options{
		"plugins folder missing":      {Catalog: open(t, filepath.Join(t.TempDir(), "absent")), RuntimeDir: t.TempDir()},
		"runtime folder is a file":    {Catalog: open(t, t.TempDir()), RuntimeDir: file},
		"runtime folder below a file": {Catalog: open(t, t.TempDir()), RuntimeDir: filepath.Join(file, "run")},
	} {
		t.Run(name, func(t *testing.T) {
			o.Events = noEvents
			h, err := pluginhost.New(o)
			if err != nil {
				t.Fatal(err)
			}
			if err := h.Start(); err == nil {
				t.Error("started")
			}
			if err := h.Stop(t.Context()); err != nil {
				t.Errorf("stop: %v", err)
			}
		})
	}
}

func TestNewRefusesIncompleteOptions(t *testing.T) {
	for field, o := range map[string]pluginhost.Options{
		"Catalog":    {RuntimeDir: "r", Events: noEvents},
		"RuntimeDir": {Catalog: open(t, t.TempDir()), Events: noEvents},
		"Events":     {Catalog: open(t, t.TempDir()), RuntimeDir: "r"},
	} {
		if _, err := pluginhost.New(o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("without %s: %v", field, err)
		}
	}
}

// A plugin gets its own configuration and an allow-listed environment, nothing else.
func TestEnvironmentDoesNotLeak(t *testing.T) {
	t.Setenv("PIGEONRY_POSTGRES_URL", "postgres://secret")
	t.Setenv("GRANTED", "yes")
	h := run(t, func(o *pluginhost.Options) { o.Env = []string{"GRANTED"} }, "good")
	h.connect("good")
	check, err := h.Check(t.Context(), "test/good")
	if err != nil {
		t.Fatal(err)
	}
	wantText(t, "environment", check.Message, `"GRANTED=yes"`, `"PATH=`, `stdin="",<nil>`)
	for _, leak := range []string{"PIGEONRY_POSTGRES_URL", "secret", "HOME="} {
		if strings.Contains(check.Message, leak) {
			t.Errorf("%s leaked: %s", leak, check.Message)
		}
	}
}

// Sockets lie in a folder that only the gateway may enter, also where the runtime folder's path is too
// long for them, and nothing is left of them.
func TestRuntimeFolderIsPrivateAndLeftEmpty(t *testing.T) {
	short, err := os.MkdirTemp("/tmp", "r") //nolint:usetesting // t.TempDir is too long
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(short) })
	for name, runtime := range map[string]string{
		"short": short,
		"long":  filepath.Join(t.TempDir(), strings.Repeat("long", 30)),
	} {
		t.Run(name, func(t *testing.T) {
			h := run(t, func(o *pluginhost.Options) { o.RuntimeDir = runtime }, "good")
			h.pid("good", 0)
			if inside := h.SocketFolder() == runtime; inside != (name == "short") {
				t.Errorf("sockets lie in %s", h.SocketFolder())
			}
			info, err := os.Stat(runtime)
			if err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("runtime folder: %v, %v", info.Mode(), err)
			}
			folders := socketFolders(t, runtime)
			if len(folders) != 1 {
				t.Fatalf("folders of sockets: %q", folders)
			}
			if info, err := os.Stat(folders[0]); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("folder of the socket: %v, %v", info.Mode(), err)
			}
			if err := h.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if left, _ := os.ReadDir(runtime); len(left) != 0 {
				t.Errorf("left in the runtime folder: %v", left)
			}
			if _, err := os.Stat(folders[0]); !os.IsNotExist(err) {
				t.Errorf("the socket's folder is left: %v", err)
			}
		})
	}
}

// A copy that somebody has tampered with is not executed: it is made anew from what was installed.
func TestDamagedCopyIsNotRestarted(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	pid := h.pid("good", 0)
	folder, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/cwd")
	if err != nil {
		t.Skip("no /proc")
	}
	executable := filepath.Join(folder, "good")
	if err := os.Remove(executable); err != nil {
		t.Fatal(err)
	}
	write(t, executable, []byte("#!/bin/sh\n"), 0o755)
	kill(t, pid)
	h.pid("good", pid)
	h.await("it is ready again", func() bool { return h.Ready("test/good") })
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("after the restart: %s", describeResult(got))
	}
}
