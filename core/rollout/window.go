package rollout

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// window is what this gateway remembers of a rollout: where the figures of both versions stood when the present
// revision was put in force. A gateway that starts again begins a new one.
type window struct {
	revision int64
	since    time.Time
	old, new core.VersionFigures // at that moment
	first    core.VersionFigures // of the new version, when this gateway first saw the rollout
	reported core.RolloutReport  // last
}

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

// enforce puts a revision in force and reports how this gateway stands. A gateway that lacks the new version cannot
// put any in force: it reports revision 0 and goes on with the old one.
func (w *window) enforce(host Host, r *core.Rollout, installed bool, now time.Time) core.RolloutReport {
	if w.revision != r.Revision {
		w.begin(host, r, now)
	}
	report := core.RolloutReport{Rollout: r.ID, At: now}
	if !installed {
		host.Arrange(r.Plugin, core.Arrangement{Active: r.From})
		report.Waiting = host.Standing(r.Plugin, r.To).Problem
		return report
	}
	host.Arrange(r.Plugin, arrangement(r))
	old, fresh := host.Standing(r.Plugin, r.From), host.Standing(r.Plugin, r.To)
	report.Revision, report.Ready, report.Problem = r.Revision, fresh.Ready, fresh.Problem
	report.Waiting = fresh.Waiting
	report.Old, report.New = old.Figures.Since(w.old), fresh.Figures.Since(w.new)
	// What ends a rollout at once must not be lost because somebody advanced it in the same moment.
	report.New.Crashes = fresh.Figures.Crashes - w.first.Crashes
	report.New.Violations = fresh.Figures.Violations - w.first.Violations
	return report
}

func (w *window) begin(host Host, r *core.Rollout, now time.Time) {
	fresh := host.Standing(r.Plugin, r.To).Figures
	if w.revision == 0 {
		w.first = fresh
	}
	w.revision, w.since, w.new, w.old = r.Revision, now, fresh, core.VersionFigures{}
	// While the new version starts, the old one counts with all that is known of it: a new version that then gets
	// everything at once has nothing else to be compared with.
	if r.State != core.RolloutStarting {
		w.old = host.Standing(r.Plugin, r.From).Figures
	}
}

// due says whether other gateways need a report now.
func (w *window) due(r core.RolloutReport) bool {
	last := &w.reported
	news := r.Revision != last.Revision || r.Ready != last.Ready || r.Problem != last.Problem || r.Waiting != last.Waiting ||
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
