package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

// runWithRedis runs "engines" for Redis alone, without what the tests around this one were given.
func runWithRedis(t *testing.T, args ...string) (stdout, stderr string, err error) {
	t.Helper()
	needRedis(t)
	var out, errs bytes.Buffer
	err = run(t.Context(), append([]string{"engines", "--only", "redis"}, args...), &out, &errs)
	return out.String(), errs.String(), err
}

func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil && os.Getenv("CI") != "true" {
		t.Skip("left out: redis-server is not installed")
	}
	t.Setenv("PIGEONRY_TEST_REDIS_URL", "")
}

func TestCommandFindsTheEngines(t *testing.T) {
	t.Setenv("PIGEONRY_TEST_POSTGRES_URL", "")
	stdout, stderr, err := runWithRedis(t, "--", "sh", "-c",
		`echo "$PIGEONRY_TEST_REDIS_URL $PIGEONRY_TEST_POSTGRES_URL"; exit 7`)
	if code, ended := errors.AsType[exitError](err); !ended || code != 7 {
		t.Errorf("got %v, want code 7\n%s", err, stderr)
	}
	if !strings.HasPrefix(stdout, "redis://127.0.0.1:") || !strings.HasSuffix(stdout, "/0 \n") {
		t.Errorf("the command saw %q", stdout)
	}
	if left := engine.Descendants(os.Getpid()); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestEngineThatRunsIsTaken(t *testing.T) {
	t.Setenv("PIGEONRY_TEST_REDIS_URL", "redis://db/7")
	var stdout, stderr bytes.Buffer
	err := run(t.Context(), []string{"engines", "-only", "redis", "sh", "-c", "echo $PIGEONRY_TEST_REDIS_URL"}, &stdout, &stderr)
	if err != nil || stdout.String() != "redis://db/7\n" || stderr.Len() > 0 {
		t.Errorf("got %v, %q, %q", err, stdout.String(), stderr.String())
	}
}

func TestSignalReachesTheCommand(t *testing.T) {
	caught := filepath.Join(t.TempDir(), "caught")
	go func() {
		for t.Context().Err() == nil {
			if _, err := os.Stat(caught); err == nil {
				_ = syscall.Kill(os.Getpid(), syscall.SIGUSR1)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
	_, stderr, err := runWithRedis(t, "--", "sh", "-c",
		`trap 'exit 3' USR1; touch `+caught+`; while true; do sleep 0.05; done`)
	if code, ended := errors.AsType[exitError](err); !ended || code != 3 {
		t.Errorf("got %v, want code 3\n%s", err, stderr)
	}
}

func TestCommandThatIsKilled(t *testing.T) {
	_, stderr, err := runWithRedis(t, "--", "sh", "-c", "kill -9 $$")
	if code, ended := errors.AsType[exitError](err); !ended || code != 128+9 {
		t.Errorf("got %v, want code 137\n%s", err, stderr)
	}
}

func TestExportsWithoutACommand(t *testing.T) {
	needRedis(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stdout := &firstWrite{then: cancel}
	var stderr bytes.Buffer
	if err := run(ctx, []string{"engines", "--only", "redis"}, stdout, &stderr); err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	for _, want := range []string{"export PIGEONRY_TEST_REDIS_URL='redis://127.0.0.1:", "export PIGEONRY_REDIS_URL='redis://127.0.0.1:"} {
		if !strings.Contains(stdout.String(), want) {
			t.Errorf("%q is not in %q", want, stdout.String())
		}
	}
}

// firstWrite is a buffer that calls a function when something has been written.
type firstWrite struct {
	bytes.Buffer

	then func()
}

func (w *firstWrite) Write(p []byte) (int, error) {
	defer w.then()
	return w.Buffer.Write(p)
}

func TestMissingEngine(t *testing.T) {
	for _, name := range engine.Names() {
		test, _ := engine.VariablesOf(name)
		t.Setenv(test, "set")
	}
	t.Setenv("PIGEONRY_TEST_REDIS_URL", "")
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", t.TempDir())
	for ci, fails := range map[string]bool{"": false, "true": true} {
		t.Setenv("CI", ci)
		var stdout, stderr bytes.Buffer
		err := run(t.Context(), []string{"engines", "--", sh, "-c", "echo ran"}, &stdout, &stderr)
		if fails && (!errors.Is(err, engine.ErrMissing) || stdout.Len() > 0) {
			t.Errorf("CI=%s: got %v, %q", ci, err, stdout.String())
		}
		if !fails && (err != nil || stdout.String() != "ran\n" || !strings.Contains(stderr.String(), "left out: redis-server")) {
			t.Errorf("CI=%s: got %v, %q, %q", ci, err, stdout.String(), stderr.String())
		}
	}
}
