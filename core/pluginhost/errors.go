package pluginhost

import (
	"context"
	"debug/elf"
	"debug/macho"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// startError says why a plugin did not start, so that its operator can mend it.
type startError struct {
	what      string // the fault's name
	expected  string
	found     string
	remedy    string
	permanent bool // a repeat would fail the same way
	outside   bool // somebody else ended the process
	cause     error
}

// Error gives all four parts on one line.
func (e *startError) Error() string {
	return fmt.Sprintf("%s: expected %s, found %s; %s", e.what, e.expected, e.found, e.remedy)
}

// Unwrap returns the cause.
func (e *startError) Unwrap() error { return e.cause }

// permanent says whether starting again is of no use.
func permanent(err error) bool {
	var e *startError
	var f *catalog.Fault
	return errors.As(err, &e) && e.permanent || errors.As(err, &f) && f.Permanent
}

// ofPlugin says whether an error tells something of the plugin, and not of this machine alone.
func ofPlugin(err error) bool {
	var start *startError
	var fault *catalog.Fault
	var call *callFailedError
	return errors.As(err, &start) || errors.As(err, &fault) || errors.As(err, &call)
}

// fromOutside says whether somebody else ended the process while it started.
func fromOutside(err error) bool {
	var e *startError
	return errors.As(err, &e) && e.outside
}

func notExecutable(path string, mode fs.FileMode) *startError {
	return &startError{
		what: "not executable", expected: "a file that may be executed", found: "mode " + mode.Perm().String(),
		remedy: "chmod 0755 " + path, permanent: true,
	}
}

// execError names the reason why the operating system did not execute path.
func execError(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOEXEC), errors.Is(err, errBadCPUType):
		return &startError{
			what: "wrong architecture or format", expected: "an executable for " + runtime.GOOS + "/" + runtime.GOARCH,
			found: fileFormat(path), remedy: "build the plugin for this machine", permanent: true, cause: err,
		}
	case errors.Is(err, fs.ErrPermission):
		mode := fs.FileMode(0)
		if info, statErr := os.Stat(path); statErr == nil {
			mode = info.Mode()
		}
		e := notExecutable(path, mode)
		e.cause = err
		return e
	case errors.Is(err, fs.ErrNotExist):
		return missingFile(path, err)
	}
	return fmt.Errorf("execute %s: %w", path, err)
}

// missingFile tells a file that is gone from one whose loader or interpreter is.
func missingFile(path string, err error) *startError {
	if _, statErr := os.Stat(path); statErr == nil {
		return &startError{
			what: "missing interpreter", expected: "the interpreter or dynamic loader that the file names",
			found: "none on this machine", remedy: "install it, or build the plugin with CGO_ENABLED=0",
			permanent: true, cause: err,
		}
	}
	return &startError{
		what: "missing file", expected: "the executable " + path, found: "no such file",
		remedy: "install the plugin again", cause: err,
	}
}

// fileFormat describes an executable for people.
func fileFormat(path string) string {
	if f, err := elf.Open(path); err == nil {
		defer func() { _ = f.Close() }() // only read
		return fmt.Sprintf("an ELF file for %s", strings.TrimPrefix(f.Machine.String(), "EM_"))
	}
	if f, err := macho.Open(path); err == nil {
		defer func() { _ = f.Close() }() // only read
		return fmt.Sprintf("a Mach-O file for %s", strings.TrimPrefix(f.Cpu.String(), "Cpu"))
	}
	if info, err := os.Stat(path); err == nil && info.Size() == 0 {
		return "an empty file"
	}
	return "a file of no known executable format"
}

// handshakeLine is what a plugin must print first, as go-plugin defines it.
const handshakeLine = "the handshake 1|1|unix|<socket>|grpc|<certificate> on standard output"

// noHandshake explains why no handshake came: the process ended or was too slow.
func noHandshake(exit exitState, stderr string, waited time.Duration) *startError {
	e := &startError{
		what: "no handshake", expected: handshakeLine,
		remedy: "check that the file is a channel plugin and see its standard error",
	}
	switch {
	case !exit.ended:
		e.what = "slow start"
		e.expected += " within " + waited.String()
		e.found = "none"
	case strings.Contains(stderr, "This binary is a plugin"):
		e.what, e.permanent = "cookie mismatch", true
		e.found = "that the plugin refused the gateway's magic cookie"
		e.remedy = "rebuild the plugin with this gateway's SDK"
	default:
		e.found = "that " + exit.String() + " without it"
		e.outside = exit.outside()
	}
	return e
}

// maxMessageBytes bounds one message of the contract in either direction.
const maxMessageBytes = 16 << 20

// callFailedError is an error of a call of the contract, in words for people.
type callFailedError struct {
	call   string
	reason string
	cause  error
}

// Error names the call and what went wrong.
func (e *callFailedError) Error() string { return e.call + ": " + e.reason }

// Unwrap returns the error as gRPC gave it.
func (e *callFailedError) Unwrap() error { return e.cause }

// callError makes the error of a call readable: it names the call and, where it is the plugin's
// fault, what was expected and found.
func callError(call string, err error) error {
	s := status.Convert(err)
	e := &callFailedError{call: call, reason: s.Message(), cause: err}
	switch {
	case s.Code() == codes.ResourceExhausted && strings.Contains(s.Message(), "larger than max"):
		e.reason = fmt.Sprintf("oversize reply: expected at most %d bytes, found more: %s", maxMessageBytes, s.Message())
	case s.Code() == codes.DeadlineExceeded, errors.Is(err, context.DeadlineExceeded):
		e.reason = "no answer in time"
	case s.Code() == codes.Unavailable:
		e.reason = "no connection to the plugin: " + s.Message()
	case errors.Is(err, io.EOF):
		e.reason = "the plugin ended the stream"
	}
	return e
}
