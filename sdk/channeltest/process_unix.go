//go:build unix

package channeltest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
	"github.com/pigeonry/pigeonry/sdk"
)

const (
	// killTimeout is how long go-plugin may take to end the process before it is shot.
	killTimeout = 5 * time.Second
	// outputTimeout is how long the output may stay open when the process is gone: a grandchild
	// may hold it.
	outputTimeout = time.Second
	// firstNoise is how much of the noise before the handshake is kept.
	firstNoise = 5
)

// process is the plugin as a child process. It is a runner for go-plugin, which reads nothing but
// the handshake line; the rest of the output goes into the transcript.
type process struct {
	cmd    *exec.Cmd
	output *transcript
	parent bool // run below a shell, which can be killed instead of us

	socketDir string
	plaintext bool

	handshake *io.PipeReader // what go-plugin reads
	toClient  *io.PipeWriter
	pid       int
	closed    chan struct{} // both outputs are at their end
	exited    chan struct{} // cmd.Wait has returned
	waitErr   error

	mu      sync.Mutex
	lines   []string // printed before the handshake
	address string   // of the socket
	refused error    // what is wrong with the handshake
	shot    bool     // go-plugin had to kill it
}

var _ runner.Runner = (*process)(nil)

func (s *Subject) startBinary() (*session, error) { return s.launch(false) }

// startOrphan starts the plugin as the child of a shell.
func (s *Subject) startOrphan() (*session, error) { return s.launch(true) }

func (s *Subject) launch(belowShell bool) (*session, error) {
	s.output.begin()
	path, err := filepath.Abs(s.Binary)
	if err != nil {
		return nil, fmt.Errorf("path of the binary: %w", err)
	}
	dir, err := os.MkdirTemp("", "pgn") // short: a socket's path holds 100 bytes
	if err != nil {
		return nil, fmt.Errorf("directory for the socket: %w", err)
	}
	p := &process{
		output: &s.output, parent: belowShell, plaintext: s.Plaintext,
		closed: make(chan struct{}), exited: make(chan struct{}),
	}
	p.handshake, p.toClient = io.Pipe()
	env := s.environment()
	var settings *tls.Config
	if !s.Plaintext {
		certificate, mutual, err := sdk.ClientIdentity()
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		env, settings = append(env, certificate), mutual
	}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  sdk.Handshake,
		Plugins:          goplugin.PluginSet{sdk.PluginName: sdk.ClientPlugin{}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		TLSConfig:        settings,
		SkipHostEnv:      true,
		StartTimeout:     startTimeout,
		Logger:           hclog.NewNullLogger(),
		SyncStdout:       s.output.writer("stdout"),
		SyncStderr:       s.output.writer("stderr"),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: dir},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, socketDir string) (runner.Runner, error) {
			p.socketDir = socketDir
			p.cmd = p.command(path, append(env, cmd.Env...))
			return p, nil
		},
	})
	sess := &session{subject: s, process: p, close: sync.OnceFunc(func() {
		p.end(client)
		_ = os.RemoveAll(dir)
	})}
	if sess.ChannelServiceClient, err = dispense(client); err != nil {
		sess.close()
		return nil, p.explain(err)
	}
	return sess, nil
}

func dispense(client *goplugin.Client) (channelv1.ChannelServiceClient, error) {
	protocol, err := client.Client()
	if err != nil {
		return nil, fmt.Errorf("handshake: %w", err)
	}
	raw, err := protocol.Dispense(sdk.PluginName)
	if err != nil {
		return nil, fmt.Errorf("dispense %q: %w", sdk.PluginName, err)
	}
	return raw.(channelv1.ChannelServiceClient), nil
}

// command is the plugin itself, or a shell that starts it and tells its pid on descriptor 3.
func (p *process) command(path string, env []string) *exec.Cmd {
	cmd := exec.Command(path) // without a ctx: it must outlive this call
	if p.parent {
		cmd = exec.Command("/bin/sh", "-c", `"$0" 3>&- & echo $! >&3; exec 3>&-; wait`, path)
	}
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// Start starts the process and reads its output until it ends.
func (p *process) Start(context.Context) error {
	stdout, outW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	stderr, errW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	pidR, pidW, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = outW, errW, nil
	if p.parent {
		p.cmd.ExtraFiles = []*os.File{pidW}
	}
	err = p.cmd.Start()
	for _, f := range []*os.File{outW, errW, pidW} {
		_ = f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{stdout, stderr, pidR} {
			_ = f.Close()
		}
		_ = p.toClient.Close()
		close(p.exited)
		close(p.closed)
		return fmt.Errorf("start %s: %w", p.cmd.Path, err)
	}
	p.pid = p.cmd.Process.Pid
	if p.parent {
		text, _ := io.ReadAll(pidR)
		if n, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil {
			p.pid = n
		}
	}
	_ = pidR.Close()
	p.watch(stdout, stderr)
	return nil
}

// watch reads both outputs and waits for the exit, in goroutines that end with the process.
func (p *process) watch(stdout, stderr *os.File) {
	var outputs sync.WaitGroup
	outputs.Go(func() { p.readStdout(stdout) })
	outputs.Go(func() { _, _ = io.Copy(p.output.writer("stderr"), stderr) })
	go func() {
		outputs.Wait()
		close(p.closed)
		_ = stdout.Close()
		_ = stderr.Close()
	}()
	go func() {
		p.waitErr = p.cmd.Wait()
		if !p.parent { // below a shell the outputs' end is the only sign of the plugin's own
			select {
			case <-p.closed:
			case <-time.After(outputTimeout):
				_ = stdout.SetReadDeadline(time.Now())
				_ = stderr.SetReadDeadline(time.Now())
			}
		}
		_ = p.toClient.Close()
		close(p.exited)
	}()
}

// readStdout skips to the handshake line, hands it to go-plugin, and drains what follows. A line that
// the gateway would refuse ends the process, as the gateway would.
func (p *process) readStdout(stdout io.Reader) {
	in := bufio.NewReaderSize(stdout, 64<<10)
	for {
		line, err := in.ReadString('\n')
		if handshakeLine.MatchString(line) {
			if p.greet(line) {
				_, _ = io.WriteString(p.toClient, line)
			} else {
				p.kill()
			}
			break
		}
		if line != "" {
			p.output.add("stdout", line)
			p.keepNoise(line)
		}
		if err != nil {
			return
		}
	}
	_, _ = io.Copy(p.output.writer("stdout"), in)
}

// greet says whether the handshake line is one that the gateway takes.
func (p *process) greet(line string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.address, p.refused = handshakeFault(line, p.socketDir, p.plaintext)
	return p.refused == nil
}

func (p *process) keepNoise(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.lines) < firstNoise {
		p.lines = append(p.lines, strings.TrimSpace(line[:min(len(line), 200)]))
	}
}

// noise is what came on the standard output before the handshake.
func (p *process) noise() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lines
}

// explain says why a start failed: by the handshake, or by what the process printed instead of it.
func (p *process) explain(err error) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.refused != nil:
		return p.refused
	case p.address != "":
		return err
	case len(p.lines) > 0:
		return fmt.Errorf("no handshake line came on the standard output, only %q", p.lines)
	}
	return fmt.Errorf("no handshake line came on the standard output within %s, or before the end: %w", startTimeout, err)
}

// socket is the path of the plugin's socket.
func (p *process) socket() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.address
}

// ending says how the process ended after end: nil when it did so by itself, and well.
func (p *process) ending() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shot {
		return errors.New("it had to be killed")
	}
	return p.waitErr
}

// signal sends sig to the plugin alone.
func (p *process) signal(sig os.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("signal: %w", err)
	}
	return nil
}

// kill shoots the process and its children.
func (p *process) kill() {
	if p.cmd != nil && p.cmd.Process != nil {
		_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

// abandon kills the shell in between: the plugin loses its parent.
func (p *process) abandon() { _ = p.cmd.Process.Kill() }

// gone is closed when the plugin has ended.
func (p *process) gone() <-chan struct{} { return p.closed }

// end ends the process: politely, then by force.
func (p *process) end(client *goplugin.Client) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		client.Kill()
	}()
	select {
	case <-ended:
	case <-time.After(killTimeout):
	}
	p.kill()
	<-ended
	if p.cmd != nil && p.cmd.Process != nil {
		select {
		case <-p.closed:
		case <-time.After(outputTimeout):
		}
	}
}

// Wait waits until the process has ended.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return p.waitErr
}

// Kill shoots the process. go-plugin calls it when the process outlives Shutdown for too long.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	p.shot = true
	p.mu.Unlock()
	p.kill()
	return nil
}

// Stdout is the handshake line, then nothing until the process ends.
func (p *process) Stdout() io.ReadCloser { return p.handshake }

// Stderr is empty: the process's own reader has it, and go-plugin's parser stays out of it.
func (p *process) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name is the path of the executable.
func (p *process) Name() string { return p.cmd.Path }

// ID is the process id.
func (p *process) ID() string { return strconv.Itoa(p.pid) }

// Diagnose has nothing to add.
func (p *process) Diagnose(context.Context) string { return "" }

// PluginToHost leaves addresses as they are.
func (p *process) PluginToHost(network, addr string) (string, string, error) {
	return network, addr, nil
}

// HostToPlugin leaves addresses as they are.
func (p *process) HostToPlugin(network, addr string) (string, string, error) {
	return network, addr, nil
}
