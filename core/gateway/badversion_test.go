package gateway_test

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// badVersion is a version of the plugin echo that cannot run. Most are scripts: what executes them behaves so.
type badVersion struct {
	name string
	lay  func(f folder, dir string) // puts the version into a folder
	says []string                   // the error, in parts: its name, what was expected, what was found
}

// script is a version that is a shell script, in which ECHO is the executable of the sound version.
func script(text string) func(folder, string) {
	return func(f folder, dir string) {
		text := strings.ReplaceAll(text, "ECHO", f.path("plugins", "echo", "1.0.0", "echo"))
		f.write(filepath.Join(dir, "echo"), "#!/bin/sh\n"+text+"\n", 0o755)
	}
}

// refused are versions whose files show that they cannot run: no rollout to them begins.
func refused() []badVersion {
	return []badVersion{
		{"missing", func(folder, string) {}, []string{"missing file: expected the executable ", "found no such file"}},
		{
			"not executable", func(f folder, dir string) { f.write(filepath.Join(dir, "echo"), "#!/bin/sh\n", 0o644) },
			[]string{"not executable: expected a file that may be executed, found mode -rw-r--r--"},
		},
		{
			"wrong architecture", func(f folder, dir string) { f.write(filepath.Join(dir, "echo"), foreignProgram(), 0o755) },
			[]string{"wrong architecture or format: expected an executable for ", "found an ELF file for "},
		},
		{
			"wrong checksum", func(f folder, dir string) {
				script("exit 0")(f, dir)
				f.pack(dir)
				script("exit 1")(f, dir)
			},
			[]string{"wrong checksum: expected sha256 ", "found sha256 "},
		},
		{
			"wrong signature", func(f folder, dir string) {
				script("exit 0")(f, dir)
				f.pack(dir)
				if _, err := catalog.Sign(filepath.Join(dir, catalog.ManifestFile), f.path("key"), ""); err != nil {
					f.t.Fatal(err)
				}
				f.edit(filepath.Join(dir, catalog.ManifestFile), func(text string) string { return "# changed\n" + text })
			},
			[]string{"wrong signature: expected a signature by the trusted key ", "found one by ", "which does not fit plugin.hcl"},
		},
		{
			"not its own name", func(f folder, dir string) {
				script("exit 0")(f, dir)
				f.pack(dir)
				f.edit(filepath.Join(dir, catalog.ManifestFile), func(text string) string { return strings.Replace(text, `"echo"`, `"other"`, 1) })
			},
			[]string{"manifest of another version: expected echo ", "found other "},
		},
	}
}

// takenBack are versions that show only once they run that they cannot: the rollout to them is rolled back.
func takenBack() []badVersion {
	return []badVersion{
		{
			"no handshake", script("echo who am I?; exit 4"),
			[]string{"no handshake: expected the handshake 1|1|unix|", "found that the process ended with exit status 4 without it"},
		},
		{
			"wrong protocol", script(`echo "1|7|unix|$PLUGIN_UNIX_SOCKET_DIR/s|grpc|Y2VydA"; exec sleep 60`),
			[]string{"protocol mismatch: expected protocol version 1, found 7"},
		},
		{"slow start", script("exec sleep 60"), []string{"slow start: expected the handshake ", " within 10s, found none"}},
		{"name already taken", script(`BEHAVIOR=misnamed exec ECHO`), []string{"name mismatch: expected the plugin \"echo\"", "found \"other\""}},
		{"oversize reply", script(`BEHAVIOR=oversize exec ECHO`), []string{"Describe: oversize reply: expected at most 16777216 bytes, found more"}},
		{"crash on start", script("echo no luck today >&2; exit 3"), []string{"no handshake", "exit status 3"}},
	}
}

// A version that cannot run is named with what was expected and what was found: either no rollout to it begins, or it is
// rolled back by itself. The old version carries on, and the other plugin notices nothing.
func TestRolloutToAVersionThatCannotRun(t *testing.T) {
	f := newFolder(t, "echo", "other")
	if _, err := catalog.GenerateKey(f.path("key"), ""); err != nil {
		t.Fatal(err)
	}
	r := f.run("plugins { trusted_keys = [file(\"" + f.path("key.pub") + "\")] }\n" + f.connector("main", "") + f.connectorOf("other", "second", "    color = \"red\""))
	other := r.pidOf("other")
	for i, bad := range refused() {
		t.Run(bad.name, func(t *testing.T) {
			version := fmt.Sprintf("2.0.%d", i)
			r.install(version, bad.lay)
			status, answer := r.rollOut(version)
			if status != http.StatusConflict {
				t.Errorf("status %d: %s", status, answer)
			}
			wantParts(t, answer, bad.says)
			r.sent("echo/main")
		})
	}
	for i, bad := range takenBack() {
		t.Run(bad.name, func(t *testing.T) {
			version := fmt.Sprintf("3.0.%d", i)
			r.install(version, bad.lay)
			end := r.outcome(version)
			if end.State != "rolled_back" {
				t.Errorf("the rollout ended as %+v", end)
			}
			wantParts(t, end.Reason, bad.says)
			r.sent("echo/main")
		})
	}
	// Noise is no fault: this one takes over.
	r.install("4.0.0", script(`printf 'loading...\n%0100000d\nready ' 7; echo '{"@message": 1}' >&2; exec ECHO`))
	if end := r.outcome("4.0.0"); end.State != "promoted" {
		t.Errorf("the noisy version: %+v", end)
	}
	r.sent("echo/main")
	if r.pidOf("other") != other || f.journal("second") != "red" {
		t.Errorf("the other plugin was started again, or its connector opened as %q", f.journal("second"))
	}
}

func wantParts(t *testing.T, text string, parts []string) {
	t.Helper()
	for _, part := range parts {
		quoted, _ := json.Marshal(part) // as it stands within JSON
		if !strings.Contains(text, part) && !strings.Contains(text, strings.Trim(string(quoted), `"`)) {
			t.Errorf("%q is not in: %s", part, text)
		}
	}
}

// foreignProgram is a program for another machine, as far as anybody reads it before it runs.
func foreignProgram() string {
	h := elf.Header64{
		Ident: [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(elf.ELFCLASS64), byte(elf.ELFDATA2LSB), byte(elf.EV_CURRENT)},
		Type:  uint16(elf.ET_EXEC), Machine: uint16(elf.EM_SPARCV9), Version: uint32(elf.EV_CURRENT), Ehsize: 64, Phentsize: 56, Shentsize: 64,
	}
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, h) // to a buffer it never fails
	return b.String()
}

func (f folder) write(path, text string, mode os.FileMode) {
	f.t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		f.t.Fatal(err)
	}
}

// edit changes a file.
func (f folder) edit(path string, change func(string) string) {
	f.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		f.t.Fatal(err)
	}
	f.write(path, change(string(b)), 0o644)
}

// pack gives a version of the plugin echo its manifest.
func (f folder) pack(dir string) {
	f.t.Helper()
	version := strings.TrimSuffix(filepath.Base(dir), ".tmp")
	if _, err := catalog.Pack(dir, catalog.PackOptions{Manifest: catalog.Manifest{Name: "echo", Version: version}}); err != nil {
		f.t.Fatal(err)
	}
}

// install puts a version of the plugin echo into the plugins folder and waits until the gateway has found it.
func (r *running) install(version string, lay func(f folder, dir string)) {
	r.t.Helper()
	home := r.path("plugins", "echo", version)
	if err := os.Mkdir(home+".tmp", 0o755); err != nil {
		r.t.Fatal(err)
	}
	lay(r.folder, home+".tmp")
	if err := os.Rename(home+".tmp", home); err != nil {
		r.t.Fatal(err)
	}
	r.await("the version is found", func() bool {
		_, answer := r.call(http.MethodGet, "/api/plugins", nil)
		return strings.Contains(answer, `"`+version+`"`)
	})
}

// rollOut asks for a rollout of a version of the plugin echo.
func (r *running) rollOut(version string) (int, string) {
	r.t.Helper()
	return r.call(http.MethodPost, "/api/plugins/echo/rollouts", map[string]any{"version": version, "strategy": "immediate"})
}

// rolledOut is a rollout, as the API tells it.
type rolledOut struct {
	ID            int64
	State, Reason string
}

// outcome rolls a version of the plugin echo out and waits for the end.
func (r *running) outcome(version string) rolledOut {
	r.t.Helper()
	status, answer := r.rollOut(version)
	var begun struct{ Data rolledOut }
	if err := json.Unmarshal([]byte(answer), &begun); err != nil || status != http.StatusCreated {
		r.t.Fatalf("roll out %s: %d, %v: %s", version, status, err, answer)
	}
	var detail struct{ Data struct{ Rollout rolledOut } }
	r.await("the rollout has ended", func() bool {
		_, answer := r.call(http.MethodGet, fmt.Sprintf("/api/plugins/echo/rollouts/%d", begun.Data.ID), nil)
		if err := json.Unmarshal([]byte(answer), &detail); err != nil {
			r.t.Fatalf("%v in %s", err, answer)
		}
		return detail.Data.Rollout.State == "promoted" || detail.Data.Rollout.State == "rolled_back"
	})
	return detail.Data.Rollout
}

// pidOf is the process of a plugin's active version.
func (r *running) pidOf(plugin string) int {
	r.t.Helper()
	_, answer := r.call(http.MethodGet, "/api/plugins", nil)
	var list struct {
		Data struct {
			Items []struct {
				Name, Active string
				Generations  []struct {
					Version string
					PID     int
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(answer), &list); err != nil {
		r.t.Fatalf("%v in %s", err, answer)
	}
	for _, p := range list.Data.Items {
		for _, g := range p.Generations {
			if p.Name == plugin && g.Version == p.Active {
				return g.PID
			}
		}
	}
	r.t.Fatalf("plugin %s has no active version: %s", plugin, answer)
	return 0
}
