package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// generation is one version of a plugin in one process at a time; a restart after a crash stays in
// the generation. It is known by name, version, checksum and process.
type generation struct {
	host     *Host
	plugin   *plugin
	version  string
	path     string
	log      *slog.Logger
	stderr   *stderrLog
	redactor *redactor

	settled    chan struct{} // closed when the first start has succeeded or failed
	settleOnce sync.Once
	idle       chan struct{} // closed when the generation is retired and no call is left
	idleOnce   sync.Once
	done       chan struct{}      // closed when run has returned; at once if it never runs
	cancel     context.CancelFunc // ends run
	configure  sync.Mutex         // held while connectors are configured
	retry      chan struct{}      // a connector needs another try
	violations violations
	fruitful   atomic.Bool // the process has given a result
	verified   os.FileInfo // of the executable when its checksum was taken; run's alone

	mu        sync.Mutex
	state     core.GenerationState
	checksum  string
	process   *process // nil: none that can be called
	about     *description
	pid       int
	startedAt time.Time
	restarts  int
	problem   string
	attempts  int // handed over and without a result
	calls     int
	retired   bool
	bindings  map[core.ConnectorID]*binding
	health    *channelv1.HealthResponse            // the latest of the process
	accepted  map[core.ConnectorID]ConnectorConfig // the last configuration that each connector took
	secrets   []string
}

func newGeneration(h *Host, p *plugin, c candidate) *generation {
	g := &generation{
		host: h, plugin: p, version: c.version, path: c.path, redactor: &redactor{},
		settled: make(chan struct{}), idle: make(chan struct{}), done: make(chan struct{}), retry: make(chan struct{}, 1),
		cancel: func() {}, state: core.GenerationStaged,
		bindings: map[core.ConnectorID]*binding{}, accepted: map[core.ConnectorID]ConnectorConfig{},
	}
	g.log = h.options.Logger.With("plugin", p.name, "version", c.version)
	g.stderr = &stderrLog{log: g.log, redactor: g.redactor}
	if c.problem != nil {
		g.fail(c.problem)
	}
	return g
}

// activate lets the generation take calls once its process is ready.
func (g *generation) activate() {
	g.mu.Lock()
	if g.state == core.GenerationReady {
		g.state = core.GenerationActive
	}
	g.mu.Unlock()
	g.host.notify()
}

// fail ends the generation for good.
func (g *generation) fail(err error) {
	g.mu.Lock()
	g.state = core.GenerationFailed
	g.problem = g.redactor.redact(err.Error())
	g.mu.Unlock()
	g.log.Error("plugin failed", "error", g.redactor.redact(err.Error()))
	g.host.notify()
}

// setState moves the generation on; draining and its successors are not left again.
func (g *generation) setState(s core.GenerationState) {
	g.mu.Lock()
	if g.state != core.GenerationDraining || s == core.GenerationStopped {
		g.state = s
	}
	g.mu.Unlock()
	g.host.notify()
}

func (g *generation) draining() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == core.GenerationDraining
}

// session is the right to call the process of a generation. While it is open, the generation does not
// drain away.
type session struct {
	g        *generation
	process  *process
	about    *description
	attempts int // not yet settled
}

// enter opens a session for a number of attempts through a connector, or says why that cannot be.
func (g *generation) enter(id core.ConnectorID, attempts int) (*session, error) {
	if g == nil {
		return nil, errors.New("no version of the plugin carries messages")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.state != core.GenerationActive {
		return nil, fmt.Errorf("plugin %s %s is %s", g.plugin.name, g.version, g.state)
	}
	b, ok := g.bindings[id]
	if !ok {
		return nil, fmt.Errorf("connector %s is being configured", id)
	}
	if !b.applied {
		_, reason := b.state(channelv1.HealthState_HEALTH_STATE_UNSPECIFIED, "")
		return nil, fmt.Errorf("connector %s: %s", id, reason)
	}
	g.calls++
	g.attempts += attempts
	return &session{g: g, process: g.process, about: g.about, attempts: attempts}, nil
}

// settle tells that so many attempts have a result.
func (s *session) settle(attempts int) {
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.attempts -= attempts
	s.attempts -= attempts
}

// close ends the session.
func (s *session) close() {
	s.settle(s.attempts)
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	s.g.calls--
	s.g.wakeIdle()
}

// wakeIdle tells a drain that no call is left. The lock is held.
func (g *generation) wakeIdle() {
	if g.retired && g.calls == 0 {
		g.idleOnce.Do(func() { close(g.idle) })
	}
}

// status tells people how the generation is.
func (g *generation) status() core.GenerationStatus {
	g.mu.Lock()
	defer g.mu.Unlock()
	return core.GenerationStatus{
		Version: g.version, State: g.state, PID: g.pid, StartedAt: g.startedAt, Restarts: g.restarts,
		Error: g.problem, LastStderr: g.stderr.tail.String(), InFlight: g.attempts,
	}
}

// violations counts breaches of the contract.
type violations struct {
	foreign, repeated, missing, malformed atomic.Uint64
}
