package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"
	"time"
)

// program is what an engine runs, and how to ask it whether it serves.
type program struct {
	command *exec.Cmd
	ready   func(context.Context) error
}

// process is a running program of ours with all that descends from it.
type process struct {
	command *exec.Cmd
	ended   chan struct{}
}

// launch starts a program. The thread that starts it stays for as long as it runs, because the kernel
// sends the signal for an orphan when the thread ends that made the process, not the whole program.
func launch(command *exec.Cmd) (*process, error) {
	p := &process{command: command, ended: make(chan struct{})}
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := command.Start()
		started <- err
		if err == nil {
			_ = command.Wait() // what it says is in the command's state
			close(p.ended)
		}
	}()
	return p, <-started
}

func (p *process) pid() int { return p.command.Process.Pid }

func (p *process) alive() bool {
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// await asks until the process serves.
func (p *process) await(ctx context.Context, ready func(context.Context) error) error {
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx, ready)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-p.ended:
			return fmt.Errorf("it ended: %s", p.command.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("it does not serve: %w; at last: %w", ctx.Err(), err)
		}
	}
}

// try asks once, and not for long: who asks too early may never be answered.
func try(ctx context.Context, ready func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return ready(ctx)
}

// signal sends a signal to the process alone. One that has ended gets none, even if its number is used again.
func (p *process) signal(s os.Signal) { _ = p.command.Process.Signal(s) }

// freeze halts the process and its descendants and returns these. What is halted makes no new ones, so
// once none is found that was not halted before, all are.
func (p *process) freeze() []int {
	if !p.alive() {
		return nil
	}
	p.signal(syscall.SIGSTOP)
	var halted []int
	for {
		family := Descendants(p.pid())
		if slices.Equal(family, halted) {
			return family
		}
		signalAll(family, syscall.SIGSTOP)
		halted = family
	}
}

// thaw lets the process and its descendants go on.
func (p *process) thaw() {
	if !p.alive() {
		return
	}
	signalAll(Descendants(p.pid()), syscall.SIGCONT)
	p.signal(syscall.SIGCONT)
}

// kill ends the process and its descendants and returns when all are gone. A halted parent reaps no
// child, so no number of the family can have gone to another process before it is signaled.
func (p *process) kill() {
	family := p.freeze()
	signalAll(family, syscall.SIGKILL)
	p.signal(syscall.SIGKILL)
	<-p.ended
	for range 200 {
		if !anyAlive(family) {
			return
		}
		time.Sleep(10 * time.Millisecond) // what is not our child cannot be awaited
	}
}

func signalAll(pids []int, s syscall.Signal) {
	for _, pid := range pids {
		_ = syscall.Kill(pid, s) // it may have ended
	}
}

// run runs a program to its end. What it says goes to out.
func run(ctx context.Context, command *exec.Cmd, out io.Writer) error {
	command.Stdout, command.Stderr = out, out
	command.WaitDelay = time.Second // for what it may leave behind that holds on to out
	p, err := launch(command)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		p.kill()
		return ctx.Err()
	}
	if !command.ProcessState.Success() {
		return errors.New(command.Path + ": " + command.ProcessState.String())
	}
	return nil
}
