package rollout_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
	"github.com/pigeonry/pigeonry/core/store"
	"github.com/pigeonry/pigeonry/core/store/sqlite"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	plugin     = "sms"
	operator   = "operator"
	before     = "1.0.0"
	after      = "1.1.0"
	perSecond  = 400
	startsIn   = time.Second
	ownLatency = 40 * time.Millisecond
)

// version is how the executable of a version behaves, wherever it runs. It may change while it does.
type version struct {
	startsIn                                                  time.Duration // default: startsIn
	problem                                                   string
	innocent                                                  bool   // of the problem
	waiting                                                   string // it never is ready
	failed, uncertain, refused, throttled, disagreed, violate float64
	provider                                                  float64       // failed, and blamed on the provider
	exclusive                                                 bool          // only one process may hold its session
	takeover                                                  time.Duration // how long nobody holds it
	locked                                                    bool          // it does not get it
	latency                                                   time.Duration // default: ownLatency
	memory                                                    int64
	crash, hang                                               bool
}

// world is a store and the gateways on it, in a bubble of synctest.
type world struct {
	*testing.T

	store    store.Store
	random   *rand.Rand // carry's alone
	mu       sync.Mutex // guards what follows
	versions map[string]*version
	gateways []*gateway
	traffic  int               // messages a second, of all gateways
	passedBy bool              // whatever the share, no message is the new version's
	bytes    map[string]string // checksums of versions where a gateway that starts has other bytes
	since    time.Time         // when the files of a gateway that starts came there; zero: nobody knows
}

// gateway is one that runs.
type gateway struct {
	*rollout.Service

	name string
	host *host
	log  *buffer
	line *line
	stop func()
}

// line is a gateway's to the store, until it is cut.
type line struct {
	store.Rollouts

	cut atomic.Bool
}

// ReportRollout implements store.Rollouts.
func (l *line) ReportRollout(ctx context.Context, r core.RolloutReport) error {
	if l.cut.Load() {
		return errors.New("the gateway is dead")
	}
	return l.Rollouts.ReportRollout(ctx, r)
}

// inWorld runs a test in a bubble, with traffic.
func inWorld(t *testing.T, test func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		s, err := sqlite.Open(t.Context(), sqlite.Options{Path: sqlitetest.Database(t), Exclusive: true})
		if err != nil {
			t.Fatal(err)
		}
		w := &world{
			T: t, store: s, versions: map[string]*version{before: {}, after: {}}, traffic: perSecond,
			random: rand.New(rand.NewPCG(1, 2)),
		}
		ctx, cancel := context.WithCancel(context.Background())
		var carrier sync.WaitGroup
		carrier.Go(func() { w.carry(ctx) })
		t.Cleanup(func() {
			for _, g := range w.gateways {
				g.stop()
			}
			cancel()
			carrier.Wait()
			if err := s.Close(); err != nil {
				t.Error(err)
			}
		})
		test(w)
	})
}

// pass lets time go by.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func (w *world) carry(ctx context.Context) {
	const tick = 50 * time.Millisecond
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(tick):
		}
		w.mu.Lock()
		gateways, traffic := slices.Clone(w.gateways), w.traffic
		w.mu.Unlock()
		for _, g := range gateways {
			for range traffic / int(time.Second/tick) / len(gateways) {
				g.host.carry(w.random)
			}
		}
	}
}

// set changes how a version behaves, or how much traffic there is.
func (w *world) set(change func(w *world)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

func (w *world) behaviour(v string) version {
	w.mu.Lock()
	defer w.mu.Unlock()
	if b, ok := w.versions[v]; ok {
		return *b
	}
	return version{}
}

func installed(versions ...string) []core.PluginVersion {
	var all []core.PluginVersion
	for _, v := range versions {
		all = append(all, core.PluginVersion{Plugin: plugin, Version: v, SHA256: "sha of " + v})
	}
	return all
}

// start starts a gateway that has some versions, both without saying which.
func (w *world) start(name string, change func(*rollout.Options), versions ...string) *gateway {
	w.Helper()
	if len(versions) == 0 {
		versions = []string{before, after}
	}
	g := &gateway{name: name, log: &buffer{}}
	g.host = &host{world: w, installed: installed(versions...), runs: map[string]*run{}, changed: make(chan struct{})}
	for i, v := range g.host.installed {
		g.host.installed[i].SHA256, g.host.installed[i].InstalledAt = cmp.Or(w.bytes[v.Version], v.SHA256), w.since
	}
	o := rollout.Options{
		Versions: w.store, Rollouts: w.store, History: w.store, Host: g.host, Gateway: name, Logger: slog.New(slog.NewTextHandler(g.log, nil)),
	}
	if change != nil {
		change(&o)
	}
	g.line = &line{Rollouts: o.Rollouts}
	o.Rollouts = g.line
	if _, err := w.store.Activate(w.Context(), plugin, before); err != nil {
		w.Fatal(err)
	}
	g.Service = rollout.New(o)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { g.Run(ctx) })
	g.stop = func() {
		cancel()
		running.Wait()
	}
	w.set(func(w *world) { w.gateways = append(w.gateways, g) })
	pass(200 * time.Millisecond)
	return g
}

// kill ends a gateway as kill -9 does: nothing of it is left but what is stored.
func (w *world) kill(g *gateway) {
	g.line.cut.Store(true)
	w.end(g)
}

// end ends a gateway as an operator does.
func (w *world) end(g *gateway) {
	g.stop()
	w.set(func(w *world) { w.gateways = slices.DeleteFunc(w.gateways, func(o *gateway) bool { return o == g }) })
}

// quick is a plan that does not take long.
func quick(strategy core.RolloutStrategy) core.RolloutPlan {
	p := rollout.Defaults(strategy)
	p.Window, p.Bake = 3*time.Second, 5*time.Second
	if strategy == core.StrategyCanary {
		p.Steps = []float64{10, 50, 100}
	}
	return p
}

func (w *world) begin(g *gateway, plan core.RolloutPlan) core.Rollout {
	w.Helper()
	r, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: after, Plan: plan, Actor: operator})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) rollout(id int64) (core.Rollout, []core.RolloutEvent) {
	w.Helper()
	r, events, err := w.store.Rollout(w.Context(), plugin, id)
	if err != nil {
		w.Fatal(err)
	}
	return r, events
}

// until waits until a rollout is in a state and returns it and how long it took.
func (w *world) until(id int64, state core.RolloutState, within time.Duration) (core.Rollout, time.Duration) {
	w.Helper()
	began := time.Now()
	for {
		r, _ := w.rollout(id)
		if r.State == state {
			return r, time.Since(began)
		}
		if time.Since(began) > within || !r.State.Open() {
			w.Fatalf("after %s the rollout is %s, want %s: %s\n%s", time.Since(began), r.State, state, r.Reason, w.timeline(id))
		}
		pass(100 * time.Millisecond)
	}
}

// timeline tells the events of a rollout.
func (w *world) timeline(id int64) string {
	w.Helper()
	var lines []string
	_, events := w.rollout(id)
	for _, e := range events {
		line := string(e.State)
		if e.State == core.RolloutCanary {
			line += fmt.Sprintf(" %g", e.Share)
		}
		if e.Paused {
			line += " paused"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}

func (w *world) active() string {
	w.Helper()
	state, err := w.store.RolloutsState(w.Context(), time.Now())
	if err != nil {
		w.Fatal(err)
	}
	return state.Active[plugin]
}

// condemn rolls the new version out and back again, into quarantine.
func (w *world) condemn(reason string) {
	w.Helper()
	now := time.Now()
	r, err := w.store.BeginRollout(w.Context(), core.Rollout{
		Plugin: plugin, From: before, To: after, SHA256: "sha of " + after, Plan: quick(core.StrategyCanary), State: core.RolloutStarting,
		Since: now, Actor: operator, CreatedAt: now, UpdatedAt: now,
	}, core.RolloutEvent{At: now, State: core.RolloutStarting}, true)
	if err != nil {
		w.Fatal(err)
	}
	r.State = core.RolloutRolledBack
	if ok, err := w.store.AdvanceRollout(w.Context(), r, core.RolloutEvent{At: now, State: r.State}, reason); err != nil || !ok {
		w.Fatal(ok, err)
	}
}

func (w *world) quarantine(v string) string {
	w.Helper()
	known, err := w.store.PluginVersions(w.Context(), plugin)
	if err != nil {
		w.Fatal(err)
	}
	i := slices.IndexFunc(known, func(k core.PluginVersion) bool { return k.Version == v })
	if i < 0 {
		w.Fatalf("version %s is not registered", v)
	}
	return known[i].Quarantine
}

// host is a plugin host without processes.
type host struct {
	world *world

	mu        sync.Mutex
	installed []core.PluginVersion
	arranged  []core.Arrangement
	holder    string // the version that was active last
	runs      map[string]*run
	changed   chan struct{}
}

// run is a version on one host.
type run struct {
	running    bool
	standing   core.VersionStanding
	stuckSince time.Time
}

// Installed implements rollout.Host.
func (h *host) Installed() []core.PluginVersion {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(h.installed)
}

// spoil makes the files of a version such that it cannot be started.
func (h *host) spoil(name, problem string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.installed = slices.DeleteFunc(h.installed, func(v core.PluginVersion) bool { return v.Version == name })
	h.runOf(name).standing.Problem = problem
	h.tell()
}

// Changed implements rollout.Host.
func (h *host) Changed() <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changed
}

func (h *host) tell() {
	close(h.changed)
	h.changed = make(chan struct{})
}

// Arrange implements rollout.Host.
func (h *host) Arrange(_ string, a core.Arrangement) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.arranged); n > 0 && same(h.arranged[n-1], a) {
		return
	}
	h.arranged = append(h.arranged, a)
	if r := h.runs[a.Active]; r != nil && r.standing.Ready && h.holder != a.Active {
		h.takeOver(a.Active, r)
	}
	h.holder = a.Active
	for name, r := range h.runs {
		r.running = r.running && (name == a.Active || name == a.Beside)
		r.standing.Ready = r.standing.Ready && r.running
	}
	for _, name := range []string{a.Active, a.Beside} {
		if name != "" && !h.runOf(name).running {
			h.begin(name)
		}
	}
}

// takeOver hands the session over, if there is one.
func (h *host) takeOver(name string, r *run) {
	b := h.world.behaviour(name)
	if b.takeover == 0 {
		return
	}
	r.standing.Ready, r.standing.Waiting = false, "it is taking over"
	time.AfterFunc(b.takeover, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		r.standing.Ready, r.standing.Waiting, r.standing.Gap = r.running && !b.locked, "", b.takeover
		if b.locked {
			r.standing.Problem = "the provider refuses a second session"
		}
		h.tell()
	})
}

func (h *host) runOf(name string) *run {
	r, ok := h.runs[name]
	if !ok {
		r = &run{}
		h.runs[name] = r
	}
	return r
}

func (h *host) begin(name string) {
	r, b := h.runOf(name), h.world.behaviour(name)
	r.running, r.standing.Problem, r.standing.Waiting, r.standing.Innocent = true, "", b.waiting, b.innocent
	time.AfterFunc(cmp.Or(b.startsIn, startsIn), func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		r.standing.Problem, r.standing.Ready = b.problem, r.running && b.problem == "" && b.waiting == ""
		h.tell()
	})
}

func same(a, b core.Arrangement) bool {
	return a.Active == b.Active && a.Beside == b.Beside && a.Share == b.Share && a.By == b.By && a.Shadow == b.Shadow &&
		slices.Equal(a.Accounts, b.Accounts)
}

// arrangement is the one in force.
func (h *host) arrangement() core.Arrangement {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.arranged) == 0 {
		return core.Arrangement{}
	}
	return h.arranged[len(h.arranged)-1]
}

// Standing implements rollout.Host.
func (h *host) Standing(_, name string) core.VersionStanding {
	b := h.world.behaviour(name)
	h.mu.Lock()
	defer h.mu.Unlock()
	r := h.runOf(name)
	s := r.standing
	s.Figures.Latency.Counts = slices.Clone(s.Figures.Latency.Counts)
	s.Exclusive = b.exclusive
	s.Figures.Memory = cmp.Or(b.memory, 50<<20)
	if !r.stuckSince.IsZero() {
		s.Figures.Stalled, s.Figures.Stuck = time.Since(r.stuckSince), 2
	}
	return s
}

// Forget implements rollout.Host.
func (h *host) Forget(_, name string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.runOf(name).running {
		return errors.New("it runs")
	}
	h.installed = slices.DeleteFunc(h.installed, func(v core.PluginVersion) bool { return v.Version == name })
	delete(h.runs, name)
	h.tell()
	return nil
}

func (h *host) install(versions ...core.PluginVersion) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.installed = versions
	h.tell()
}

// carry gives one message to a version.
func (h *host) carry(random *rand.Rand) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.world.mu.Lock() // always after the host's
	defer h.world.mu.Unlock()
	if len(h.arranged) == 0 {
		return
	}
	a := h.arranged[len(h.arranged)-1]
	name := a.Active
	if beside := h.runs[a.Beside]; beside != nil && beside.standing.Ready && !h.world.passedBy && random.Float64()*100 < a.Share {
		name = a.Beside
	}
	if h.world.versions[name] != nil && h.runOf(name).standing.Ready {
		h.runOf(name).attempt(h.world.versions[name], random)
	}
}

func (r *run) attempt(b *version, random *rand.Rand) {
	f := &r.standing.Figures
	switch dice := random.Float64(); {
	case b.hang:
		if r.stuckSince.IsZero() {
			r.stuckSince = time.Now()
		}
		return
	case b.crash:
		f.Crashes++
		return
	case dice < b.failed:
		f.Failed++
	case dice < b.provider:
		f.Failed++
		f.Provider++
	case dice < b.uncertain:
		f.Uncertain++
	case dice < b.refused:
		f.Refused++
	case dice < b.throttled:
		f.Throttled++
	default:
		f.Accepted++
	}
	if random.Float64() < b.disagreed {
		f.Disagreed++
	}
	if random.Float64() < b.violate {
		f.Violations++
	}
	f.Latency.Observe(time.Duration((0.5 + random.ExpFloat64()) * float64(cmp.Or(b.latency, ownLatency))))
}

// buffer is a log that may be read while it is written.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

// String returns what was written.
func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}
