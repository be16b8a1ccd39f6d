package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pigeonry/pigeonry/cmd/pigeonry-bench/engine"
)

const enginesUsage = `pigeonry-bench engines runs PostgreSQL, RabbitMQ and Redis for a command, each in a folder and on a port of
its own, and ends exactly what it started. The command finds them in PIGEONRY_TEST_POSTGRES_URL,
PIGEONRY_TEST_RABBITMQ_URL and PIGEONRY_TEST_REDIS_URL; one that is set already is taken as it is, and its
engine is not started. Without a command it prints what to paste into a shell and runs until Ctrl-C.

An engine that is not installed is left out, with a word on stderr; it is an error with CI=true or if -only names it.

Usage:
  pigeonry-bench engines [flags] [-- command args…]

Flags:
`

// exitError ends this program as the command that it ran has ended.
type exitError int

func (c exitError) Error() string { return fmt.Sprintf("the command ended with code %d", int(c)) }

// enginesOptions are what the command line of "engines" says.
type enginesOptions struct {
	durable bool
	only    []string
	command []string
}

func parseEngines(args []string, stderr io.Writer) (o enginesOptions, err error) {
	flags := flag.NewFlagSet("pigeonry-bench engines", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.BoolVar(&o.durable, "durable", false, "sync to the disk as in production")
	flags.Func("only", "the engines to run, with commas between: postgres, rabbitmq, redis", func(list string) error {
		o.only = strings.Split(list, ",")
		for _, name := range o.only {
			if !slices.Contains(engine.Names(), name) {
				return fmt.Errorf("%q is no engine", name)
			}
		}
		return nil
	})
	flags.Usage = func() {
		fmt.Fprint(stderr, enginesUsage)
		flags.PrintDefaults()
	}
	err = flags.Parse(args)
	o.command = flags.Args()
	return o, err
}

// runEngines is the subcommand "engines".
func runEngines(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	o, err := parseEngines(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	} else if err != nil {
		return err
	}
	signals := make(chan os.Signal, 16)
	signal.Notify(signals, forwarded()...)
	defer signal.Stop(signals)

	urls, names := wanted(o)
	f, err := startWanted(ctx, o, names, stderr)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.stop(false)) }()
	for _, e := range f.engines {
		urls[e.Name()] = e.URL()
	}
	if len(o.command) > 0 {
		return runCommand(o.command, urls, signals, stdout, stderr)
	}
	printExports(stdout, urls)
	<-ctx.Done()
	return nil
}

// wanted returns the URLs of the engines that run already, and the names of those to start.
func wanted(o enginesOptions) (urls map[string]string, names []string) {
	urls = make(map[string]string)
	for _, name := range engine.Names() {
		if o.only != nil && !slices.Contains(o.only, name) {
			continue
		}
		test, _ := engine.VariablesOf(name)
		if url := os.Getenv(test); url != "" {
			urls[name] = url
			continue
		}
		names = append(names, name)
	}
	return urls, names
}

func startWanted(ctx context.Context, o enginesOptions, names []string, stderr io.Writer) (*fleet, error) {
	began := time.Now()
	f, missing, err := makeFleet(names, o.durable)
	if err != nil {
		return nil, err
	}
	if len(missing) > 0 && (os.Getenv("CI") == "true" || o.only != nil) {
		return nil, errors.Join(append(missing, f.stop(false))...)
	}
	for _, m := range missing {
		fmt.Fprintln(stderr, "engines: left out:", m)
	}
	if err := f.start(ctx); err != nil {
		return nil, err
	}
	for _, e := range f.engines {
		fmt.Fprintf(stderr, "engines: %s is process %d\n", e.Name(), e.PID())
	}
	if len(f.engines) > 0 {
		fmt.Fprintf(stderr, "engines: ready in %.1f s\n", time.Since(began).Seconds())
	}
	return f, nil
}

// runCommand runs a command that finds the engines in its environment.
func runCommand(args []string, urls map[string]string, signals <-chan os.Signal, stdout, stderr io.Writer) error {
	command := exec.Command(args[0], args[1:]...)
	command.Stdin, command.Stdout, command.Stderr = os.Stdin, stdout, stderr
	command.Env = os.Environ()
	for name, url := range urls {
		test, _ := engine.VariablesOf(name)
		command.Env = append(command.Env, test+"="+url)
	}
	if err := command.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	for {
		select {
		case s := <-signals:
			if !deliveredByTerminal(s) {
				_ = command.Process.Signal(s) // it may have ended
			}
		case err := <-ended:
			return codeOf(command, err)
		}
	}
}

// codeOf turns the end of a command into ours: its code, or as shells do it, 128 and the signal.
func codeOf(command *exec.Cmd, err error) error {
	if _, ended := errors.AsType[*exec.ExitError](err); !ended {
		return err
	}
	if status, ok := command.ProcessState.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return exitError(128 + int(status.Signal()))
	}
	return exitError(command.ProcessState.ExitCode())
}

// forwarded are the signals that the command gets as we do.
func forwarded() []os.Signal {
	return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2}
}

// deliveredByTerminal says whether the command has got a signal already: Ctrl-C in a terminal goes to
// everything in the foreground, and twice would mean "at once" to most programs.
func deliveredByTerminal(s os.Signal) bool {
	if s != os.Interrupt {
		return false
	}
	terminal, err := os.Open("/dev/tty")
	if err != nil {
		return false
	}
	defer terminal.Close()
	foreground, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground == unix.Getpgrp()
}
