package cli_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
	"github.com/pigeonry/pigeonry/core/api/client"
)

// acme is a program that says who it is.
const acme = "#!/bin/sh\necho '{\"name\": \"acme\", \"version\": \"1.1.0\", \"channels\": [\"pager\"]}'\n"

// executable writes a program, in a folder of the working directory.
func executable(t *testing.T, path, script string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// plugin runs a command of pigeonry plugin.
func plugin(t *testing.T, environ []string, args ...string) outcome {
	t.Helper()
	return run(t, cli.Process{Args: append([]string{"plugin"}, args...), Environ: environ})
}

func TestPluginNew(t *testing.T) {
	checkout, err := filepath.Abs(filepath.Join("..", "..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	sdk := []string{"PIGEONRY_SDK=" + checkout}
	o := plugin(t, sdk, "new", "pager")
	o.expect(t, 0, "pager holds the plugin pager: .gitignore, README.md, build.sh, go.mod", "")
	o.expect(t, 0, "\n\nNext:\n  cd pager\n  go test ./...\n  ./build.sh dist\n", "")
	plugin(t, sdk, "new", "pager").expect(t, 1, "", "write the project: pager is not empty: it has .gitignore; name another folder, or empty this one")
	plugin(t, nil, "new", "acme", "--lang", "python", "--dir", "a b", "--channel", "sms").expect(t, 0, "  cd 'a b'\n  python3 -m unittest\n", "")
	plugin(t, nil, "new", "acme", "--sdk", checkout, "--dir", "c", "--module", "example.org/x").expect(t, 0, "", "")
	if text, err := os.ReadFile("c/go.mod"); err != nil || !strings.HasPrefix(string(text), "module example.org/x\n") || !strings.Contains(string(text), "=> "+checkout) {
		t.Errorf("go.mod: %v\n%s", err, text)
	}
	plugin(t, nil, "new", "other").expect(t, 1, "", "name its folder with --sdk or PIGEONRY_SDK")
	plugin(t, nil, "new", "Pager!").expect(t, 1, "", `the name "Pager!" is not possible; use a–z, 0–9, - and _`)
	plugin(t, nil, "new", "pager", "--channel", "").expect(t, 1, "", "--sdk") // as if it was not given
	plugin(t, nil, "new", "pager", "--channel", "a b").expect(t, 1, "", `--channel "a b" is not possible`)
	plugin(t, nil, "new", "pager", "--lang", "cobol").expect(t, 1, "", `there is no project in "cobol"; choose one of go, node, python`)
	plugin(t, nil, "new").expect(t, 1, "", "accepts 1 arg(s)")
}

func TestPluginPack(t *testing.T) {
	t.Chdir(t.TempDir())
	tests := []struct {
		name   string
		files  map[string]string // beside the program dist/acme
		args   []string
		out    string
		fault  string
		absent bool // there is no program
	}{
		{name: "folder", args: []string{"dist"}, out: "acme 1.1.0 is packed: dist/plugin.hcl (sha256 "},
		{name: "executable", args: []string{"dist/acme"}, out: "archive: acme-1.1.0.tar.gz\npigeonry plugin install acme-1.1.0.tar.gz puts it"},
		{name: "another archive", args: []string{"dist", "-o", "x.tar.gz"}, out: "archive: x.tar.gz"},
		{name: "no archive", args: []string{"dist", "--no-archive", "--json"}, out: "\"manifest\": \"dist/plugin.hcl\"\n}"},
		{name: "another version", args: []string{"dist", "--version", "1.2.0", "--json"}, out: `"version": "1.2.0"`},
		{name: "channels", args: []string{"dist", "--channel", "a,b", "--json"}, out: "\"channels\": [\n    \"a\",\n    \"b\"\n  ]"},
		{name: "a draft", files: map[string]string{"plugin.hcl": "name = \"acme\"\nversion = \"1.1.0\"\nchannels = [\"x\"]\n"}, args: []string{"dist", "--json"}, out: `"x"`},
		{name: "a bad draft", files: map[string]string{"plugin.hcl": "nam = \"acme\"\n"}, args: []string{"dist"}, fault: `dist/plugin.hcl:1:1: unknown key "nam"`},
		{name: "another name", args: []string{"dist", "--name", "apex"}, fault: "shall be called apex, and its program says that it is acme"},
		{
			name: "of another version", files: map[string]string{"plugin.hcl": manifest("1.0.0", "acme")}, args: []string{"dist"},
			fault: "is about version 1.0.0, and the program says that it is 1.1.0; remove the file, or give --version",
		},
		{
			name: "of another program", files: map[string]string{"plugin.hcl": manifest("1.1.0", "other"), "other": ""}, args: []string{"dist/acme"},
			fault: "is about another executable, other; remove the file, or pack its folder",
		},
		{name: "two programs", files: map[string]string{"b": acme}, args: []string{"dist"}, fault: "more than one executable: acme, b; name one of them"},
		{name: "mute", files: map[string]string{"acme": "#!/bin/sh\nexit 1\n"}, args: []string{"dist"}, fault: "or give --name and --version"},
		{
			name: "for another machine", files: map[string]string{"acme": "#!/bin/sh\nexit 1\n"}, args: []string{"dist", "--name", "acme", "--version", "2.0.0"},
			out: "acme 2.0.0 is packed",
		},
		{name: "absent", args: []string{"nowhere"}, fault: "find the plugin: stat nowhere: no such file or directory"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Chdir(t.TempDir())
			executable(t, "dist/acme", acme)
			for name, content := range test.files {
				executable(t, filepath.Join("dist", name), content)
			}
			code := 0
			if test.fault != "" {
				code = 1
			}
			plugin(t, nil, append([]string{"pack"}, test.args...)...).expect(t, code, test.out, test.fault)
		})
	}
}

func manifest(version, executable string) string {
	return fmt.Sprintf("name = \"acme\"\nversion = %q\nexecutable = %q\nsha256 = %q\n", version, executable, strings.Repeat("ab", 32))
}

// What is packed and signed is installed where the key is trusted, and nowhere else.
func TestPluginSign(t *testing.T) {
	t.Chdir(t.TempDir())
	executable(t, "dist/acme", acme)
	for _, name := range []string{"acme", "apex"} {
		plugin(t, nil, "keygen", name+".key", "--no-password").expect(t, 0, `trusted_keys = [file("`+name+`.key.pub")]`, "")
		trust(t, name)
	}
	if info, err := os.Stat("acme.key"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret key: %v, %v", info, err)
	}
	// What looks like a secret key with a password.
	encrypted := base64.StdEncoding.EncodeToString(append([]byte("EdScB2"), make([]byte, 152)...))
	executable(t, "encrypted.key", "untrusted comment: minisign encrypted secret key\n"+encrypted+"\n")

	tests := []struct {
		args       []string
		out, fault string
	}{
		{[]string{"keygen", "acme.key", "--no-password"}, "", "file exists"},
		{[]string{"keygen", "b.key"}, "", "the key needs a password; set PIGEONRY_SIGN_PASSWORD, make the key at a terminal, or say --no-password"},
		{[]string{"sign", "dist", "--key", "acme.key"}, "", "find what to sign: stat dist/plugin.hcl: no such file or directory; pigeonry plugin pack writes it"},
		{[]string{"pack", "dist", "--key", "encrypted.key"}, "", "the key encrypted.key has a password; set PIGEONRY_SIGN_PASSWORD, or sign at a terminal"},
		{[]string{"pack", "dist", "--key", "acme.key", "-o", "acme.tar.gz"}, "signature: dist/plugin.hcl.minisig\narchive: acme.tar.gz", ""},
		{[]string{"install", "acme.tar.gz", "-c", "acme.hcl", "--json"}, `"signed": true`, ""},
		{[]string{"install", "acme.tar.gz", "-c", "apex.hcl"}, "", "sign"},
		{[]string{"sign", "dist/plugin.hcl", "--key", "apex.key"}, "signed: dist/plugin.hcl.minisig\n", ""},
		{[]string{"install", "dist", "-c", "apex.hcl", "--json"}, `"signed": true`, ""},
		{[]string{"sign", "dist", "--key", "absent.key"}, "", "read the secret key: open absent.key"},
		{[]string{"sign", "dist", "--key", "acme.key.pub"}, "", "sign: sign with acme.key.pub"},
		{[]string{"sign", "dist"}, "", `required flag(s) "key" not set`},
	}
	for _, test := range tests {
		code := 0
		if test.fault != "" {
			code = 1
		}
		plugin(t, nil, test.args...).expect(t, code, test.out, test.fault)
	}
	executable(t, "dist/acme", acme+"# another build\n")
	plugin(t, nil, "sign", "dist", "--key", "apex.key").expect(t, 1, "", "wrong checksum")
}

// trust writes settings that trust a key.
func trust(t *testing.T, name string) {
	t.Helper()
	settings := fmt.Sprintf("plugins {\n  dir = %q\n  require_signature = true\n  trusted_keys = [file(%q)]\n}\n", name+"-plugins", name+".key.pub")
	if err := os.WriteFile(name+".hcl", []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A key with a password is made and used. It costs a gigabyte of memory and seconds each time, and much more under
// the race detector.
func TestPluginSignWithPassword(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("the password costs too much here")
	}
	t.Chdir(t.TempDir())
	executable(t, "dist/acme", acme)
	word := []string{"PIGEONRY_SIGN_PASSWORD=correct horse"}
	plugin(t, word, "keygen", "acme.key").expect(t, 0, "acme.key is the secret key: keep it", "")
	trust(t, "acme")
	plugin(t, word, "pack", "dist", "--key", "acme.key", "-o", "acme.tar.gz").expect(t, 0, "archive: acme.tar.gz", "")
	plugin(t, nil, "install", "acme.tar.gz", "-c", "acme.hcl", "--json").expect(t, 0, `"signed": true`, "")
	plugin(t, []string{"PIGEONRY_SIGN_PASSWORD=wrong"}, "sign", "dist", "--key", "acme.key").expect(t, 1, "", "sign: sign with acme.key")
}

// raceDetector says whether the tests run under the race detector.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestPluginBench(t *testing.T) {
	t.Chdir("../scaffold/golang")
	dir := t.TempDir()
	binary := filepath.Join(dir, "my-plugin")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	config := filepath.Join("..", "common", "test-config.json")
	quick := []string{"bench", dir, "--config", config, "--provider", "--time", "20ms", "--batch", "1,5", "--callers", "2"}
	o := plugin(t, nil, quick...)
	o.expect(t, 0, "BATCH  CALLERS  MESSAGES/S  P50 ", "")
	if lines := strings.Split(o.out, "\n"); len(lines) != 4 || !strings.HasPrefix(lines[2], "5      2 ") || o.err != "" {
		t.Errorf("the table:\n%s%s", o.out, o.err)
	}
	o = plugin(t, nil, append(quick, "--json")...)
	var all []author.Measurement
	if err := json.Unmarshal([]byte(o.out), &all); err != nil || len(all) != 2 || all[1].Outcomes["accepted"] != all[1].Messages {
		t.Errorf("%v in %s", err, o.out)
	}
	plugin(t, nil, append(quick, "--recipient", "channeltest-refused")...).
		expect(t, 1, "NOT ACCEPTED", "were not accepted, the first because of http_status: provider answered 400 Bad Request")
	plugin(t, nil, "bench", binary).expect(t, 1, "", "it refuses the config of --config:\n  url: ")
	plugin(t, nil, "bench", "absent").expect(t, 1, "", "find the plugin: stat absent")
	plugin(t, nil, "bench", binary, "--batch", "0").expect(t, 1, "", "--batch 0 is out of bounds; use 1 to ")
	plugin(t, nil, "bench", binary, "--callers", "100000").expect(t, 1, "", "--callers 100000 is out of bounds; use 1 to 1000")
	plugin(t, nil, "bench", binary, "--time", "0s").expect(t, 1, "", "--time must be more than nothing")
}

// devAPI answers about one plugin, whose versions lie in a folder, as far as dev asks.
type devAPI struct {
	plugins string
	mu      sync.Mutex
	active  string
	bad     bool // the next rollout goes back
	latest  client.Rollout
	asked   []string
}

func (g *devAPI) installed() []string {
	entries, _ := os.ReadDir(filepath.Join(g.plugins, "acme"))
	var names []string
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}

func (g *devAPI) serve(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	handle := func(pattern string, f func(r *http.Request) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			g.mu.Lock()
			defer g.mu.Unlock()
			if data := f(r); data != nil {
				answerWith(w, 200, data)
			} else {
				refuse(w, http.StatusNotFound, `{"code":2011,"message":"plugin not found","request_id":"r1"}`)
			}
		})
	}
	handle("GET /api/plugins", func(*http.Request) any {
		p := client.Plugin{Name: "acme", Active: g.active, Channels: []string{}, Capabilities: []string{}, Generations: []client.Generation{}}
		for _, v := range g.installed() {
			state := map[bool]client.GenerationState{true: "active", false: "failed"}[v == g.active]
			p.Generations = append(p.Generations, client.Generation{Version: v, State: state, LastStderr: "last words\n"})
		}
		return client.PluginList{Items: []client.Plugin{p}}
	})
	handle("GET /api/plugins/acme/versions", func(*http.Request) any {
		list := client.VersionList{}
		for _, v := range g.installed() {
			if g.active == "" {
				g.active = v
			}
			list.Items = append(list.Items, client.PluginVersion{Version: v, Active: v == g.active, State: "running"})
		}
		if len(list.Items) == 0 {
			return nil
		}
		return list
	})
	handle("POST /api/plugins/acme/rollouts", func(r *http.Request) any {
		body, _ := io.ReadAll(r.Body)
		g.asked = append(g.asked, string(body))
		var request client.RolloutRequest
		_ = json.Unmarshal(body, &request)
		g.latest = client.Rollout{Id: 7, Plugin: "acme", From: g.active, To: request.Version, State: "promoted"}
		if g.bad {
			g.latest.State, g.latest.Reason = "rolled_back", "it crashed"
		} else {
			g.active = request.Version
		}
		return g.latest
	})
	handle("GET /api/plugins/acme/rollouts/7", func(*http.Request) any { return client.RolloutDetail{Rollout: g.latest} })
	handle("DELETE /api/plugins/acme/versions/{version}", func(r *http.Request) any {
		version := r.PathValue("version")
		if err := os.RemoveAll(filepath.Join(g.plugins, "acme", version)); err != nil {
			t.Error(err)
		}
		return client.VersionResult{Plugin: "acme", Version: version}
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

// lines passes on what a command writes, line by line.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		l <- line
	}
	return len(p), nil
}

func (l lines) await(t *testing.T, text string) {
	t.Helper()
	var seen strings.Builder
	timeout := time.After(30 * time.Second)
	for {
		select {
		case line := <-l:
			seen.WriteString(line)
			if strings.Contains(line, text) {
				return
			}
		case <-timeout:
			t.Fatalf("no line with %q in\n%s", text, seen.String())
		}
	}
}

func TestPluginDev(t *testing.T) {
	t.Chdir(t.TempDir())
	build := "#!/bin/sh\nmkdir -p \"$1/acme/x\" && cp acme \"$1/acme/x/acme\"\n"
	executable(t, "source/build.sh", build)
	executable(t, "source/acme", acme)
	g := &devAPI{plugins: "plugins"}
	server := g.serve(t)
	settings := fmt.Sprintf("listen = %q\nplugins {\n  dir = \"plugins\"\n}\n", strings.TrimPrefix(server.URL, "http://"))
	if err := os.WriteFile("gateway.hcl", []byte(settings), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	out, code := make(lines, 1000), make(chan int)
	go func() {
		p := cli.Process{Args: []string{"plugin", "dev", "source", "--key", key}, In: strings.NewReader(""), Out: out, Err: out}
		code <- cli.Run(ctx, p)
	}()
	out.await(t, "watching source; plugins go to plugins, and take over at "+server.URL+". Ctrl-C ends it")
	out.await(t, "carries the messages: built in")
	executable(t, "source/acme", acme+"# changed\n")
	out.await(t, "carries the messages: built in")
	g.mu.Lock()
	g.bad = true
	if want := `{"options":{"bake_ms":0},"strategy":"immediate","version":"` + g.active + `"}`; len(g.asked) != 1 || sorted(t, " "+g.asked[0]) != " "+want {
		t.Errorf("asked for %q, want %s", g.asked, want)
	}
	g.mu.Unlock()
	executable(t, "source/acme", acme+"# changed again\n")
	out.await(t, "was rolled back: it crashed; acme 1.1.0-dev.")
	out.await(t, "last words")
	stop()
	if c := <-code; c != 0 {
		t.Errorf("it ends with %d", c)
	}
	out.await(t, "stopped; acme 1.1.0-dev.")

	run(t, cli.Process{Args: []string{"plugin", "dev", "source"}}).expect(t, 1, "", "no API key; give --key")
	run(t, cli.Process{Args: []string{"plugin", "dev", "absent", "--key", key}}).expect(t, 1, "", "find the plugin's sources")
}
