package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// drainOutput is how long the pipes of an ended process are still read. Its own last words are in
// them already; the bound is for descendants that hold them open.
const drainOutput = 250 * time.Millisecond

// runner is one process of a plugin. It implements go-plugin's runner.Runner in place of go-plugin's
// own, which waits for the end of both pipes before it notices the end of the process, kills no
// descendants, passes the gateway's standard input on, and stops reading a standard output that
// holds a long line. A runner gives go-plugin the handshake and the end of both streams, no more.
type runner struct {
	path      string
	socketDir string
	plaintext bool // it may do without mutual TLS
	cmd       *exec.Cmd
	stderr    func(io.Reader) // reads the standard error
	onStart   func(pid int)   // is called before anything else is done with the process

	handshakes *io.PipeReader // what go-plugin reads
	announce   *io.PipeWriter
	ended      chan struct{} // closed when the process has ended
	drained    chan struct{} // closed when its pipes are read and closed, too

	mu        sync.Mutex
	pid       int
	reaped    bool
	killed    bool // by us
	refused   error
	exit      exitState
	handshook bool
}

// newRunner prepares a process of the executable at path.
func newRunner(path string, stderr func(io.Reader), onStart func(pid int)) *runner {
	r := &runner{
		path: path, stderr: stderr, onStart: onStart,
		cmd:   exec.Command(path), // not bound to a context: it outlives the call that starts it
		ended: make(chan struct{}), drained: make(chan struct{}),
	}
	r.cmd.Dir = filepath.Dir(path)
	r.cmd.SysProcAttr = processAttributes() // own group, dies with the gateway; standard input is /dev/null
	r.handshakes, r.announce = io.Pipe()
	return r
}

// Start starts the process and returns when it runs or cannot.
func (r *runner) Start(context.Context) error {
	stdout, stdoutEnd, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("open pipe: %w", err)
	}
	stderr, stderrEnd, err := os.Pipe()
	if err != nil {
		_, _ = stdout.Close(), stdoutEnd.Close()
		return fmt.Errorf("open pipe: %w", err)
	}
	r.cmd.Stdout, r.cmd.Stderr = stdoutEnd, stderrEnd
	started := make(chan error, 1)
	go r.keep(started, stdout, stderr)
	err = <-started
	_, _ = stdoutEnd.Close(), stderrEnd.Close() // the process has its own copies
	return err
}

// keep starts the process, awaits its end and cleans up behind it. It stays on one thread all the
// while, because the kernel sends the parent-death signal when the thread ends that made the process.
func (r *runner) keep(started chan<- error, stdout, stderr *os.File) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(r.drained)
	defer func() { _, _ = stdout.Close(), stderr.Close() }()
	if err := r.begin(); err != nil {
		close(r.ended)
		started <- err
		return
	}
	r.onStart(r.pid)
	started <- nil

	var readers sync.WaitGroup
	readers.Go(func() { r.readStdout(stdout) })
	readers.Go(func() { r.stderr(stderr) })
	awaitExit(r.pid)
	r.reap()
	close(r.ended)
	deadline := time.Now().Add(drainOutput)
	_, _ = stdout.SetReadDeadline(deadline), stderr.SetReadDeadline(deadline)
	readers.Wait()
}

// begin makes the process, unless it has been killed before it was there.
func (r *runner) begin() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.killed {
		return context.Canceled
	}
	if err := r.cmd.Start(); err != nil {
		return execError(r.path, err)
	}
	r.pid = r.cmd.Process.Pid
	return nil
}

// reap takes the process group with the process, which is still a zombie and so keeps its number
// from being used again, and collects its state.
func (r *runner) reap() {
	r.mu.Lock()
	defer r.mu.Unlock()
	_ = syscall.Kill(-r.pid, syscall.SIGKILL) // no descendant is left: ESRCH
	_ = r.cmd.Wait()                          // its error is the state below
	r.reaped = true
	r.exit = newExitState(r.cmd.ProcessState, r.killed)
}

// signal sends sig to the process and its descendants, unless it has ended.
func (r *runner) signal(sig syscall.Signal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.reaped {
		return
	}
	r.killed = true
	if r.pid == 0 {
		return
	}
	_ = syscall.Kill(-r.pid, sig) // ESRCH: ended by itself
}

// yield has the process and its descendants take less of the processors than others, by so many steps, or no less
// with 0. It does nothing once the process has ended.
func (r *runner) yield(steps int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid != 0 && !r.reaped {
		_ = renice(r.pid, steps) // it runs all the same
	}
}

// readStdout passes the handshake to go-plugin and drops everything before and after it.
func (r *runner) readStdout(stdout io.Reader) {
	defer func() { _ = r.announce.Close() }()
	found := false
	readLines(stdout, func(line []byte, cut bool) {
		if found || cut {
			return
		}
		h, text, ok := findHandshake(line)
		if !ok {
			return
		}
		found = true
		if err := h.check(r.socketDir, r.plaintext); err != nil {
			r.refuse(err)
			return
		}
		r.mu.Lock()
		r.handshook = true
		r.mu.Unlock()
		_, _ = io.WriteString(r.announce, text+"\n") // go-plugin gave up: it kills the process itself
	})
}

// refuse ends the process because of its handshake.
func (r *runner) refuse(err error) {
	r.mu.Lock()
	r.refused = err
	r.mu.Unlock()
	r.signal(syscall.SIGKILL)
}

// refusal says why the handshake was refused, nil if it was not.
func (r *runner) refusal() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.refused
}

// greeted says whether an acceptable handshake came.
func (r *runner) greeted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.handshook
}

// exited returns how the process ended.
func (r *runner) exited() exitState {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.exit
}

// Wait returns when the process has ended.
func (r *runner) Wait(context.Context) error {
	<-r.ended
	if exit := r.exited(); !exit.clean() {
		return errors.New(exit.String())
	}
	return nil
}

// Kill ends the process and its descendants at once.
func (r *runner) Kill(context.Context) error {
	r.signal(syscall.SIGKILL)
	return nil
}

// Stdout returns a stream of the handshake alone.
func (r *runner) Stdout() io.ReadCloser { return r.handshakes }

// Stderr returns an empty stream that ends with the process: the host reads the real one.
func (r *runner) Stderr() io.ReadCloser { return emptyUntil(r.ended) }

// Name returns the path of the executable.
func (r *runner) Name() string { return r.path }

// ID returns the process id, "" before the start.
func (r *runner) ID() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pid == 0 {
		return ""
	}
	return strconv.Itoa(r.pid)
}

// Diagnose returns nothing: the host explains failures itself.
func (r *runner) Diagnose(context.Context) string { return "" }

// PluginToHost returns the address as it is: both see the same file system.
func (r *runner) PluginToHost(network, address string) (string, string, error) {
	return network, address, nil
}

// HostToPlugin returns the address as it is.
func (r *runner) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}

// emptyUntil is a stream without content that ends when the channel is closed.
type emptyUntil <-chan struct{}

// Read blocks until the end.
func (e emptyUntil) Read([]byte) (int, error) {
	<-e
	return 0, io.EOF
}

// Close does nothing.
func (emptyUntil) Close() error { return nil }

// exitState is how a process ended.
type exitState struct {
	ended  bool
	code   int            // -1: by a signal
	signal syscall.Signal // 0: none
	ours   bool           // we sent a signal
}

func newExitState(s *os.ProcessState, ours bool) exitState {
	e := exitState{ended: true, code: s.ExitCode(), ours: ours}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		e.signal = w.Signal()
	}
	return e
}

// clean says that the process ended with code 0.
func (e exitState) clean() bool { return e.ended && e.signal == 0 && e.code == 0 }

// outside says that somebody else ended the process: an operator, or the kernel for want of memory.
func (e exitState) outside() bool {
	ends := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP}
	return !e.ours && slices.Contains(ends, e.signal)
}

// String describes the end for people.
func (e exitState) String() string {
	switch {
	case !e.ended:
		return "the process still runs"
	case e.signal != 0:
		return fmt.Sprintf("the process ended by signal %d (%s)", int(e.signal), e.signal)
	default:
		return fmt.Sprintf("the process ended with exit status %d", e.code)
	}
}
