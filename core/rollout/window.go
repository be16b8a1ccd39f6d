package rollout

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// window is what this gateway remembers of a rollout: from where on the figures of both versions are compared. It begins
// with the revision that was put in force, and then follows the time, so that what was long ago does not hide what is
// now. A gateway that starts again begins a new one.
type window struct {
	revision int64
	since    time.Time           // when the revision was put in force here
	inForce  time.Time           // when it was known to be so everywhere; zero: it is not
	base     mark                // where the window begins
	next     mark                // where it will begin once enough has happened after that
	first    core.VersionFigures // of the new version, when this gateway first saw the rollout
	reported core.RolloutReport  // last
}

// mark is where the figures of both versions stood at a moment.
type mark struct {
	at       time.Time
	old, new core.VersionFigures
}

// leastSpan is how long the window at least is before it moves on.
const leastSpan = 5 * time.Second

func (s *Service) windowOf(rollout int64) *window {
	w, ok := s.windows[rollout]
	if !ok {
		w = &window{}
		s.windows[rollout] = w
	}
	return w
}

// forgetEnded drops the windows of rollouts that are no longer open.
func (s *Service) forgetEnded(open []core.Rollout) {
	ids := map[int64]bool{}
	for _, r := range open {
		ids[r.ID] = true
	}
	for id := range s.windows {
		if !ids[id] {
			delete(s.windows, id)
		}
	}
}

// begin begins the window of a revision.
func (w *window) begin(host Host, r *core.Rollout, now time.Time) {
	if w.revision == r.Revision {
		return
	}
	m := mark{at: now, old: host.Standing(r.Plugin, r.From).Figures, new: host.Standing(r.Plugin, r.To).Figures}
	if w.revision == 0 {
		w.first = m.new
	}
	// While the new version starts, the old one counts with all that is known of it: a new version that then gets
	// everything at once has nothing else to be compared with.
	if r.State == core.RolloutStarting {
		m.old = core.VersionFigures{}
	}
	w.revision, w.since, w.inForce, w.base, w.next = r.Revision, now, time.Time{}, m, m
}

// measure adds to the report of a gateway that has the revision in force how both versions are.
func (w *window) measure(host Host, r *core.Rollout, report *core.RolloutReport) {
	old, fresh := host.Standing(r.Plugin, r.From), host.Standing(r.Plugin, r.To)
	w.move(r, mark{at: report.At, old: old.Figures, new: fresh.Figures})
	report.Revision, report.Ready, report.Problem, report.Innocent = r.Revision, fresh.Ready, fresh.Problem, fresh.Innocent
	report.Waiting, report.Exclusive, report.Gap = fresh.Waiting, old.Exclusive || fresh.Exclusive, fresh.Gap
	report.Old, report.New = old.Figures.Since(w.base.old), fresh.Figures.Since(w.base.new)
	// What ends a rollout at once must not be lost because somebody advanced it in the same moment.
	report.New.Crashes = fresh.Figures.Crashes - w.first.Crashes
	report.New.Violations = fresh.Figures.Violations - w.first.Violations
}

// move lets the window begin later, where it then still holds the time and the results that a step needs.
func (w *window) move(r *core.Rollout, now mark) {
	if r.State == core.RolloutStarting || now.at.Sub(w.next.at) < max(r.Plan.Window, leastSpan) {
		return
	}
	old, fresh := now.old.Since(w.next.old), now.new.Since(w.next.new)
	compared := old.Samples() >= r.Plan.MinSamples || r.State == core.RolloutBaking
	if compared && fresh.Samples() >= r.Plan.MinSamples {
		w.base, w.next = w.next, now
	}
}

// times says for how long this gateway has had the revision in force, and for how long all have.
func (w *window) times(inForce bool, now time.Time) (waited, everywhere time.Duration) {
	if inForce && w.inForce.IsZero() {
		w.inForce = now
	}
	if !w.inForce.IsZero() {
		everywhere = now.Sub(w.inForce)
	}
	return now.Sub(w.since), everywhere
}

// due says whether other gateways need a report now.
func (w *window) due(r core.RolloutReport) bool {
	last := &w.reported
	news := r.Revision != last.Revision || r.Ready != last.Ready || r.Problem != last.Problem || r.Waiting != last.Waiting ||
		r.Exclusive != last.Exclusive ||
		r.New.Crashes != last.New.Crashes || r.New.Violations != last.New.Violations
	return news || r.At.Sub(last.At) >= reportEvery
}

// arrangement is what a state of a rollout means for a gateway.
func arrangement(r *core.Rollout) core.Arrangement {
	a := core.Arrangement{Active: r.Active()}
	switch r.State {
	case core.RolloutStarting, core.RolloutCanary, core.RolloutShadow:
		a.Beside, a.Share, a.By, a.Accounts = r.To, r.Share(), r.Plan.By, r.Plan.Accounts
		a.Shadow = r.State == core.RolloutShadow
	case core.RolloutBaking:
		a.Beside, a.By = r.From, r.Plan.By
	case core.RolloutPromoted, core.RolloutRolledBack:
	}
	return a
}
