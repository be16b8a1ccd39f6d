package main_test

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// guide is the page that authors begin with, and where in it their steps are.
const guide = "../../sdk/README.md"

const guideSection = "From nothing to a delivered message"

// A new author gets from nothing to a delivered message by the steps of sdk/README.md, as they stand there. Only the two
// addresses are others, so that tests may run side by side.
func TestAuthor(t *testing.T) {
	binaries, err := built()
	if err != nil {
		t.Fatal(err)
	}
	steps := guideSteps(t)
	tests := []struct {
		name, begin string
		need        func(t *testing.T) (path string)
	}{
		{"Go", "Begin in Go", func(*testing.T) string { return "" }},
		{"Python", "Begin in Python", needPython},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel() // most of it is waiting
			began := time.Now()
			path := test.need(t)
			script := "set -eu\n"
			for _, heading := range []string{test.begin, "Give it to a gateway", "Send", "Go on"} {
				if steps[heading] == "" {
					t.Fatalf("%s has no steps under %q", guide, heading)
				}
				script += steps[heading]
			}
			sandbox := freeAddress(t)
			script = strings.NewReplacer("127.0.0.1:8080", freeAddress(t), "127.0.0.1:8025", sandbox).Replace(script)
			out := followGuide(t, script, strings.Join([]string{path, sandboxAt(t, binaries, sandbox), binaries, os.Getenv("PATH")}, ":"))
			for _, want := range []string{
				"1 connector, store sqlite, queue memory", "accepted: message ", "pager/main", "3 nodes in ",
				`"channel":"pager","to":"ann"`, `"text":"Hello, Ann"`,
			} {
				if !strings.Contains(out, want) {
					t.Errorf("the steps do not show %q", want)
				}
			}
			if t.Failed() {
				t.Logf("the steps:\n%s\nwhat they printed:\n%s", script, out)
			}
			t.Logf("from nothing to a delivered message in %s: %.1f s", test.name, time.Since(began).Seconds())
		})
	}
}

// While `plugin dev` runs, a save becomes a version that takes over; what does not build changes nothing.
func TestAuthorDev(t *testing.T) {
	t.Parallel() // most of it is waiting
	binaries, err := built()
	if err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, sandbox: startSandbox(t), dir: t.TempDir(), address: freeAddress(t)}
	source, plugins := filepath.Join(s.dir, "pager"), filepath.Join(s.dir, "plugins")
	if err := os.Mkdir(plugins, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(filepath.Join(binaries, "pigeonry"), "plugin", "new", "pager", "--dir", source, "--sdk", "../..").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	s.config = filepath.Join(s.dir, "gateway.hcl")
	config := fmt.Sprintf("listen = %q\ndata_dir = %q\nplugins {\n  dir = %q\n}\nconnector \"pager\" \"main\" {\n  plugin = \"pager\"\n  config {\n    url = %q\n    token = \"s3cret-token\"\n  }\n}\n",
		s.address, filepath.Join(s.dir, "data"), plugins, "http://"+s.sandbox.HTTP+"/hooks/pager")
	if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	s.gateway = launch(t, "pigeonry", []string{"PIGEONRY_BOOTSTRAP_KEY=" + testKey}, nil, "serve", "-c", s.config)
	s.await("the gateway listens", 30*time.Second, func() bool {
		_, _, err := s.call(http.MethodGet, "/healthz", nil)
		return err == nil
	})
	dev := launch(t, "pigeonry", []string{"PIGEONRY_API_KEY=" + testKey}, nil, "plugin", "dev", source, "-c", s.config)
	const done = "carries the messages: built in"
	turns := func(what, text string, n int) {
		t.Helper()
		s.await(what, time.Minute, func() bool {
			s.last = dev.output.String()
			return strings.Count(s.last, text) == n
		})
	}
	edit := func(from, to string) {
		t.Helper()
		file := filepath.Join(source, "main.go")
		text, err := os.ReadFile(file)
		if err != nil || !strings.Contains(string(text), from) {
			t.Fatalf("main.go has no %q (%v)", from, err)
		}
		if err := os.WriteFile(file, []byte(strings.Replace(string(text), from, to, 1)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	says := func(to, text string) {
		t.Helper()
		get[any](s, http.MethodPost, "/api/messages/send", map[string]any{"channel": "pager", "recipient": to, "content": "Hello"})
		s.await(to+" has a message", 10*time.Second, func() bool { return len(s.inbox("pager", to)) > 0 })
		if have := s.inbox("pager", to)[0].Text; have != text {
			t.Errorf("%s reads %q, want %q", to, have, text)
		}
	}
	turns("the first version", done, 1)
	says("ann", "Hello")
	edit("Text: m.Text()", `Text: m.Text() + "!"`)
	turns("the second version", done, 2)
	says("bob", "Hello!")
	edit(`m.Text() + "!"`, "m.Text() + 1")
	turns("a failed build", "the build failed after", 1)
	says("carl", "Hello!")
	if err := dev.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case <-dev.exited:
	case <-time.After(10 * time.Second):
		t.Fatal("plugin dev does not end")
	}
	if out := dev.output.String(); dev.err != nil || !strings.Contains(out, "./main.go:") || !strings.Contains(out, "stopped; pager 0.1.0-dev.") {
		t.Errorf("plugin dev ends with %v and said\n%s", dev.err, out)
	}
	s.await("one version is left", 20*time.Second, func() bool {
		left, _ := filepath.Glob(filepath.Join(plugins, "pager", "[0-9]*"))
		s.last = strings.Join(left, ", ")
		return len(left) == 1
	})
}

// guideSteps are the shell blocks of the section, by the heading above each.
func guideSteps(t *testing.T) map[string]string {
	t.Helper()
	file, err := os.Open(guide)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	steps := map[string]string{}
	inSection, inBlock, heading := false, false, ""
	for lines := bufio.NewScanner(file); lines.Scan(); {
		line := lines.Text()
		switch {
		case inBlock && line == "```":
			inBlock = false
		case inBlock:
			steps[heading] += line + "\n"
		case strings.HasPrefix(line, "## "):
			inSection = strings.TrimPrefix(line, "## ") == guideSection
		case strings.HasPrefix(line, "### "):
			heading = strings.TrimPrefix(line, "### ")
		case inSection && line == "```sh":
			inBlock = true
		}
	}
	return steps
}

// followGuide runs the steps in an empty folder, and returns what they printed.
func followGuide(t *testing.T, script, path string) string {
	t.Helper()
	checkout, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = t.TempDir()
	_, rest, _ := strings.Cut(script, `listen = "`)
	address, _, _ := strings.Cut(rest, `"`)
	cmd.Env = append(os.Environ(), "PATH="+path, "PIGEONRY_SDK="+checkout, "PIGEONRY_URL=http://"+address)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	out, err := cmd.CombinedOutput()
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what a failed step has left running
	}
	if err != nil {
		t.Fatalf("the steps end with %v:\n%s\nthey are:\n%s", err, out, script)
	}
	return string(out)
}

// sandboxAt makes a folder with a pigeonry-sandbox that listens elsewhere than by default.
func sandboxAt(t *testing.T, binaries, address string) string {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf("#!/bin/sh\nexec %s -http %s -smtp 127.0.0.1:0 -smpp 127.0.0.1:0 \"$@\"\n", filepath.Join(binaries, "pigeonry-sandbox"), address)
	if err := os.WriteFile(filepath.Join(dir, "pigeonry-sandbox"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// needPython makes a folder in which python3 is an interpreter with the packages that the guide names. Where there is
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
	if os.Getenv("CI") == "true" {
		t.Fatal(missing)
	}
	t.Skip("left out: ", missing)
	return ""
}
