// Package engine runs private instances of the services that Pigeonry stands on in production:
// PostgreSQL, RabbitMQ and Redis, as tests, benchmarks and rehearsals of faults need them. It starts
// the programs that Debian installs, in a folder and on ports of 127.0.0.1 that are the engine's own,
// and ends exactly the processes that it started. No service of the machine is touched.
//
// An engine can be killed, frozen and started again on the same port with the same data. Root hands the
// programs to users without rights; everybody else runs them as they are.
package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// How long an engine may take. RabbitMQ needs 5 s on an idle machine; a recovery takes longer.
const (
	startPatience = 2 * time.Minute
	stopPatience  = 20 * time.Second
)

// The names of the engines.
const (
	Postgres = "postgres"
	Rabbit   = "rabbitmq"
	Redis    = "redis"
)

// Names lists the engines there are.
func Names() []string { return []string{Postgres, Rabbit, Redis} }

// VariablesOf returns the names of the variables that tests and a gateway read the URL of an engine from.
func VariablesOf(name string) (test, gateway string) {
	upper := strings.ToUpper(name)
	return "PIGEONRY_TEST_" + upper + "_URL", "PIGEONRY_" + upper + "_URL"
}

// Options say where and how an engine runs.
type Options struct {
	// Dir is the engine's own folder; it is made if it is not there. To remove it is up to the caller.
	Dir string
	// Durable has the engine sync to the disk and use the machine as in production. Without it, an engine
	// still finds what it confirmed when it was killed, but not after a crash of the whole machine.
	Durable bool
}

// Engine is a private server. Its methods may be called from anywhere, one after the other.
type Engine struct {
	place
	technology technology
	url        string
	orderly    syscall.Signal // asks the server to end well

	mu      sync.Mutex
	running []*process // in the order of their start, the server last
}

// technology is what differs from engine to engine.
type technology interface {
	// prepare makes data and configuration, if they are not there. Programs that it runs write to log.
	prepare(ctx context.Context, log *journal) error
	// programs are what runs, in the order of the start, the server last.
	programs() []program
}

// New prepares the engine of a name and chooses its ports. It fails with [ErrMissing] if its programs
// are not installed.
func New(name string, o Options) (*Engine, error) {
	switch name {
	case Postgres:
		return NewPostgres(o)
	case Redis:
		return NewRedis(o)
	case Rabbit:
		r, err := NewRabbitMQ(o)
		if err != nil {
			return nil, err
		}
		return r.Engine, nil
	}
	return nil, fmt.Errorf("%q is no engine; there are %v", name, Names())
}

// Name is the name of the engine.
func (e *Engine) Name() string { return e.name }

// URL is where clients reach the engine. It stays the same from start to start.
func (e *Engine) URL() string { return e.url }

// LogFile is where the programs of the engine write to.
func (e *Engine) LogFile() string { return filepath.Join(e.dir, e.name+".log") }

// PID is the process of the server, 0 while none runs.
func (e *Engine) PID() int {
	e.mu.Lock()
	defer e.mu.Unlock()
	if server := e.server(); server != nil {
		return server.pid()
	}
	return 0
}

// server is the process of the server, nil while none runs.
func (e *Engine) server() *process {
	if len(e.running) == 0 || !e.running[len(e.running)-1].alive() {
		return nil
	}
	return e.running[len(e.running)-1]
}

// Start runs the engine and returns when it serves. After Kill or Stop it has the same port and data.
// The error of a failed start ends with the last lines of the log.
func (e *Engine) Start(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server() != nil {
		return fmt.Errorf("%s runs already", e.name)
	}
	e.kill() // what a server that died by itself left
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	if err := e.make(); err != nil {
		return fmt.Errorf("start %s: %w", e.name, err)
	}
	log, err := openJournal(e.LogFile())
	if err != nil {
		return fmt.Errorf("start %s: %w", e.name, err)
	}
	defer log.Close()
	if err := e.launch(ctx, log); err != nil {
		e.kill()
		return fmt.Errorf("start %s: %w; its log %s ends with:\n%s", e.name, err, e.LogFile(), log.tail())
	}
	return nil
}

func (e *Engine) launch(ctx context.Context, log *journal) error {
	if err := e.technology.prepare(ctx, log); err != nil {
		return err
	}
	for _, program := range e.technology.programs() {
		program.command.Stdout, program.command.Stderr = log.File, log.File
		p, err := launch(program.command)
		if err != nil {
			return err
		}
		e.running = append(e.running, p)
		if err := p.await(ctx, program.ready); err != nil {
			return err
		}
	}
	return nil
}

// Kill ends the engine at once, as a crash would: nothing that it runs can do anything more.
func (e *Engine) Kill() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.kill()
}

func (e *Engine) kill() {
	for _, p := range slices.Backward(e.running) {
		p.kill()
	}
	e.running = nil
}

// Pause freezes the engine: connections stay open and nobody answers. An engine must not be left
// frozen when its starter is killed, because a frozen PostgreSQL cannot notice that.
func (e *Engine) Pause() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server() == nil {
		return fmt.Errorf("%s does not run", e.name)
	}
	e.server().freeze()
	return nil
}

// Resume lets a frozen engine go on.
func (e *Engine) Resume() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server() == nil {
		return fmt.Errorf("%s does not run", e.name)
	}
	e.server().thaw()
	return nil
}

// Stop ends the engine in order, or kills it when it takes too long or does not end well; that is an
// error. An engine that does not run is stopped already.
func (e *Engine) Stop() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	defer e.kill() // the server's companions, and the server if it does not end
	server := e.server()
	if server == nil {
		return nil
	}
	server.thaw()
	server.signal(e.orderly)
	select {
	case <-server.ended:
		return nil
	case <-time.After(stopPatience):
		return fmt.Errorf("%s did not stop within %s and was killed", e.name, stopPatience)
	}
}

// Wipe deletes all data of an engine that does not run. The next start begins with nothing.
func (e *Engine) Wipe() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.server() != nil {
		return errors.New("stop or kill " + e.name + " before its data are deleted")
	}
	return os.RemoveAll(e.data())
}
