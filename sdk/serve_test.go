package sdk_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// byHand runs this test binary as a plugin that a person started.
func byHand(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), serveVariable+"=1")
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), errs.String(), code
}

// Started by hand, a plugin says what it is. (As a plugin it is tested by channeltest.)
func TestServeByHand(t *testing.T) {
	stdout, stderr, code := byHand(t)
	if code != 1 || stdout != "" || !strings.Contains(stderr, "test 1.0.0 is a channel plugin of Pigeonry") ||
		!strings.Contains(stderr, "-describe") {
		t.Errorf("exit code %d\nstdout: %s\nstderr: %s", code, stdout, stderr)
	}
}

// With -describe it prints its description as JSON.
func TestServeDescribe(t *testing.T) {
	for _, flag := range []string{"-describe", "--describe"} {
		stdout, stderr, code := byHand(t, flag)
		var got struct {
			Name   string         `json:"name"`
			Schema map[string]any `json:"config_schema"`
		}
		if err := json.Unmarshal([]byte(stdout), &got); err != nil {
			t.Fatalf("%s: %v\n%s", flag, err, stderr)
		}
		if code != 0 || got.Name != "test" || got.Schema["type"] != "object" {
			t.Errorf("%s: exit code %d, %+v", flag, code, got)
		}
	}
}
