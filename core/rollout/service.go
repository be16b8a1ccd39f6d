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
	// storeTimeout bounds one look, leaveTimeout the last word of a gateway that ends.
	storeTimeout, leaveTimeout = 10 * time.Second, time.Second
	// byPolicy is the actor of what nobody ordered.
	byPolicy = "policy"
)

// Host runs the versions of plugins on this gateway.
type Host interface {
	// Installed lists the versions that this gateway has and can start, by name, then from the lowest version.
	// Quarantine and FirstSeen are empty; InstalledAt is since when the files are there.
	Installed() []core.PluginVersion
	// Arrange makes it so in the background; it is cheap when nothing changes. What is not named is drained and
	// retired. What an earlier arrangement found wrong with a version that is started again is forgotten at once.
	Arrange(plugin string, a core.Arrangement)
	// Standing says how far a version is. Its figures never go back while the gateway runs.
	Standing(plugin, version string) core.VersionStanding
	// Forget removes the files of a version that does not run, if there are any, be they good or bad.
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
}

// Service rolls out versions. All of its methods may be called at the same time.
type Service struct {
	o        Options
	registry *registry
	nudged   chan struct{}

	// What follows belongs to Run.
	windows   map[int64]*window    // by rollout
	beat      time.Time            // the last heartbeat
	looked    time.Time            // the last look for versions that were removed
	settled   map[string]time.Time // versions that the policy does not look at again before then
	complaint map[string]string    // what was said of a plugin last, so that it is said once
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
	return &Service{
		o: o, registry: newRegistry(o), nudged: make(chan struct{}, 1), windows: map[int64]*window{},
		settled: map[string]time.Time{}, complaint: map[string]string{},
	}
}

// Run puts the stored state in force and advances rollouts until ctx ends.
func (s *Service) Run(ctx context.Context) {
	defer s.leave(ctx)
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
	installed, err := s.registry.enter(ctx, s.o.Host.Installed())
	if err != nil {
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
	err = errors.Join(err, s.applyPolicy(ctx, installed, state.Active, open), s.removeGone(ctx))
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

// leave takes back what this gateway said of itself, so that the others do not wait for a gateway that has ended.
func (s *Service) leave(ctx context.Context) {
	if s.beat.IsZero() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTimeout)
	defer cancel()
	past := s.o.Now().Add(-2 * liveFor)
	for _, rollout := range slices.Concat([]int64{0}, slices.Collect(maps.Keys(s.windows))) {
		if err := s.o.Rollouts.ReportRollout(ctx, core.RolloutReport{Gateway: s.o.Gateway, Rollout: rollout, At: past}); err != nil {
			s.o.Logger.WarnContext(ctx, "rollout: other gateways do not know yet that this one has ended", "error", err)
			return
		}
	}
}

// settle makes the active version the only one.
func (s *Service) settle(ctx context.Context, plugin, active string, installed []core.PluginVersion) {
	versions := versionsOf(plugin, installed)
	err := s.registry.differing(plugin, active)
	if err == nil {
		err = lacking(plugin, active, versions)
	}
	s.complain(ctx, plugin, err)
	if len(versions) > 0 {
		s.arrange(plugin, core.Arrangement{Active: active})
	}
}

// arrange has the host run versions. One with other bytes than all gateways mean by it never runs: what it would have
// carried waits.
func (s *Service) arrange(plugin string, a core.Arrangement) {
	if s.registry.differing(plugin, a.Active) != nil {
		return
	}
	if s.registry.differing(plugin, a.Beside) != nil {
		a.Beside = ""
	}
	s.o.Host.Arrange(plugin, a)
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

// follow takes part in a rollout: puts it in force, judges, advances and reports it. What this gateway has advanced it
// goes on with at once.
func (s *Service) follow(ctx context.Context, r core.Rollout, installed []core.PluginVersion, reports []core.RolloutReport) error {
	for {
		w := s.windowOf(r.ID)
		own := s.enforce(ctx, w, &r, installed)
		v := gather(&r, reports, &own)
		v.waited, v.inForce = w.times(v.behind(&r) == "", own.At)
		d := decide(&r, v, own.At)
		if d.next == nil {
			return s.report(ctx, w, own)
		}
		next, err := s.advance(ctx, &r, d, v, s.o.Gateway)
		if err != nil {
			return err
		}
		if next == nil || !next.State.Open() {
			s.nudge() // whoever changed it, there is something new
			return nil
		}
		r = *next
	}
}

// enforce puts a rollout in force and returns how this gateway stands. One that lacks a version that it needs cannot put
// any revision in force: it reports revision 0 and goes on with the old one.
func (s *Service) enforce(ctx context.Context, w *window, r *core.Rollout, installed []core.PluginVersion) core.RolloutReport {
	err := s.registry.differing(r.Plugin, r.Active())
	if err == nil {
		err = lacking(r.Plugin, r.Active(), versionsOf(r.Plugin, installed))
	}
	s.complain(ctx, r.Plugin, err)
	w.begin(s.o.Host, r, s.o.Now())
	report := core.RolloutReport{Gateway: s.o.Gateway, Rollout: r.ID, At: s.o.Now()}
	if differing := s.registry.differing(r.Plugin, r.Active()); differing != nil || !has(installed, r) {
		s.arrange(r.Plugin, core.Arrangement{Active: r.From})
		if report.Waiting = s.o.Host.Standing(r.Plugin, r.To).Problem; differing != nil {
			report.Waiting = differing.Error()
		}
		return report
	}
	s.arrange(r.Plugin, arrangement(r))
	w.measure(s.o.Host, r, &report)
	return report
}

// report tells other gateways how this one stands, if they need to know now.
func (s *Service) report(ctx context.Context, w *window, own core.RolloutReport) error {
	if !w.due(own) {
		return nil
	}
	if err := s.o.Rollouts.ReportRollout(ctx, own); err != nil {
		return err
	}
	w.reported = own
	return nil
}

// advance stores a decision and returns the rollout as it is then, nil if somebody was faster.
func (s *Service) advance(ctx context.Context, r *core.Rollout, d decision, v *view, actor string) (*core.Rollout, error) {
	next := *d.next
	next.UpdatedAt = s.o.Now()
	old := v.comparison(r)
	event := core.RolloutEvent{
		Rollout: r.ID, At: next.UpdatedAt, State: next.State, Share: next.Share(), Paused: next.Paused, Actor: actor,
		Reason: d.reason, Old: &old, New: &v.fresh,
	}
	level, quarantine := slog.LevelInfo, ""
	if d.fault {
		level, quarantine = slog.LevelError, d.reason
	}
	ok, err := s.o.Rollouts.AdvanceRollout(ctx, next, event, quarantine)
	if err != nil || !ok {
		return nil, err
	}
	next.Revision++
	s.o.Logger.Log(ctx, level, "rollout: "+string(next.State), "plugin", r.Plugin, "rollout", r.ID, "from", r.From, "to", r.To,
		"share", next.Share(), "actor", actor, "reason", d.reason, "figures", compare(&old, &v.fresh))
	return &next, nil
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
