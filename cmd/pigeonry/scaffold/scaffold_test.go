package scaffold_test

import (
	"bytes"
	"go/format"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
	"github.com/pigeonry/pigeonry/cmd/pigeonry/scaffold"
)

// checkout is the folder of this one.
var checkout = filepath.Join("..", "..", "..")

func project(language string) scaffold.Project {
	return scaffold.Project{Name: "pager-1", Channel: "beeper", Language: language, Module: "example.com/pager", SDK: checkout}
}

// Each project has all that its README names, and nothing of the templates' own.
func TestWrite(t *testing.T) {
	tests := map[string]struct {
		files    []string
		contains map[string]string
	}{
		"go": {
			[]string{".gitignore", "README.md", "build.sh", "go.mod", "go.sum", "main.go", "main_test.go", "test-config.json"},
			map[string]string{
				"main.go": `Name: "pager-1", Version: version, Channels: []string{"beeper"}`,
				"go.mod":  "module example.com/pager\n",
			},
		},
		"python": {
			[]string{
				".gitignore", "README.md", "build.sh", "channel.proto", "plugin/__main__.py", "plugin/channel.py", "plugin/channel_pb2.py",
				"plugin/gateway.py", "plugin/log.py", "plugin/service.py", "test-config.json", "test_channel.py",
			},
			map[string]string{"plugin/channel.py": `"channels": ["beeper"]`},
		},
		"node": {
			[]string{
				".gitignore", ".npmrc", "README.md", "build.sh", "package-lock.json", "package.json", "src/channel.js", "src/channel.proto",
				"src/gateway.js", "src/log.js", "src/main.js", "src/package.json", "src/service.js", "test-config.json", "test/channel.test.mjs",
			},
			map[string]string{"src/channel.js": "channels: ['beeper']", "package.json": `"name": "pager-1"`},
		},
	}
	if have := scaffold.Languages(); !slices.Equal(have, slices.Sorted(maps.Keys(tests))) {
		t.Errorf("languages: %v", have)
	}
	for language, test := range tests {
		t.Run(language, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "new", "pager")
			files, err := project(language).Write(dir)
			if err != nil || !slices.Equal(files, test.files) {
				t.Fatalf("%v: %v", err, files)
			}
			for _, file := range files {
				text, err := os.ReadFile(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				for _, stray := range []string{"my-plugin", "my-channel", "webhook-", "nolint", "../.."} {
					if bytes.Contains(text, []byte(stray)) {
						t.Errorf("%s says %q", file, stray)
					}
				}
				if want := test.contains[file]; !bytes.Contains(text, []byte(want)) {
					t.Errorf("%s lacks %q", file, want)
				}
				if tidy, err := format.Source(text); strings.HasSuffix(file, ".go") && (err != nil || !bytes.Equal(tidy, text)) {
					t.Errorf("%s is not formatted (%v)", file, err)
				}
			}
			if info, err := os.Stat(filepath.Join(dir, "build.sh")); err != nil || info.Mode().Perm() != 0o755 {
				t.Errorf("build.sh: %v, %v", info, err)
			}
			if _, err := project(language).Write(dir); err == nil || !strings.Contains(err.Error(), "is not empty: it has .gitignore") {
				t.Errorf("once more: %v", err)
			}
		})
	}
}

func TestWriteRefuses(t *testing.T) {
	tests := []struct {
		name   string
		change func(*scaffold.Project)
		fault  string
	}{
		{"a language", func(p *scaffold.Project) { p.Language = "cobol" }, `there is no project in "cobol"; choose one of go, node, python`},
		{"no SDK", func(p *scaffold.Project) { p.SDK = "" }, "name its folder with --sdk or PIGEONRY_SDK"},
		{"another folder", func(p *scaffold.Project) { p.SDK = t.TempDir() }, "is no checkout of Pigeonry"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := project("go")
			test.change(&p)
			dir := filepath.Join(t.TempDir(), "pager")
			if _, err := p.Write(dir); err == nil || !strings.Contains(err.Error(), test.fault) {
				t.Errorf("have %v", err)
			}
			if _, err := os.Stat(dir); err == nil {
				t.Error("a folder was made")
			}
		})
	}
}

func TestFindSDK(t *testing.T) {
	here, err := filepath.Abs(checkout)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		paths []string
		want  string
	}{
		{[]string{"."}, here},
		{[]string{filepath.Join("absent", "deep")}, here},
		{[]string{"", t.TempDir(), checkout}, here},
		{[]string{t.TempDir()}, ""},
		{nil, ""},
	} {
		if have := scaffold.FindSDK(test.paths...); have != test.want {
			t.Errorf("%v: have %q, want %q", test.paths, have, test.want)
		}
	}
}

// The commands that a README names are there, with those flags.
func TestReadmes(t *testing.T) {
	for _, language := range scaffold.Languages() {
		t.Run(language, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "pager")
			if _, err := project(language).Write(dir); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(dir, "README.md"))
			if err != nil {
				t.Fatal(err)
			}
			commands := 0
			for line := range strings.Lines(string(text)) {
				words := strings.Fields(strings.TrimSuffix(strings.TrimSpace(line), "&"))
				if len(words) < 2 || words[0] != "pigeonry" {
					continue
				}
				commands++
				var out bytes.Buffer
				p := cli.Process{Args: append(words[1:], "--help"), In: strings.NewReader(""), Out: &out, Err: &out}
				if code := cli.Run(t.Context(), p); code != 0 || !strings.Contains(out.String(), "Usage:\n  pigeonry "+words[1]) {
					t.Errorf("%s\n%s", line, out.String())
				}
			}
			if commands < 10 {
				t.Errorf("%d commands", commands)
			}
		})
	}
}

// Each project builds, and what it builds does what the gateway relies on. The projects in Go and Python run the whole
// kit in their own tests, which the test of sdk/README.md runs.
func TestProjects(t *testing.T) {
	quick := []string{"--case", "handshake", "--case", "describe by hand", "--case", "schema", "--case", "bad config", "--case", "one result per attempt"}
	tests := []struct {
		language string
		need     func(t *testing.T) (path string) // what goes before the PATH
		own      []string                         // its own tests
		kit      []string
	}{
		{"go", func(*testing.T) string { return "" }, nil, quick},
		{"python", needPython, nil, quick},
		{"node", needNode, []string{"npm", "test", "--silent"}, nil},
	}
	for _, test := range tests {
		t.Run(test.language, func(t *testing.T) {
			t.Setenv("PATH", test.need(t)+string(filepath.ListSeparator)+os.Getenv("PATH"))
			t.Setenv("PIGEONRY", "none") // the kit comes below
			dir := filepath.Join(t.TempDir(), "pager")
			if _, err := project(test.language).Write(dir); err != nil {
				t.Fatal(err)
			}
			for _, version := range []string{"", "7.0.0-dev.1"} {
				do(t, dir, "VERSION="+version, "./build.sh", "dist")
			}
			if len(test.own) > 0 {
				do(t, dir, "", test.own...)
			}
			for _, version := range []string{"0.1.0", "7.0.0-dev.1"} {
				binary := filepath.Join(dir, "dist", "pager-1", version, "pager-1")
				if out := do(t, dir, "", binary, "-describe"); !strings.Contains(out, `"version": "`+version+`"`) {
					t.Errorf("%s calls itself\n%s", binary, out)
				}
			}
			if left, _ := fs.Glob(os.DirFS(dir), ".build-*"); len(left) > 0 {
				t.Errorf("the build leaves %v", left)
			}
			var out bytes.Buffer
			args := []string{"plugin", "test", filepath.Join(dir, "dist", "pager-1", "0.1.0", "pager-1"), "--config", filepath.Join(dir, "test-config.json"), "--provider"}
			p := cli.Process{Args: append(args, test.kit...), Environ: os.Environ(), In: strings.NewReader(""), Out: &out, Err: &out}
			if code := cli.Run(t.Context(), p); code != 0 {
				t.Errorf("the kit:\n%s", out.String())
			}
		})
	}
}

// do runs a command in a folder, with one more variable.
func do(t *testing.T, dir, variable string, command ...string) string {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Dir, cmd.Env = dir, os.Environ()
	if variable != "" {
		cmd.Env = append(cmd.Env, variable)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", command, err, out)
	}
	return string(out)
}

// needPython makes a folder in which python3 is an interpreter with the packages that a plugin needs. Where there is
// none the test is left out; with CI=true it fails.
func needPython(t *testing.T) string {
	t.Helper()
	missing := "python3 is not installed"
	for _, name := range []string{"python3", "/usr/bin/python3"} {
		path, err := exec.LookPath(name)
		if err != nil {
			continue
		}
		out, err := exec.Command(path, "-c", "import sys, grpc, google.protobuf, cryptography; print(sys.executable)").CombinedOutput()
		if err != nil {
			missing = path + ": " + string(out)
			continue
		}
		dir := t.TempDir()
		if err := os.Symlink(strings.TrimSpace(string(out)), filepath.Join(dir, "python3")); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	leaveOut(t, missing)
	return ""
}

func needNode(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"node", "npm"} {
		if _, err := exec.LookPath(tool); err != nil {
			leaveOut(t, err.Error())
		}
	}
	return ""
}

func leaveOut(t *testing.T, why string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(why)
	}
	t.Skip("left out: ", why)
}
