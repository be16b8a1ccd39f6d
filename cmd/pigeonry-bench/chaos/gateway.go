package chaos

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

const apiKey = "pigeonry-chaos-0123456789abcdef0123456789"

const (
	// readyPatience is how long a gateway may take until it is ready.
	readyPatience = time.Minute
	// restartPause passes between the end of a gateway and its next start, as with systemd or Docker.
	restartPause = 500 * time.Millisecond
	// drainLimit is how long a gateway may take to end after SIGTERM.
	drainLimit = 15 * time.Second
)

// gateway is a gateway that is started again whenever it ends, as an operator would have it.
type gateway struct {
	name        string
	address     string
	roles       string
	dir         string
	program     string
	file        string
	environment []string

	supervising sync.WaitGroup

	mu      sync.Mutex
	command *exec.Cmd
	ended   chan struct{} // of the process that runs
	lived   bool          // it has been ready since its start
	wanted  bool          // it is to be started again when it ends
	doomed  bool          // its next end is our doing
	stopped bool          // it is halted by SIGSTOP
	ends    []string      // those that were not
}

// start runs the gateway until end.
func (g *gateway) start() error {
	g.mu.Lock()
	g.wanted = true
	g.mu.Unlock()
	started := make(chan error, 1)
	g.supervising.Go(func() { g.supervise(started) })
	return <-started
}

// supervise starts the gateway whenever it has ended. The thread that starts a process stays with it, because the
// kernel ends the orphans of a thread, not those of a program.
func (g *gateway) supervise(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for first := true; ; first = false {
		command, err := g.launch()
		if first {
			started <- err
		}
		if err != nil {
			g.note(fmt.Sprintf("%s cannot be started: %v", g.name, err))
			return
		}
		alive, died := context.WithCancel(context.Background())
		g.supervising.Go(func() { _ = g.awaitReady(alive) }) // notes that it has been ready
		err = command.Wait()
		died()
		if !g.onEnd(err) {
			return
		}
		time.Sleep(restartPause)
	}
}

func (g *gateway) launch() (*exec.Cmd, error) {
	log, err := os.OpenFile(g.logFile(), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	g.mu.Lock()
	defer g.mu.Unlock()
	command := exec.Command(g.program, "serve", "-c", g.file)
	command.Env = g.environment
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = attributes()
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%w; build it with: make build", err)
	}
	g.command, g.ended, g.lived, g.doomed, g.stopped = command, make(chan struct{}), false, false, false
	return command, nil
}

// onEnd notes the end of the process and says whether it is to be started again. A gateway that cannot start as long
// as what it stands on is away may end; one that was ready may not.
func (g *gateway) onEnd(err error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.lived && !g.doomed {
		g.ends = append(g.ends, fmt.Sprintf("%s ended by itself: %v; its log ends with:\n%s", g.name, err, tail(g.logFile(), 2000)))
	}
	close(g.ended)
	return g.wanted
}

func (g *gateway) note(end string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ends = append(g.ends, end)
}

// ownEnds are the ends that nobody caused.
func (g *gateway) ownEnds() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	ends := g.ends
	g.ends = nil
	return ends
}

func (g *gateway) logFile() string { return filepath.Join(g.dir, g.name+".log") }

// pid is the process of the gateway that was started last.
func (g *gateway) pid() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.command.Process.Pid
}

// awaitReady returns when the gateway can do its work.
func (g *gateway) awaitReady(ctx context.Context) error {
	for {
		status, _, err := get(ctx, "http://"+g.address+"/readyz")
		if err == nil && status == http.StatusOK {
			g.mu.Lock()
			g.lived = true
			g.mu.Unlock()
			return nil
		}
		if err := sleep(ctx, 50*time.Millisecond, nil); err != nil {
			return fmt.Errorf("%s was not ready in time; its log ends with:\n%s", g.name, tail(g.logFile(), 3000))
		}
	}
}

// kill ends the process at once; it is started again.
func (g *gateway) kill() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.doomed = true
	return g.command.Process.Kill()
}

// halt freezes the process, resume lets it go on.
func (g *gateway) halt() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = true
	return g.command.Process.Signal(syscall.SIGSTOP)
}

func (g *gateway) resume() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopped = false
	return g.command.Process.Signal(syscall.SIGCONT)
}

// terminate asks the process to end and waits for that. How it ends is judged.
func (g *gateway) terminate(ctx context.Context) error {
	g.mu.Lock()
	g.doomed = true
	command, ended := g.command, g.ended
	err := command.Process.Signal(syscall.SIGTERM)
	g.mu.Unlock()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	select {
	case <-ended:
	case <-ctx.Done():
		_ = command.Process.Kill() // it may have ended just now
		return fmt.Errorf("%s did not end within %s of SIGTERM", g.name, drainLimit)
	}
	if !command.ProcessState.Success() {
		return fmt.Errorf("%s ended after SIGTERM with %s; its log ends with:\n%s", g.name, command.ProcessState, tail(g.logFile(), 2000))
	}
	return nil
}

// end ends the gateway for good.
func (g *gateway) end() error {
	g.mu.Lock()
	g.wanted = false
	running, stopped := g.command != nil, g.stopped
	g.mu.Unlock()
	if !running {
		return nil
	}
	if stopped {
		_ = g.resume() // it may have ended
	}
	err := g.terminate(context.Background())
	g.supervising.Wait()
	if errors.Is(err, os.ErrProcessDone) {
		return nil
	}
	return err
}

// plugins are the processes of the gateway's plugins.
func (g *gateway) plugins() []int { return engine.Descendants(g.pid()) }

// signalPlugins sends a signal to all plugins of the gateway.
func (g *gateway) signalPlugins(s syscall.Signal) error {
	pids := g.plugins()
	if len(pids) == 0 {
		return fmt.Errorf("%s has no plugin that runs", g.name)
	}
	for _, pid := range pids {
		_ = syscall.Kill(pid, s) // it may have ended just now
	}
	return nil
}

// tail is the end of a file.
func tail(path string, n int) string {
	b, _ := os.ReadFile(path)
	return string(b[max(0, len(b)-n):])
}
