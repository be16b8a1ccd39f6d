package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// figures are what a version did: something in every field, different for every n.
func figures(n int) core.VersionFigures {
	f := core.VersionFigures{
		Accepted: 1000 * n, Refused: n, Throttled: 2 * n, Failed: 3 * n, Provider: n, Uncertain: 4 * n, Disagreed: 5 * n, Violations: 6 * n,
		Crashes: 7 * n, Stuck: 8 * n, Memory: int64(n) << 40, Stalled: time.Duration(n) * time.Second,
	}
	f.Latency.Observe(time.Duration(n) * time.Millisecond)
	return f
}

// upgrade is a rollout of sms from 1.0.0 to 1.1.0, as one begins.
func upgrade() core.Rollout {
	return core.Rollout{
		Plugin: "sms", From: "1.0.0", To: "1.1.0", SHA256: version("sms", "1.1.0").SHA256,
		Plan: core.RolloutPlan{
			Strategy: core.StrategyCanary, Steps: []float64{0.1, 33.3, 100}, MinSamples: 50, Window: time.Minute, Bake: time.Hour,
			By: core.ByAccount, Accounts: []core.AccountID{1, 1 << 40},
			Gates: core.RolloutGates{FailureRate: 0.02, UncertainRate: 0.001, LatencyRatio: 1.5, MemoryRatio: 2},
		},
		State: core.RolloutStarting, Since: t0, Actor: "key 7", CreatedAt: t0, UpdatedAt: t0,
	}
}

// eventOf is the event that brought a rollout to where it is.
func eventOf(r core.Rollout) core.RolloutEvent {
	return core.RolloutEvent{
		Rollout: r.ID, At: r.UpdatedAt, State: r.State, Share: r.Share(), Paused: r.Paused, Actor: "gateway-1", Reason: r.Reason,
	}
}

func (f *fixture) activate(plugin, number string) {
	f.Helper()
	active, err := f.Activate(f.ctx, plugin, number)
	f.check("Activate", err)
	equal(f, "the active version", active, number)
}

// begin makes 1.0.0 of sms active and begins the upgrade.
func (f *fixture) begin() core.Rollout {
	f.Helper()
	f.activate("sms", "1.0.0")
	return f.beginOne(upgrade())
}

// newOf is the new version of a rollout.
func newOf(r core.Rollout) core.PluginVersion {
	return core.PluginVersion{Plugin: r.Plugin, Version: r.To, SHA256: r.SHA256, FirstSeen: t0}
}

// beginOne begins a rollout to a version that is installed.
func (f *fixture) beginOne(r core.Rollout) core.Rollout {
	f.Helper()
	f.register(newOf(r))
	begun, err := f.BeginRollout(f.ctx, r, eventOf(r), true)
	f.check("BeginRollout", err)
	return plainRollout(begun)
}

// next is a rollout in another state, a minute later.
func next(r core.Rollout, state core.RolloutState) core.Rollout {
	r.State = state
	r.UpdatedAt = r.UpdatedAt.Add(time.Minute)
	r.Since = r.UpdatedAt
	return r
}

// advance brings a rollout to another state and returns it as it is then.
func (f *fixture) advance(r core.Rollout, state core.RolloutState) core.Rollout {
	f.Helper()
	r = next(r, state)
	f.change(r)
	r.Revision++
	return r
}

// change stores a rollout that nobody else has changed.
func (f *fixture) change(r core.Rollout) {
	f.Helper()
	advanced, err := f.AdvanceRollout(f.ctx, r, eventOf(r), "")
	f.check("AdvanceRollout", err)
	equal(f, "advanced", advanced, true)
}

func (f *fixture) state(since time.Time) store.RolloutsState {
	f.Helper()
	state, err := f.RolloutsState(f.ctx, since)
	f.check("RolloutsState", err)
	for i, r := range state.Open {
		state.Open[i] = plainRollout(r)
	}
	for i, r := range state.Reports {
		state.Reports[i].At = plainTime(r.At)
	}
	return state
}

// wantOpen reports other open rollouts.
func (f *fixture) wantOpen(want ...core.Rollout) {
	f.Helper()
	same(f, "open rollouts", f.state(t0).Open, want)
}

// wantActive reports another active version of sms.
func (f *fixture) wantActive(want string) {
	f.Helper()
	equal(f, "the active version", f.state(t0).Active["sms"], want)
}

// history returns a rollout of sms with its events.
func (f *fixture) history(id int64) (core.Rollout, []core.RolloutEvent) {
	f.Helper()
	r, events, err := f.Rollout(f.ctx, "sms", id)
	f.check("Rollout", err)
	for i, e := range events {
		events[i].At = plainTime(e.At)
	}
	return plainRollout(r), events
}

// wantRollouts reports another list of the rollouts of sms.
func (f *fixture) wantRollouts(before int64, limit int, want ...int64) {
	f.Helper()
	rollouts, err := f.Rollouts(f.ctx, "sms", before, limit)
	f.check("Rollouts", err)
	var got []int64
	for _, r := range rollouts {
		got = append(got, r.ID)
	}
	same(f, "rollouts", got, want)
}

func (f *fixture) report(r core.RolloutReport) {
	f.Helper()
	f.check("ReportRollout", f.ReportRollout(f.ctx, r))
}

// wantReports reports other reports made at or after a time.
func (f *fixture) wantReports(since time.Time, want ...core.RolloutReport) {
	f.Helper()
	got := f.state(since).Reports
	for _, reports := range [][]core.RolloutReport{got, want} {
		slices.SortFunc(reports, func(a, b core.RolloutReport) int {
			return len(a.Gateway)*100 + int(a.Rollout) - len(b.Gateway)*100 - int(b.Rollout)
		})
	}
	same(f, "reports", got, want)
}

// reportOf is one of a gateway on a rollout.
func reportOf(gateway string, rollout int64, made time.Time) core.RolloutReport {
	return core.RolloutReport{
		Gateway: gateway, Rollout: rollout, At: made, Revision: 3, Ready: true, Waiting: "login", Problem: "none",
		Innocent: true, Exclusive: true, Gap: 123 * time.Millisecond, Old: figures(1), New: figures(2),
	}
}

// plainRollout has its times as they are kept.
func plainRollout(r core.Rollout) core.Rollout {
	r.Since, r.CreatedAt, r.UpdatedAt = plainTime(r.Since), plainTime(r.CreatedAt), plainTime(r.UpdatedAt)
	return r
}

// same reports a difference between things that Go cannot compare with ==. Empty lists are the same as none.
func same[T any](f *fixture, what string, got, want []T) {
	f.Helper()
	if len(got) == 0 && len(want) == 0 {
		return
	}
	if !reflect.DeepEqual(got, want) {
		f.Errorf("%s = %+v, want %+v", what, got, want)
	}
}

var rolloutTests = []test{
	{"a new store has nothing to act on", func(f *fixture) {
		state := f.state(time.Time{})
		equal(f, "things to act on", len(state.Active)+len(state.Open)+len(state.Reports), 0)
		f.wantRollouts(0, 10)
	}},
	{"the first version of a plugin that is made active stays it", func(f *fixture) {
		f.activate("sms", "1.0.0")
		f.activate("email", "3.0.0")
		active, err := f.Activate(f.ctx, "sms", "2.0.0")
		f.check("Activate", err)
		equal(f, "the active version", active, "1.0.0")
		equal(f, "versions", fmt.Sprint(f.state(t0).Active), "map[email:3.0.0 sms:1.0.0]")
	}},
	{"a rollout is kept as it was begun", func(f *fixture) {
		r := f.begin()
		want := upgrade()
		want.ID, want.Revision = r.ID, 1
		same(f, "begun", []core.Rollout{r}, []core.Rollout{want})
		equal(f, "has an id", r.ID > 0, true)
		f.wantOpen(want)
		f.wantActive("1.0.0")
		kept, events := f.history(r.ID)
		same(f, "kept", []core.Rollout{kept}, []core.Rollout{want})
		same(f, "events", events, []core.RolloutEvent{eventOf(want)})
	}},
	{"the simplest rollout is kept as well", func(f *fixture) {
		f.activate("sms", "1.0.0")
		r := upgrade()
		r.Plan, r.SHA256, r.Actor = core.RolloutPlan{Strategy: core.StrategyImmediate}, "", ""
		begun := f.beginOne(r)
		r.ID, r.Revision = begun.ID, 1
		f.wantOpen(r)
	}},
	{"a rollout whose first state gives the new version everything makes it active", func(f *fixture) {
		f.activate("sms", "1.0.0")
		r := upgrade()
		r.State = core.RolloutBaking
		f.beginOne(r)
		f.wantActive("1.1.0")
	}},
	{"a plugin has one open rollout", func(f *fixture) {
		r := f.begin()
		second := upgrade()
		second.To = "1.2.0"
		_, err := f.BeginRollout(f.ctx, second, eventOf(second), false)
		f.wantConflict("begin a second one", err, "sms", fmt.Sprintf("open rollout %d", r.ID))
		f.wantOpen(r)
		f.wantRollouts(0, 10, r.ID)

		f.activate("email", "1.0.0")
		second.Plugin = "email"
		f.wantOpen(r, f.beginOne(second))
	}},
	{"a rollout begins at the active version", func(f *fixture) {
		r := upgrade()
		f.register(newOf(r))
		_, err := f.BeginRollout(f.ctx, r, eventOf(r), false)
		f.wantConflict("begin without an active version", err, "sms", "no active version")
		f.activate("sms", "0.9.0")
		_, err = f.BeginRollout(f.ctx, r, eventOf(r), false)
		f.wantConflict("begin at another version", err, "sms", "0.9.0", "1.0.0")
		f.wantOpen()
		f.wantRollouts(0, 10)
	}},
	{"a rollout begins to a version that is installed, with the bytes that it has", func(f *fixture) {
		f.activate("sms", "1.0.0")
		r := upgrade()
		begin := func(what string, force bool, words ...string) {
			f.Helper()
			_, err := f.BeginRollout(f.ctx, r, eventOf(r), force)
			f.wantConflict(what, err, append(words, "1.1.0", "sms")...)
		}
		begin("what nobody has", true, "not registered")
		f.register(newOf(r))
		right := r.SHA256
		r.SHA256 = "fe"
		begin("other bytes", true, "checksum")
		r.SHA256 = right
		f.check("RemoveVersion", f.RemoveVersion(f.ctx, "sms", "1.1.0", t0))
		begin("what was removed", true, "removed")
		f.wantOpen()
		f.beginOne(r)
	}},
	{"the end of a rollout puts the bytes into quarantine, and force takes them out, in one commit", func(f *fixture) {
		r := next(f.begin(), core.RolloutRolledBack)
		advanced, err := f.AdvanceRollout(f.ctx, r, eventOf(r), "it crashed")
		f.check("AdvanceRollout", err)
		equal(f, "advanced", advanced, true)
		equal(f, "quarantine", f.version("sms", "1.1.0").Quarantine, "it crashed")

		_, err = f.BeginRollout(f.ctx, upgrade(), eventOf(upgrade()), false)
		f.wantConflict("begin again", err, "1.1.0", "sms", "quarantine: it crashed", "force")
		f.wantOpen()
		begun, err := f.BeginRollout(f.ctx, upgrade(), eventOf(upgrade()), true)
		f.check("BeginRollout", err)
		equal(f, "quarantine that was taken away", f.version("sms", "1.1.0").Quarantine, "")
		f.wantOpen(plainRollout(begun))

		other := upgrade()
		other.To = "1.2.0"
		_, err = f.BeginRollout(f.ctx, other, eventOf(other), true)
		f.wantConflict("begin beside it", err, "open rollout")
	}},
	{"a change is kept as it was made, and raises the revision", func(f *fixture) {
		r := next(f.begin(), core.RolloutCanary)
		r.Step, r.Paused, r.Reason, r.Actor = 1, true, "somebody looks at it", "policy"
		r.Baseline, r.Plan.Steps = new(figures(3)), []float64{50, 100}
		event := eventOf(r)
		event.Old, event.New = new(figures(1)), new(figures(2))
		advanced, err := f.AdvanceRollout(f.ctx, r, event, "")
		f.check("AdvanceRollout", err)
		equal(f, "advanced", advanced, true)
		r.Revision = 2
		f.wantOpen(r)
		kept, events := f.history(r.ID)
		same(f, "kept", []core.Rollout{kept}, []core.Rollout{r})
		same(f, "the last event", events[1:], []core.RolloutEvent{event})

		r.Paused, r.Reason, r.Baseline = false, "", nil
		r = f.advance(r, core.RolloutCanary)
		equal(f, "revision", r.Revision, 3)
		f.wantOpen(r)
	}},
	{"the active version follows the rollout", func(f *fixture) {
		r := f.begin()
		for _, x := range []struct {
			state core.RolloutState
			want  string
		}{
			{core.RolloutShadow, "1.0.0"}, {core.RolloutCanary, "1.0.0"}, {core.RolloutBaking, "1.1.0"}, {core.RolloutPromoted, "1.1.0"},
		} {
			r = f.advance(r, x.state)
			f.wantActive(x.want)
		}
		f.wantOpen()

		back := upgrade()
		back.From, back.To = "1.1.0", "1.0.0"
		b := f.advance(f.beginOne(back), core.RolloutBaking)
		f.wantActive("1.0.0")
		f.advance(b, core.RolloutRolledBack)
		f.wantActive("1.1.0")
		f.wantOpen()
	}},
	{"a change to a revision that is past is lost", func(f *fixture) {
		old := f.begin()
		r := f.advance(old, core.RolloutCanary)
		late := next(old, core.RolloutBaking)
		for range 2 {
			advanced, err := f.AdvanceRollout(f.ctx, late, eventOf(late), "it is late")
			f.check("AdvanceRollout", err)
			equal(f, "advanced", advanced, false)
			late.Revision = r.Revision + 1 // nobody has seen this one
		}
		f.wantOpen(r)
		f.wantActive("1.0.0")
		equal(f, "quarantine", f.version("sms", "1.1.0").Quarantine, "")
		_, events := f.history(r.ID)
		equal(f, "events", len(events), 2)
	}},
	{"a rollout that has ended is not changed", func(f *fixture) {
		r := f.begin()
		ended := f.advance(r, core.RolloutRolledBack)
		again := next(ended, core.RolloutBaking)
		_, err := f.AdvanceRollout(f.ctx, again, eventOf(again), "")
		f.wantConflict("advance", err, fmt.Sprintf("rollout %d", r.ID), "ended")
		advanced, err := f.AdvanceRollout(f.ctx, r, eventOf(r), "")
		f.check("AdvanceRollout of a revision that is past", err)
		equal(f, "advanced", advanced, false)
		f.wantActive("1.0.0")
		kept, events := f.history(r.ID)
		same(f, "kept", []core.Rollout{kept}, []core.Rollout{ended})
		equal(f, "events", len(events), 2)
	}},
	{"a rollout that does not exist is not changed", func(f *fixture) {
		r := f.begin()
		for _, change := range []func(*core.Rollout){
			func(r *core.Rollout) { r.ID++ },
			func(r *core.Rollout) { r.Plugin = "email" },
		} {
			absent := r
			change(&absent)
			_, err := f.AdvanceRollout(f.ctx, absent, eventOf(absent), "")
			f.wantKind("advance", err, core.KindNotFound)
		}
		f.wantOpen(r)
	}},
	{"the database itself refuses a second open rollout", func(f *fixture) {
		f.advance(f.begin(), core.RolloutRolledBack)
		f.advance(f.beginOne(upgrade()), core.RolloutRolledBack)
		if err := f.tryExec("UPDATE plugin_rollouts SET state = 'canary'"); err == nil {
			f.Error("an operator opened two rollouts of one plugin")
		}
		f.wantOpen()
	}},
}

var reportTests = []test{
	{"a report is kept as it was made", func(f *fixture) {
		full, empty := reportOf("gw-1", 1, t0), core.RolloutReport{Gateway: "gw-22", At: t0}
		f.report(full)
		f.report(empty)
		f.wantReports(t0, full, empty)
	}},
	{"a gateway has one report on each rollout, the latest", func(f *fixture) {
		f.report(reportOf("gw-1", 1, t0))
		f.report(reportOf("gw-1", 0, t0))
		f.report(reportOf("gw-22", 1, t0))
		latest := core.RolloutReport{Gateway: "gw-1", Rollout: 1, At: at(time.Second), Revision: 4, Problem: "crashed", New: figures(5)}
		f.report(latest)
		f.wantReports(t0, reportOf("gw-1", 0, t0), latest, reportOf("gw-22", 1, t0))
	}},
	{"reports made before the time that is asked for are left out", func(f *fixture) {
		f.report(reportOf("gw-1", 1, t0))
		f.report(reportOf("gw-22", 1, at(1500*time.Microsecond)))
		f.wantReports(t0, reportOf("gw-1", 1, t0), reportOf("gw-22", 1, at(time.Millisecond)))
		f.wantReports(at(time.Microsecond), reportOf("gw-1", 1, t0), reportOf("gw-22", 1, at(time.Millisecond)))
		f.wantReports(at(1200*time.Microsecond), reportOf("gw-22", 1, at(time.Millisecond)))
		f.wantReports(at(2 * time.Millisecond))
	}},
	{"old reports are forgotten, a day at the earliest", func(f *fixture) {
		f.report(reportOf("gw-1", 1, t0))
		f.report(reportOf("gw-22", 1, at(time.Hour)))
		day := reportOf("gw-333", 1, at(24*time.Hour))
		f.report(day)
		f.wantReports(t0, reportOf("gw-1", 1, t0), reportOf("gw-22", 1, at(time.Hour)), day)
		later := reportOf("gw-1", 1, at(48*time.Hour))
		f.report(later)
		f.wantReports(t0, later, day)
	}},
}

var rolloutHistoryTests = []test{
	{"rollouts are listed for their plugin, newest first", func(f *fixture) {
		a := f.begin()
		f.advance(a, core.RolloutRolledBack)
		f.activate("email", "1.0.0")
		other := upgrade()
		other.Plugin = "email"
		f.beginOne(other)
		b := f.beginOne(upgrade())
		f.advance(b, core.RolloutRolledBack)
		c := f.beginOne(upgrade())
		f.wantRollouts(0, 10, c.ID, b.ID, a.ID)
		f.wantRollouts(0, 2, c.ID, b.ID)
		f.wantRollouts(b.ID, 10, a.ID)
		f.wantRollouts(a.ID, 10)
		listed, err := f.Rollouts(f.ctx, "sms", 0, 1)
		f.check("Rollouts", err)
		same(f, "listed", []core.Rollout{plainRollout(listed[0])}, []core.Rollout{c})
	}},
	{"a rollout has its own events, in the order in which they came", func(f *fixture) {
		f.advance(f.begin(), core.RolloutRolledBack)
		r := f.beginOne(upgrade())
		want := []core.RolloutEvent{eventOf(r)}
		for _, state := range []core.RolloutState{core.RolloutCanary, core.RolloutBaking, core.RolloutRolledBack} {
			r = f.advance(r, state)
			want = append(want, eventOf(r))
		}
		_, events := f.history(r.ID)
		same(f, "events", events, want)
	}},
	{"a rollout is found by its plugin only", func(f *fixture) {
		r := f.begin()
		_, _, err := f.Rollout(f.ctx, "email", r.ID)
		f.wantKind("another plugin", err, core.KindNotFound)
		_, _, err = f.Rollout(f.ctx, "sms", r.ID+1)
		f.wantKind("another id", err, core.KindNotFound)
	}},
}

var rolloutConcurrencyTests = []test{
	{"of gateways that make versions active one does", func(f *fixture) {
		var mu sync.Mutex
		active := map[string]int{}
		f.race(func(racer int, s store.Store) {
			version, err := s.Activate(f.ctx, "sms", fmt.Sprintf("1.%d.0", racer))
			if err != nil {
				f.Error(err)
			}
			mu.Lock()
			defer mu.Unlock()
			active[version]++
		})
		equal(f, "gateways with the active version", active[f.state(t0).Active["sms"]], racers)
	}},
	{"of gateways that begin a rollout one does", func(f *fixture) {
		f.activate("sms", "1.0.0")
		f.register(newOf(upgrade()))
		var begun, refused atomic.Int64
		f.race(func(_ int, s store.Store) {
			r := upgrade()
			switch _, err := s.BeginRollout(f.ctx, r, eventOf(r), false); {
			case err == nil:
				begun.Add(1)
			case core.KindOf(err) == core.KindConflict:
				refused.Add(1)
			default:
				f.Error(err)
			}
		})
		equal(f, "begun", begun.Load(), 1)
		equal(f, "refused", refused.Load(), racers-1)
		equal(f, "open rollouts", len(f.state(t0).Open), 1)
	}},
	{"of gateways that advance a revision one does", func(f *fixture) {
		const changes = 20
		r := f.begin()
		var advanced atomic.Int64
		f.race(func(_ int, s store.Store) {
			own := r
			for own.Revision = 1; own.Revision <= changes; own.Revision++ {
				ok, err := s.AdvanceRollout(f.ctx, own, eventOf(own), "")
				if err != nil {
					f.Error(err)
				}
				if ok {
					advanced.Add(1)
				}
			}
		})
		equal(f, "advanced", advanced.Load(), changes)
		kept, events := f.history(r.ID)
		equal(f, "revision", kept.Revision, changes+1)
		equal(f, "events", len(events), changes+1)
	}},
	{"what gateways act on is of one moment", func(f *fixture) {
		r := f.begin()
		f.race(func(racer int, s store.Store) {
			for n := range 20 {
				if racer < 2 {
					own := r
					own.Revision, own.State = int64(n+1), core.RolloutBaking
					if n%2 == 1 {
						own.State = core.RolloutCanary
					}
					if _, err := s.AdvanceRollout(f.ctx, own, eventOf(own), ""); err != nil {
						f.Error(err)
					}
					continue
				}
				state, err := s.RolloutsState(f.ctx, t0)
				if err != nil || len(state.Open) != 1 || state.Active["sms"] != state.Open[0].Active() {
					f.Errorf("state %+v, error %v", state, err)
				}
				kept, events, err := s.Rollout(f.ctx, "sms", r.ID)
				if err != nil || int64(len(events)) != kept.Revision {
					f.Errorf("%d events of revision %d, error %v", len(events), kept.Revision, err)
				}
			}
		})
	}},
	{"a version is removed or rolled out, not both", func(f *fixture) {
		f.activate("sms", "1.0.0")
		for range 10 {
			r := upgrade()
			f.register(newOf(r))
			f.race(func(racer int, s store.Store) {
				var err error
				if racer%2 == 0 {
					err = s.RemoveVersion(f.ctx, "sms", r.To, at(time.Hour))
				} else {
					_, err = s.BeginRollout(f.ctx, r, eventOf(r), false)
				}
				if err != nil && core.KindOf(err) != core.KindConflict {
					f.Error(err)
				}
			})
			open, removed := f.state(t0).Open, !f.version("sms", r.To).RemovedAt.IsZero()
			if len(open) == 1 == removed {
				f.Fatalf("%d open rollouts, removed %v", len(open), removed)
			}
			for _, r := range open {
				f.advance(r, core.RolloutRolledBack)
			}
		}
	}},
	{"each rollout begins where the one before has ended", func(f *fixture) {
		f.activate("sms", "1.0.0")
		f.race(func(racer int, s store.Store) {
			for n := range 20 {
				f.goOn(s, fmt.Sprintf("2.%d.%d", racer, n))
			}
		})
		rollouts, err := f.Rollouts(f.ctx, "sms", 0, 1000)
		f.check("Rollouts", err)
		slices.Reverse(rollouts)
		active := "1.0.0"
		for _, r := range rollouts {
			equal(f, "the version that a rollout began at", r.From, active)
			active = r.Active()
		}
		f.wantActive(active)
		equal(f, "there were several", len(rollouts) > 5, true)
	}},
	{"gateways that report at once forget old reports and keep all new ones", func(f *fixture) {
		for n := range 10 {
			f.report(reportOf(fmt.Sprintf("gone %d", n), 1, t0))
		}
		for racer := range racers {
			f.report(reportOf(fmt.Sprintf("gateway %d", racer), 1, t0))
		}
		f.race(func(racer int, s store.Store) {
			for n := range 20 {
				made := at(48*time.Hour + time.Duration(n)*time.Second)
				if err := s.ReportRollout(f.ctx, reportOf(fmt.Sprintf("gateway %d", racer), 1, made)); err != nil {
					f.Error(err)
				}
			}
		})
		equal(f, "reports", len(f.state(t0).Reports), racers)
		equal(f, "latest reports", len(f.state(at(48*time.Hour+19*time.Second)).Reports), racers)
	}},
	{"what one gateway stored another one has", func(f *fixture) {
		if f.factory.Another == nil {
			f.Skip("only one process can have the database")
		}
		f.register(version("sms", "1.1.0"))
		r := f.advance(f.begin(), core.RolloutBaking)
		f.report(reportOf("gw-1", r.ID, t0))
		first, second := f.Store, f.factory.Another(f.T, f.Store)
		defer func() { f.check("Close", second.Close()) }()
		f.Store = second
		f.wantOpen(r)
		f.wantActive("1.1.0")
		f.wantReports(t0, reportOf("gw-1", r.ID, t0))
		f.wantVersions("", "sms 1.1.0")
		f.advance(r, core.RolloutPromoted)
		f.Store = first
		f.wantOpen()
	}},
}

// goOn ends the open rollout one way or the other, or begins one to a version. Somebody else may be faster.
func (f *fixture) goOn(s store.Store, to string) {
	state, err := s.RolloutsState(f.ctx, t0)
	if err != nil {
		f.Error(err)
		return
	}
	if len(state.Open) == 0 {
		r := upgrade()
		r.From, r.To = state.Active["sms"], to
		if _, err := s.RegisterVersion(f.ctx, newOf(r)); err != nil {
			f.Error(err)
		}
		if _, err := s.BeginRollout(f.ctx, r, eventOf(r), false); err != nil && core.KindOf(err) != core.KindConflict {
			f.Error(err)
		}
		return
	}
	r := next(state.Open[0], core.RolloutPromoted)
	if r.ID%3 == 0 {
		r.State = core.RolloutRolledBack
	}
	if _, err := s.AdvanceRollout(f.ctx, r, eventOf(r), ""); err != nil {
		f.Error(err)
	}
}
