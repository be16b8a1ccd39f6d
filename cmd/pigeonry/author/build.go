package author

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// endDelay is how long a build may take to end once it is told to.
const endDelay = 3 * time.Second

// BuildError is a build that failed.
type BuildError struct {
	Output string // what the build printed
	Err    error
}

// Error says why, without the output.
func (e *BuildError) Error() string { return "the build failed: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *BuildError) Unwrap() error { return e.Err }

// built is what came of a build.
type built struct {
	Description

	executable string
}

// build builds the plugin in a folder of sources: with its build.sh, or else as a program in Go. A version, if there
// is one, is handed on as VERSION, or to the variable version of the Go program.
func build(ctx context.Context, source, out, version string) (built, error) {
	cmd, err := buildCommand(ctx, source, out, version)
	if err != nil {
		return built{}, err
	}
	if err := os.MkdirAll(out, 0o700); err != nil {
		return built{}, err
	}
	var output bytes.Buffer
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.WaitDelay = source, &output, &output, endDelay
	cmd.Env = slices.DeleteFunc(os.Environ(), func(e string) bool { return strings.HasPrefix(e, "VERSION=") })
	if version != "" {
		cmd.Env = append(cmd.Env, "VERSION="+version)
	}
	// A group of its own, so that what a script has started ends with it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	if err := cmd.Run(); err != nil {
		return built{}, &BuildError{Output: output.String(), Err: err}
	}
	executable, err := findBuilt(out)
	if err != nil {
		return built{}, &BuildError{Output: output.String(), Err: err}
	}
	d, err := Describe(ctx, executable)
	if err != nil {
		return built{}, &BuildError{Output: output.String(), Err: err}
	}
	return built{d, executable}, nil
}

// buildCommand is how the sources are built into a folder.
func buildCommand(ctx context.Context, source, out, version string) (*exec.Cmd, error) {
	script := filepath.Join(source, "build.sh")
	if info, err := os.Stat(script); err == nil {
		if info.Mode().Perm()&0o111 == 0 {
			return exec.CommandContext(ctx, "sh", script, out), nil
		}
		return exec.CommandContext(ctx, script, out), nil
	}
	programs, err := filepath.Glob(filepath.Join(source, "*.go"))
	if err != nil {
		return nil, err
	}
	if len(programs) == 0 {
		return nil, fmt.Errorf("%s has neither a build.sh nor a program in Go; pigeonry plugin new begins a project that has", source)
	}
	args := []string{"build", "-o", filepath.Join(out, "plugin")}
	if version != "" {
		args = append(args, "-ldflags", "-X main.version="+version)
	}
	return exec.CommandContext(ctx, "go", append(args, ".")...), nil
}

// findBuilt finds the only program below a folder.
func findBuilt(out string) (string, error) {
	var found []string
	err := filepath.WalkDir(out, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && strings.HasPrefix(d.Name(), ".") && path != out {
			return fs.SkipDir
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() && info.Mode().Perm()&0o111 != 0 {
			found = append(found, path)
		}
		return nil
	})
	switch {
	case err != nil:
		return "", err
	case len(found) == 0:
		return "", errors.New("it made no executable; build.sh gets a folder as its argument and writes <folder>/<name>/<version>/<name>")
	case len(found) > 1:
		return "", fmt.Errorf("it made more than one executable: %s", strings.Join(found, ", "))
	}
	return found[0], nil
}
