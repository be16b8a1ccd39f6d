package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// endedError is a fault of a start that ended early, because somebody else ended the process.
type endedError struct{ *catalog.Fault }

// Unwrap returns the fault.
func (e endedError) Unwrap() error { return e.Fault }

// ended makes a fault what an early end says: an end from outside says little of the plugin.
func ended(f *catalog.Fault, exit exitState) error {
	if exit.outside() {
		return endedError{f}
	}
	return f
}

// permanent says whether starting again is of no use.
func permanent(err error) bool {
	f, ok := errors.AsType[*catalog.Fault](err)
	return ok && f.Permanent
}

// ofPlugin says whether an error tells something of the plugin, and not of this machine alone.
func ofPlugin(err error) bool {
	var fault *catalog.Fault
	var call *callFailedError
	return errors.As(err, &fault) || errors.As(err, &call)
}

// fromOutside says whether somebody else ended the process while it started.
func fromOutside(err error) bool {
	_, ok := errors.AsType[endedError](err)
	return ok
}

// execError names the reason why the operating system did not execute path. What can be seen in the file, the catalog
// has found out before.
func execError(path string, err error) error {
	if errors.Is(err, syscall.ENOEXEC) || errors.Is(err, errBadCPUType) {
		return &catalog.Fault{
			What: "wrong architecture or format", Expected: "an executable for " + runtime.GOOS + "/" + runtime.GOARCH,
			Found: "a file that the system does not execute", Remedy: "build the plugin for this machine", Permanent: true, Cause: err,
		}
	}
	return fmt.Errorf("execute %s: %w", path, err)
}

// handshakeLine is what a plugin must print first, as go-plugin defines it.
const handshakeLine = "the handshake 1|1|unix|<socket>|grpc|<certificate> on standard output"

// noHandshake explains why no handshake came: the process ended or was too slow.
func noHandshake(exit exitState, stderr string, waited time.Duration) error {
	f := &catalog.Fault{
		What: "no handshake", Expected: handshakeLine, Remedy: "check that the file is a channel plugin and see its standard error",
	}
	switch {
	case !exit.ended:
		f.What, f.Found = "slow start", "none"
		f.Expected += " within " + waited.String()
	case strings.Contains(stderr, "This binary is a plugin"):
		f.What, f.Permanent = "cookie mismatch", true
		f.Found = "that the plugin refused the gateway's magic cookie"
		f.Remedy = "rebuild the plugin with this gateway's SDK"
	default:
		f.Found = "that " + exit.String() + " without it"
		return ended(f, exit)
	}
	return f
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
