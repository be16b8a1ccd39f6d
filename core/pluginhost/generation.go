package pluginhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
	channelv1 "github.com/pigeonry/pigeonry/proto/channel/v1"
)

// generation is one version of a plugin in one process at a time; a restart after a crash stays in
// the generation. It is known by name, version, checksum and process.
type generation struct {
	host     *Host
	plugin   *plugin
	source   catalog.Version
	version  string
	log      *slog.Logger
	stderr   *stderrLog
	redactor *redactor
	meter    meter
	copies   chan struct{} // slots for copies of live traffic

	settled    chan struct{} // closed when the first start has succeeded or failed
	settleOnce sync.Once
	idle       chan struct{} // closed when the generation is retired and no call is left
	idleOnce   sync.Once
	done       chan struct{}      // closed when run has returned; at once if it never runs
	cancel     context.CancelFunc // ends run
	configure  sync.Mutex         // held while connectors are configured
	retry      chan struct{}      // a connector needs another try
	retireOnce sync.Once
	impatient  chan struct{} // closed when what is in flight has had its time
	giveUp     func()        // closes impatient
	cutOff     error         // what came of the retirement
	violations violations
	fruitful   atomic.Bool // the process has given a result

	mu        sync.Mutex
	state     core.GenerationState
	role      core.GenerationState // what it is called while its process is ready
	proven    bool                 // it was the active one: a crash starts it again
	parked    bool                 // it has no connectors, for they hold what only one may hold
	shadow    bool                 // it gets copies; its connectors are the sandbox's
	exam      exam
	process   *process // nil: none that can be called
	about     *description
	pid       int
	startedAt time.Time
	restarts  int
	problem   string
	innocent  bool // that it has failed is not the version's own fault
	attempts  int  // handed over and without a result
	calls     int
	quiet     chan struct{} // closed when no call is left; nil: nobody waits for it
	gap       time.Duration // of the hand-over to it
	retired   bool
	bindings  map[core.ConnectorID]*binding
	health    *channelv1.HealthResponse            // the latest of the process
	accepted  map[core.ConnectorID]ConnectorConfig // the last configuration that each connector took
	secrets   []string
}

func newGeneration(p *plugin, v catalog.Version) *generation {
	g := &generation{
		host: p.host, plugin: p, source: v, version: v.Version, redactor: &redactor{}, copies: make(chan struct{}, maxCopies),
		settled: make(chan struct{}), idle: make(chan struct{}), done: make(chan struct{}), retry: make(chan struct{}, 1),
		cancel: func() {}, state: core.GenerationStaged, role: core.GenerationReady,
		bindings: map[core.ConnectorID]*binding{}, accepted: map[core.ConnectorID]ConnectorConfig{},
	}
	g.impatient = make(chan struct{})
	g.giveUp = sync.OnceFunc(func() { close(g.impatient) })
	g.log = p.host.options.Logger.With("plugin", p.name, "version", v.Version)
	g.stderr = &stderrLog{log: g.log, redactor: g.redactor}
	if v.Problem != nil {
		g.fail(v.Problem, false)
	}
	return g
}

// take gives the generation its part in a route.
func (g *generation) take(role core.GenerationState, shadow bool) {
	g.mu.Lock()
	g.role = role
	if role == core.GenerationActive {
		g.proven = true
	}
	g.shadow = shadow
	if g.servesLocked() {
		g.state = role
	}
	g.mu.Unlock()
}

// servesLocked says whether the generation has a process that takes calls.
func (g *generation) servesLocked() bool {
	return g.state == core.GenerationReady || g.state == core.GenerationCanary || g.state == core.GenerationActive
}

// running says whether the generation has a process that takes calls.
func (g *generation) running() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.servesLocked()
}

// over says whether the generation has ended for good.
func (g *generation) over() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.state == core.GenerationFailed || g.state == core.GenerationStopped
}

// retiring says whether the generation takes no more calls.
func (g *generation) retiring() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.retired
}

// exclusive says whether the generation holds a session with its provider that only one may hold.
func (g *generation) exclusive() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.about != nil && g.about.capabilities.GetExclusiveSession()
}

// describes returns what the plugin said of itself: its channels and its capabilities.
func (g *generation) describes() (channels, capabilities []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.about == nil {
		return nil, nil
	}
	return slices.Clone(g.about.channels), g.about.names()
}

// fail ends the generation for good. Innocent: that is not the version's own fault.
func (g *generation) fail(err error, innocent bool) {
	g.mu.Lock()
	g.state = core.GenerationFailed
	g.problem, g.innocent = g.redactor.redact(err.Error()), innocent
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
	if !g.servesLocked() || g.retired {
		return nil, fmt.Errorf("plugin %s %s is %s", g.plugin.name, g.version, g.state)
	}
	if g.parked {
		return nil, fmt.Errorf("plugin %s %s does not have its session", g.plugin.name, g.version)
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
	s.g.wakeLocked()
}

// wakeLocked tells those who wait that no call is left.
func (g *generation) wakeLocked() {
	if g.calls > 0 {
		return
	}
	if g.retired {
		g.idleOnce.Do(func() { close(g.idle) })
	}
	if g.quiet != nil {
		close(g.quiet)
		g.quiet = nil
	}
}

// silence returns a channel that is closed when no call is left.
func (g *generation) silence() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.quiet == nil {
		g.quiet = make(chan struct{})
	}
	quiet := g.quiet
	g.wakeLocked()
	return quiet
}

// inFlight counts the attempts that have no result.
func (g *generation) inFlight() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.attempts
}

// status tells people how the generation is.
func (g *generation) status() core.GenerationStatus {
	lastStderr := g.stderr.tail.String() // a copy of up to 64 KiB, for which no call shall wait
	g.mu.Lock()
	defer g.mu.Unlock()
	return core.GenerationStatus{
		Version: g.version, SHA256: g.source.SHA256, State: g.state, PID: g.pid, StartedAt: g.startedAt, Restarts: g.restarts,
		Error: g.problem, LastStderr: lastStderr, InFlight: g.attempts,
	}
}

// standing tells how far the generation is, and what it did.
func (g *generation) standing() core.VersionStanding {
	figures := g.meter.read()
	figures.Violations = int(g.violations.total())
	g.mu.Lock()
	pid := g.pid
	g.mu.Unlock()
	figures.Memory = residentMemory(pid) // reads a file, for which no call shall wait
	g.mu.Lock()
	defer g.mu.Unlock()
	s := core.VersionStanding{State: g.state, Gap: g.gap, Figures: figures, Problem: g.exam.problem, Innocent: g.exam.innocent, Waiting: g.exam.waiting}
	switch {
	case g.state == core.GenerationFailed:
		s.Problem, s.Innocent = g.problem, g.innocent
	case !g.servesLocked():
		s.Waiting = "it is " + string(g.state)
	case s.Problem == "" && s.Waiting == "":
		s.Ready = true
	}
	return s
}

// violations counts breaches of the contract.
type violations struct {
	foreign, repeated, missing, malformed atomic.Uint64
}

func (v *violations) total() uint64 {
	return v.foreign.Load() + v.repeated.Load() + v.missing.Load() + v.malformed.Load()
}
