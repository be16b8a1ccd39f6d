// Package rollout is the policy of replacing one version of a plugin by another while messages flow: when a new
// version begins, how large its share is, when it has proved itself, and when it goes back. The mechanism, processes
// and the sharing out of messages, is the Host's.
//
// Every gateway runs the same loop over what is stored: it puts the state in force, reports what it sees, judges what
// all gateways report, and advances the rollout by compare-and-set. None leads; who loses the compare-and-set looks
// again. Nothing is kept in memory that decides anything, so a gateway that dies at any moment goes on, or back, when
// it starts again.
package rollout

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

const (
	// idlePoll is the time between two looks at the store while nothing is going on, openPoll while a rollout is.
	idlePoll, openPoll = 500 * time.Millisecond, 100 * time.Millisecond
	// leastPause keeps a host that changes all the time from making the gateway look all the time.
	leastPause = 50 * time.Millisecond
	// liveFor is how old the latest report of a gateway that runs may be, heartbeat how often one that has nothing
	// new to say reports, and reportEvery how often one that takes part in a rollout does.
	liveFor, heartbeat, reportEvery = 10 * time.Second, 3 * time.Second, 500 * time.Millisecond
	// startWait is how long the new version may take until it is ready everywhere.
	startWait = 30 * time.Second
	// storeTimeout bounds one look.
	storeTimeout = 10 * time.Second
	// byPolicy is the actor of what nobody ordered.
	byPolicy = "policy"
)

// Host runs the versions of plugins on this gateway.
type Host interface {
	// Installed lists the versions that this gateway has and can start, by name, then from the lowest version.
	// Quarantine and FirstSeen are empty.
	Installed() []core.PluginVersion
	// Arrange makes it so in the background; it is cheap when nothing changes. What is not named is drained and
	// retired. What an earlier arrangement found wrong with a version that is started again is forgotten at once.
	Arrange(plugin string, a core.Arrangement)
	// Standing says how far a version is. Its figures never go back while the gateway runs.
	Standing(plugin, version string) core.VersionStanding
	// Forget removes the files of a version that does not run.
	Forget(plugin, version string) error
	// Changed is closed at the next change of a standing, or of what is installed.
	Changed() <-chan struct{}
}

// Policy says what becomes of a new version of a plugin.
type Policy struct {
	// Automatic rolls out a version that is higher than the active one as soon as it is installed, once.
	Automatic bool
	// Plan is how, and what a rollout without a plan of its own goes by; the zero value: Defaults of a canary.
	Plan core.RolloutPlan
}

// Options are what a Service needs. All are required except those with a default.
type Options struct {
	Versions store.PluginVersions
	Rollouts store.Rollouts
	History  store.RolloutHistory
	Host     Host
	Gateway  string // a name that no other gateway has
	Logger   *slog.Logger
	// Now is the time that all gateways agree on; default time.Now.
	Now func() time.Time
	// Policy is asked about every plugin anew, so that settings may change; default: none is automatic.
	Policy func(plugin string) Policy
	// Allow may refuse a plan that does not fit a plugin, such as a canary of one whose session only one process may
	// hold; default: all are allowed.
	Allow func(plugin, version string, plan core.RolloutPlan) error
	// Ended hears of every rollout that ended, on the gateway that ended it.
	Ended func(r core.Rollout)
}

// Service rolls out versions. All of its methods may be called at the same time.
type Service struct {
	o        Options
	registry *registry
	nudged   chan struct{}

	// What follows belongs to Run.
	windows   map[int64]*window // by rollout
	beat      time.Time         // the last heartbeat
	looked    time.Time         // the last look for versions that were removed
	settled   map[string]bool   // versions that the policy never begins
	complaint map[string]string // what was said of a plugin last, so that it is said once
}

// New returns a service; Run makes it work.
func New(o Options) *Service {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Policy == nil {
		o.Policy = func(string) Policy { return Policy{} }
	}
	if o.Allow == nil {
		o.Allow = func(string, string, core.RolloutPlan) error { return nil }
	}
	if o.Ended == nil {
		o.Ended = func(core.Rollout) {}
	}
	return &Service{
		o: o, registry: newRegistry(o), nudged: make(chan struct{}, 1), windows: map[int64]*window{},
		settled: map[string]bool{}, complaint: map[string]string{},
	}
}

// Run puts the stored state in force and advances rollouts until ctx ends.
func (s *Service) Run(ctx context.Context) {
	for ctx.Err() == nil {
		changed := s.o.Host.Changed()
		pause, err := s.look(ctx)
		if ctx.Err() != nil {
			return
		}
		s.complain(ctx, "store", err)
		if !sleep(ctx, leastPause) {
			return
		}
		s.wait(ctx, changed, pause)
	}
}

// wait returns when there may be something new.
func (s *Service) wait(ctx context.Context, changed <-chan struct{}, most time.Duration) {
	t := time.NewTimer(most)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-changed:
	case <-s.nudged:
	case <-t.C:
	}
}

// nudge makes Run look at once.
func (s *Service) nudge() {
	select {
	case s.nudged <- struct{}{}:
	default:
	}
}

// look does all that there is to do now, and returns after how long there may be more.
func (s *Service) look(ctx context.Context) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	installed := s.o.Host.Installed()
	if err := s.registry.enter(ctx, installed); err != nil {
		return idlePoll, err
	}
	state, err := s.o.Rollouts.RolloutsState(ctx, s.o.Now().Add(-liveFor))
	if err != nil {
		return idlePoll, err
	}
	if err := s.sayAlive(ctx); err != nil {
		return idlePoll, err
	}
	s.forgetEnded(state.Open)
	open, err := s.followAll(ctx, installed, &state)
	for plugin, active := range state.Active {
		if !open[plugin] {
			s.settle(ctx, plugin, active, installed)
		}
	}
	s.adopt(ctx, installed, state.Active)
	err = errors.Join(err, s.applyPolicy(ctx, installed, state.Active, open), s.removeGone(ctx, installed))
	if len(open) > 0 {
		return openPoll, err
	}
	return idlePoll, err
}

// followAll takes part in all rollouts, and returns the plugins that have one. What goes wrong with one of them does not
// hold up the others.
func (s *Service) followAll(ctx context.Context, installed []core.PluginVersion, state *store.RolloutsState) (map[string]bool, error) {
	open := map[string]bool{}
	var errs []error
	for _, r := range state.Open {
		open[r.Plugin] = true
		errs = append(errs, s.follow(ctx, r, installed, state.Reports))
	}
	return open, errors.Join(errs...)
}

// sayAlive lets other gateways know that this one is there, so that they wait for it.
func (s *Service) sayAlive(ctx context.Context) error {
	now := s.o.Now()
	if now.Sub(s.beat) < heartbeat {
		return nil
	}
	if err := s.o.Rollouts.ReportRollout(ctx, core.RolloutReport{Gateway: s.o.Gateway, At: now}); err != nil {
		return err
	}
	s.beat = now
	return nil
}

// settle makes the active version the only one.
func (s *Service) settle(ctx context.Context, plugin, active string, installed []core.PluginVersion) {
	versions := versionsOf(plugin, installed)
	s.complain(ctx, plugin, lacking(plugin, active, versions))
	if len(versions) > 0 {
		s.o.Host.Arrange(plugin, core.Arrangement{Active: active})
	}
}

// adopt gives plugins that were never active a version.
func (s *Service) adopt(ctx context.Context, installed []core.PluginVersion, active map[string]string) {
	unknown := map[string]bool{}
	for _, v := range installed {
		if _, ok := active[v.Plugin]; !ok {
			unknown[v.Plugin] = true
		}
	}
	for _, plugin := range slices.Sorted(maps.Keys(unknown)) {
		version, err := s.Choose(ctx, plugin, versionsOf(plugin, installed))
		s.complain(ctx, plugin, err)
		if err == nil {
			s.o.Logger.InfoContext(ctx, "rollout: plugin begins", "plugin", plugin, "version", version)
			s.nudge()
		}
	}
}

// follow takes part in a rollout: puts it in force, reports, judges, and advances it.
func (s *Service) follow(ctx context.Context, r core.Rollout, installed []core.PluginVersion, reports []core.RolloutReport) error {
	now := s.o.Now()
	w := s.windowOf(r.ID)
	own := w.enforce(s.o.Host, &r, has(installed, &r), now)
	own.Gateway = s.o.Gateway
	s.complain(ctx, r.Plugin, lacking(r.Plugin, r.Active(), versionsOf(r.Plugin, installed)))
	if w.due(own) {
		if err := s.o.Rollouts.ReportRollout(ctx, own); err != nil {
			return err
		}
		w.reported = own
	}
	v := gather(&r, reports, &own)
	if d := decide(&r, v, now, now.Sub(w.since)); d.next != nil {
		_, err := s.advance(ctx, &r, d, v, s.o.Gateway)
		if err == nil {
			s.nudge() // whoever changed it, there is something new
		}
		return err
	}
	return nil
}

// advance stores a decision, if nobody was faster, and does what follows from it.
func (s *Service) advance(ctx context.Context, r *core.Rollout, d decision, v *view, actor string) (bool, error) {
	next := *d.next
	next.UpdatedAt = s.o.Now()
	old := v.comparison(r)
	event := core.RolloutEvent{
		Rollout: r.ID, At: next.UpdatedAt, State: next.State, Share: next.Share(), Paused: next.Paused, Actor: actor,
		Reason: d.reason, Old: &old, New: &v.fresh,
	}
	ok, err := s.o.Rollouts.AdvanceRollout(ctx, next, event)
	if err != nil || !ok {
		return false, err
	}
	level := slog.LevelInfo
	if d.fault {
		level = slog.LevelError
	}
	s.o.Logger.Log(ctx, level, "rollout: "+string(next.State), "plugin", r.Plugin, "rollout", r.ID, "from", r.From, "to", r.To,
		"share", next.Share(), "actor", actor, "reason", d.reason, "figures", compare(&old, &v.fresh))
	if !next.State.Open() {
		s.o.Ended(next)
	}
	if d.fault {
		return true, s.o.Versions.Quarantine(ctx, r.Plugin, r.SHA256, d.reason)
	}
	return true, nil
}

// complain logs what is wrong once, until it is another thing or none.
func (s *Service) complain(ctx context.Context, about string, err error) {
	if err == nil {
		delete(s.complaint, about)
		return
	}
	if text := err.Error(); s.complaint[about] != text {
		s.complaint[about] = text
		s.o.Logger.ErrorContext(ctx, "rollout: "+text, "about", about)
	}
}

// sleep waits, and says whether ctx still goes on.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
