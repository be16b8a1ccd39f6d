package main_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The file is changed while the gateway runs: a limit comes, a connector comes, a fault changes nothing and
// is named with its place, and SIGHUP reads what no watch can see.
func TestReload(t *testing.T) { onBoth(t, startSystem, reload) }

func reload(s *system) {
	t := s.t
	pid := s.plugin("email")
	original := s.readConfig()

	s.writeConfig(original + "\nlimit \"api:/messages/send\" {\n  type   = \"sliding_window\"\n  max    = 1\n  window = \"1h\"\n}\n")
	s.awaitReloads(1)
	if first, second := s.sendMail("email/main"), s.sendMail("email/main"); first != http.StatusOK || second != http.StatusTooManyRequests {
		t.Errorf("under a limit of 1: %d, %d", first, second)
	}

	main := original[strings.Index(original, `connector "email"`):strings.Index(original, `connector "sms"`)]
	extended := original + strings.Replace(main, `"main"`, `"second"`, 1)
	s.writeConfig(extended)
	s.awaitReloads(2)
	if status := s.sendMail("email/second"); status != http.StatusOK {
		t.Errorf("the new connector: %d", status)
	}
	s.await("a mail went through the new connector", 20*time.Second, func() bool {
		return len(s.inbox("email", "second@example.com")) == 1
	})

	s.writeConfig(extended + "\nlimi \"api:/messages/send\" {\n}\n\nmax_attempts = 0\n")
	s.await("the fault is refused", 10*time.Second, func() bool { return s.logs("the earlier ones stay in force") == 1 })
	line := strings.Count(extended, "\n") + 2
	for _, want := range []string{ // the block that nobody knows, and the value out of bounds
		place(s.config, line, 1), place(s.config, line+3, 16),
	} {
		if s.logs(want) != 1 {
			t.Errorf("the log does not name %s", want)
		}
	}
	if status := s.sendMail("email/second"); status != http.StatusOK {
		t.Errorf("after a refused file: %d", status)
	}

	s.writeConfig(strings.Replace(extended, s.address, "127.0.0.1:9", 1))
	s.awaitReloads(3)
	if s.logs("need a restart") != 1 || s.logs(`settings="listen, public_url"`) != 1 {
		t.Error("the log does not say that listen needs a restart")
	}

	if err := s.gateway.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	s.awaitReloads(4)
	if s.plugin("email") != pid {
		t.Error("the plugin was started anew")
	}
	if n := s.logs(`"connector configured"`); n != 3 {
		t.Errorf("connectors were configured %d times, want email/main, sms/main and email/second once each", n)
	}

	s.writeConfig(extended + "\nlog { level = \"error\" }\n")
	s.awaitReloads(5)
	if err := s.gateway.terminate(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	if s.logs("gateway: draining") != 0 {
		t.Error("the log level is still info")
	}
}

// The file is behind a link of its folder, as in a mounted Kubernetes ConfigMap: the link is replaced.
func TestReloadBehindALink(t *testing.T) {
	t.Parallel() // most of it is waiting
	s := startSystem(t, embedded)
	original := s.readConfig()
	if err := s.gateway.terminate(15 * time.Second); err != nil {
		t.Fatal(err)
	}
	mount := t.TempDir()
	publish := func(version, content string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(mount, version), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(mount, version, "gateway.hcl"), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(version, filepath.Join(mount, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(mount, "..tmp"), filepath.Join(mount, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	publish("..1", original)
	s.config = filepath.Join(mount, "gateway.hcl")
	if err := os.Symlink("..data/gateway.hcl", s.config); err != nil {
		t.Fatal(err)
	}
	s.start()
	publish("..2", original+"\nlog { level = \"debug\" }\n")
	s.awaitReloads(1)
}

func (s *system) readConfig() string {
	s.t.Helper()
	b, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(b)
}

// writeConfig replaces the file in one step, as careful programs do.
func (s *system) writeConfig(content string) {
	s.t.Helper()
	next := s.config + ".next"
	if err := os.WriteFile(next, []byte(content), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(next, s.config); err != nil {
		s.t.Fatal(err)
	}
}

// place is how the log names a place in a file.
func place(file string, line, column int) string { return fmt.Sprintf("%s:%d:%d", file, line, column) }

// logs counts what the gateway logged since its start.
func (s *system) logs(text string) int { return strings.Count(s.gateway.output.String(), text) }

// awaitReloads waits until the gateway took new settings n times.
func (s *system) awaitReloads(n int) {
	s.t.Helper()
	s.await("the new settings are in force", 10*time.Second, func() bool {
		s.last = s.gateway.output.String()
		return s.logs("gateway: new settings are in force") == n
	})
}

// sendMail sends a mail through a connector, to an address named after it, and returns the status.
func (s *system) sendMail(connector string) int {
	s.t.Helper()
	_, name, _ := strings.Cut(connector, "/")
	status, _, err := s.call(http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "email", "recipient": name + "@example.com", "subject": "Hi", "content": "Hello", "connector": connector,
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return status
}
