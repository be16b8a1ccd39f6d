package author_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/author"
)

// patience bounds what a test waits for.
const patience = 30 * time.Second

// gateway knows the versions in a folder, as the real one does.
type gateway struct {
	plugins string

	mu      sync.Mutex
	active  string
	refuse  error // the next rollout ends with it
	lost    error // no answer
	rising  int   // so many looks until the active version runs
	problem string
	removed []string
}

func (g *gateway) Versions(_ context.Context, plugin string) ([]author.Version, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lost != nil {
		return nil, g.lost
	}
	entries, _ := os.ReadDir(filepath.Join(g.plugins, plugin))
	var versions []author.Version
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		active := e.Name() == g.active
		versions = append(versions, author.Version{Version: e.Name(), Active: active, Running: active && g.rising == 0 && g.problem == "", Problem: g.problem})
	}
	g.rising = max(0, g.rising-1)
	if g.active == "" && len(versions) > 0 { // it takes a moment
		g.active = versions[len(versions)-1].Version
	}
	return versions, nil
}

func (g *gateway) RollOut(_ context.Context, _, version string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.active == "" {
		return errors.New("no version is active yet")
	}
	if err := g.refuse; err != nil {
		g.refuse = nil
		return err
	}
	g.rising, g.active = 2, version
	return nil
}

func (g *gateway) Remove(_ context.Context, plugin, version string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.removed = append(g.removed, version)
	return os.RemoveAll(filepath.Join(g.plugins, plugin, version))
}

func (g *gateway) set(f func(g *gateway)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(g)
}

// session is one run of Dev.
type session struct {
	t      *testing.T
	source string
	lines  chan string
	ended  chan error
	stop   context.CancelFunc
	*gateway
}

// Write implements io.Writer for what Dev says.
func (s *session) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		s.lines <- strings.TrimSpace(line)
	}
	return len(p), nil
}

// sourceScript is the source of a plugin that knows who it is and nothing else.
const (
	sourceScript = `echo '{"name": "pager", "version": "VERSION", "channels": ["pager"]}'`
	buildScript  = `mkdir -p "$1/pager/x" && sed "s/VERSION/${VERSION:-0.1.0}/" "$(dirname "$0")/plugin" >"$1/pager/x/pager" && chmod 755 "$1/pager/x/pager"`
)

func develop(t *testing.T, script string) *session {
	t.Helper()
	s := &session{t: t, source: t.TempDir(), lines: make(chan string, 1000), ended: make(chan error, 1), gateway: &gateway{}}
	s.plugins = filepath.Join(s.source, "plugins") // in the middle of the sources: it must not count as one
	program(t, filepath.Join(s.source, "build.sh"), script)
	s.save("plugin", sourceScript)
	ctx, stop := context.WithCancel(t.Context())
	s.stop = stop
	d := author.Dev{Source: s.source, Plugins: s.plugins, Gateway: s.gateway, Out: s}
	go func() { s.ended <- d.Run(ctx) }()
	t.Cleanup(stop)
	return s
}

func (s *session) save(file, script string) {
	s.t.Helper()
	program(s.t, filepath.Join(s.source, file), script)
}

// await reads lines until one matches, and returns what it caught; a line that must not come before fails the test.
func (s *session) await(pattern string, never ...string) string {
	s.t.Helper()
	timeout := time.After(patience)
	var seen []string
	for {
		select {
		case line := <-s.lines:
			seen = append(seen, line)
			if m := regexp.MustCompile(pattern).FindStringSubmatch(line); m != nil {
				return m[len(m)-1]
			}
			for _, n := range never {
				if strings.Contains(line, n) {
					s.t.Fatalf("before %q came %q", pattern, line)
				}
			}
		case <-timeout:
			s.t.Fatalf("no line like %q in\n%s", pattern, strings.Join(seen, "\n"))
		}
	}
}

func (s *session) finish() {
	s.t.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			s.t.Error(err)
		}
	case <-time.After(patience):
		s.t.Fatal("it does not end")
	}
}

const carries = `pager (0\.1\.0-dev\.\d{8}T\d{6}) carries the messages: built in .*, took over in`

// Each save becomes a version that takes over, and the one before goes; what fails changes nothing.
func TestDev(t *testing.T) {
	s := develop(t, buildScript)
	first := s.await(carries)
	s.save("plugin", sourceScript+" # changed")
	second := s.await(carries)
	if first == second || s.active != second {
		t.Errorf("%s follows %s, and %s is active", second, first, s.active)
	}

	s.save("plugin", "oops() { :; }; echo broken")
	s.await(`the build failed after .*found "broken".*; pager ` + second + ` carries the messages`)

	s.set(func(g *gateway) { g.refuse = errors.New("it was rolled back: it crashed\npanic: at the disco") })
	s.save("plugin", sourceScript+" # changed again")
	s.await(`failed: it was rolled back: it crashed; pager ` + second + ` carries the messages\. Save a file to try again`)
	s.await(`^panic: at the disco$`)

	s.set(func(g *gateway) { g.lost = errors.New("nobody listens there") })
	s.save("plugin", sourceScript+" # changed again") // the same once more: the last try failed
	s.await(`failed: nobody listens there`)

	s.set(func(g *gateway) { g.lost = nil })
	s.save("plugin", sourceScript+" # changed once more")
	last := s.await(carries)
	s.finish()
	s.await("stopped; pager " + last + " carries the messages")
	if there, _ := os.ReadDir(filepath.Join(s.plugins, "pager")); len(there) != 1 || there[0].Name() != last {
		t.Errorf("these are left: %v", there)
	}
	if !slices.Contains(s.removed, first) || !slices.Contains(s.removed, second) {
		t.Errorf("removed: %v", s.removed)
	}
}

// A save that changes nothing builds nothing; what is no source is none; a new folder is.
func TestDevWatchesSources(t *testing.T) {
	s := develop(t, buildScript)
	first := s.await(carries)
	for _, file := range []string{"plugin", "node_modules/x", ".git/x", "plugins/y/z", "x.log", "plugin~"} {
		s.save(file, sourceScript)
	}
	s.save("new/folder/file", "x")
	second := s.await(carries)
	s.finish()
	s.await("stopped; pager "+second, "carries the messages: ")
	if first == second {
		t.Error("one version, twice")
	}
}

// The first version of a plugin is not rolled out; one that does not start is told with its reason.
func TestDevFirstVersion(t *testing.T) {
	s := develop(t, buildScript)
	s.await(carries)
	if s.active == "" {
		t.Error("nothing is active")
	}
	s.finish()

	s = develop(t, `[ "$VERSION" ] || exec `+strings.ReplaceAll(buildScript, "mkdir", "true; mkdir"))
	s.await("it made no executable")
	s.set(func(g *gateway) { g.problem = "exit status 2\nno such module" })
	s.save("build.sh", buildScript)
	s.await(`failed: pager .* does not start: exit status 2; nothing was rolled out`)
	s.await("^no such module$")
	s.finish()
}

// Builds are pre-releases of what the sources say now, and of the next version if that is released.
func TestDevVersions(t *testing.T) {
	s := develop(t, buildScript)
	s.await(carries)
	s.save("build.sh", strings.ReplaceAll(buildScript, "0.1.0", "0.2.0"))
	s.await(`pager 0\.2\.0-dev\.\d{8}T\d{6} carries`)
	program(t, filepath.Join(s.plugins, "pager", "0.2.0", "pager"), sourceScript)
	s.save("plugin", sourceScript+" # changed")
	s.await(`pager 0\.2\.1-dev\.\d{8}T\d{6} carries`)
	s.finish()
	if there, _ := os.ReadDir(filepath.Join(s.plugins, "pager")); len(there) != 2 || there[0].Name() != "0.2.0" {
		t.Errorf("these are left: %v", there)
	}
}

// A build script that knows nothing of versions is told of them once.
func TestDevWithoutVersion(t *testing.T) {
	s := develop(t, strings.ReplaceAll(buildScript, "${VERSION:-0.1.0}", "0.1.0"))
	s.await(`the program calls itself 0\.1\.0, and not 0\.1\.0-dev\..*: build\.sh should heed the variable VERSION`)
	s.await(carries)
	s.save("plugin", sourceScript+" # changed")
	s.await(carries, "calls itself")
	s.finish()
}

// A build that takes its time ends with the command.
func TestDevEndsInBuild(t *testing.T) {
	fifo := filepath.Join(t.TempDir(), "begun")
	s := develop(t, fmt.Sprintf("echo >%q; exec tail -f /dev/null", fifo))
	deadline := time.After(patience)
	for tick := time.NewTicker(10 * time.Millisecond); ; {
		if _, err := os.Stat(fifo); err == nil {
			tick.Stop()
			break
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("the build does not begin")
		}
	}
	s.finish()
	s.await("stopped; nothing was rolled out", "failed")
}

func TestDevNeedsAPlugin(t *testing.T) {
	empty := t.TempDir()
	file := program(t, filepath.Join(t.TempDir(), "file"), ":")
	for _, test := range []struct{ source, fault string }{
		{empty, "has neither a build.sh nor a program in Go"},
		{file, "is no folder"},
		{filepath.Join(empty, "absent"), "find the plugin's sources"},
	} {
		d := author.Dev{Source: test.source, Plugins: t.TempDir(), Gateway: &gateway{}, Out: &session{lines: make(chan string, 10)}}
		if err := d.Run(t.Context()); err == nil || !strings.Contains(err.Error(), test.fault) {
			t.Errorf("%s: %v", test.source, err)
		}
	}
}
