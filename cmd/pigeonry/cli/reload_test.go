package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// serving is a serve command with a gateway that only takes settings.
type serving struct {
	t       *testing.T
	applied chan *settings.Settings
	answer  chan error // what the gateway says to them
	logger  *slog.Logger
	ctx     context.Context
	log     *logged
}

// logged keeps what a command logs and tells of each line.
type logged struct {
	mu      sync.Mutex
	b       bytes.Buffer
	changed chan struct{} // closed and replaced at each line
}

// Write implements io.Writer.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.b.Write(p)
}

func (l *logged) look() (string, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String(), l.changed
}

// await waits until something was logged.
func (s *serving) await(text string) {
	s.t.Helper()
	patience := time.After(10 * time.Second)
	for {
		have, changed := s.log.look()
		if strings.Contains(have, text) {
			return
		}
		select {
		case <-changed:
		case <-patience:
			s.t.Fatalf("%q was not logged in\n%s", text, have)
		}
	}
}

// serve runs the command over a file, and does while it runs.
func serve(t *testing.T, args []string, do func(s *serving)) outcome {
	t.Helper()
	s := &serving{
		t: t, applied: make(chan *settings.Settings), answer: make(chan error), log: &logged{changed: make(chan struct{})},
	}
	code := cli.Run(t.Context(), cli.Process{
		Args: append([]string{"serve"}, args...), In: strings.NewReader(""), Out: io.Discard, Err: s.log,
		Gateway: cli.Gateway{Serve: func(ctx context.Context, _ *settings.Settings, logger *slog.Logger, follow cli.Follow) error {
			s.logger, s.ctx = logger, ctx
			followCtx, stop := context.WithCancel(ctx)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				follow(followCtx, func(_ context.Context, next *settings.Settings) error {
					s.applied <- next
					return <-s.answer
				})
			}()
			do(s)
			stop()
			<-ended
			return nil
		}},
	})
	have, _ := s.log.look()
	return outcome{code: code, err: have}
}

// next waits for new settings.
func (s *serving) next() *settings.Settings {
	s.t.Helper()
	select {
	case next := <-s.applied:
		return next
	case <-time.After(10 * time.Second):
		s.t.Fatal("no new settings came")
		return nil
	}
}

func hangUp(t *testing.T) {
	t.Helper()
	if err := syscall.Kill(os.Getpid(), syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
}

func rewrite(t *testing.T, file, content string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestChangeOfTheFile(t *testing.T) {
	file := write(t, "gateway.hcl", "max_attempts = 1\n")
	serve(t, []string{"-c", file}, func(s *serving) {
		rewrite(t, file, "max_attempts = 2\n")
		if have := s.next().MaxAttempts; have != 2 {
			t.Errorf("max_attempts is %d", have)
		}
		s.answer <- nil
		// Gone and back with the same content in one step: nothing to do. Then it is another one.
		rewrite(t, file+".new", "max_attempts = 2\n")
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		rewrite(t, filepath.Join(filepath.Dir(file), "neighbor"), "nothing of ours")
		rewrite(t, file+".new", "max_attempts = 3\n")
		if err := os.Rename(file+".new", file); err != nil {
			t.Fatal(err)
		}
		if have := s.next().MaxAttempts; have != 3 {
			t.Errorf("max_attempts is %d", have)
		}
		s.answer <- nil
	})
}

// SIGHUP reads the sources even if the file is the same, flags still over it.
func TestSIGHUP(t *testing.T) {
	file := write(t, "gateway.hcl", "max_attempts = 1\nlisten = \"127.0.0.1:1\"\n")
	o := serve(t, []string{"-c", file, "--listen", "127.0.0.1:2"}, func(s *serving) {
		hangUp(t)
		if have := s.next(); have.MaxAttempts != 1 || have.Listen != "127.0.0.1:2" {
			t.Errorf("have %+v", have)
		}
		s.answer <- nil
	})
	o.expect(t, 0, "", "SIGHUP came")
}

// The log level follows what the gateway took, and only that.
func TestLogLevel(t *testing.T) {
	file := write(t, "gateway.hcl", "")
	change := func(s *serving, level string, answer error) {
		rewrite(t, file, "log { level = \""+level+"\" }\n")
		s.next()
		s.answer <- answer
	}
	o := serve(t, []string{"-c", file}, func(s *serving) {
		change(s, "debug", nil)
		change(s, "error", errors.New("no room for it"))
		hangUp(t)
		s.next()
		s.logger.DebugContext(s.ctx, "still debug")
		s.answer <- nil
		hangUp(t)
		s.next()
		s.logger.InfoContext(s.ctx, "too much now")
		s.answer <- nil
	})
	o.expect(t, 0, "", `the earlier ones stay in force" error="no room for it"`)
	o.expect(t, 0, "", "still debug")
	if strings.Contains(o.err, "too much now") {
		t.Errorf("the level did not change:\n%s", o.err)
	}
}

// A file with faults never reaches the gateway; all of them are logged, each with its place.
func TestFaultsAreRefused(t *testing.T) {
	file := write(t, "gateway.hcl", "")
	o := serve(t, []string{"-c", file}, func(s *serving) {
		rewrite(t, file, "lisen = \"x\"\nmax_attempts = 0\n")
		s.await("faults=2")
		rewrite(t, file, "max_attempts = 4\n")
		if have := s.next().MaxAttempts; have != 4 {
			t.Errorf("max_attempts is %d", have)
		}
		s.answer <- nil
	})
	for _, want := range []string{
		file + `:1:1 problem="unknown key \"lisen\"" remedy="did you mean \"listen\"?"`,
		file + `:2:16 problem="max_attempts is out of bounds"`,
		"the new ones are refused, the earlier ones stay in force",
	} {
		o.expect(t, 0, "", want)
	}
}
