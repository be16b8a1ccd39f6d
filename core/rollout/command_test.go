package rollout_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
)

// wantError fails unless err is of a kind and names what is wrong.
func (w *world) wantError(err error, kind core.Kind, text string) {
	w.Helper()
	if core.KindOf(err) != kind || err == nil || !strings.Contains(err.Error(), text) {
		w.Errorf("error %v of kind %d, want kind %d: %q", err, core.KindOf(err), kind, text)
	}
}

func TestBeginRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		kind  core.Kind
		text  string
		setup func(w *world, g *gateway)
		with  func(q *rollout.Request)
	}{
		{"unknown plugin", core.KindNotFound, "plugin fax not found", nil, func(q *rollout.Request) { q.Plugin = "fax" }},
		{"unknown version", core.KindNotFound, `plugin sms has no version "9.9.9"; installed: 1.0.0, 1.1.0`, nil, func(q *rollout.Request) { q.Version = "9.9.9" }},
		{"the active one", core.KindConflict, "version 1.0.0 of plugin sms is active already", nil, func(q *rollout.Request) { q.Version = before }},
		{"removed", core.KindNotFound, `no version "1.1.0"`, func(w *world, g *gateway) {
			if err := g.Remove(w.Context(), plugin, after, operator); err != nil {
				w.Fatal(err)
			}
		}, nil},
		{"another one is under way", core.KindConflict, "to version 1.1.0 is starting: promote it or roll it back first", func(w *world, g *gateway) {
			w.begin(g, quick(core.StrategyCanary))
		}, nil},
		{"quarantine", core.KindConflict, "is in quarantine: it crashed. Use force", func(w *world, _ *gateway) {
			w.condemn("it crashed")
		}, nil},
		{"does not fit the plugin", core.KindUnprocessable, "only one may hold the session", nil, func(q *rollout.Request) {
			q.Plan = quick(core.StrategyShadow)
		}},
		{"other bytes", core.KindConflict, "give what changed a version of its own", func(_ *world, g *gateway) {
			versions := installed(before, after)
			versions[1].SHA256 = "other bytes"
			g.host.install(versions...)
		}, nil},
		{"spoiled files", core.KindConflict, "version 1.1.0 of plugin sms cannot run: not executable", func(_ *world, g *gateway) {
			g.host.spoil(after, "not executable")
		}, nil},
		{"files that never were good", core.KindConflict, "version 2.0.0 of plugin sms cannot run: wrong checksum", func(_ *world, g *gateway) {
			g.host.spoil("2.0.0", "wrong checksum")
		}, func(q *rollout.Request) { q.Version = "2.0.0" }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", func(o *rollout.Options) {
					o.Allow = func(_, _ string, p core.RolloutPlan) error {
						if p.Strategy == core.StrategyShadow {
							return core.Invalid("/strategy", "only one may hold the session")
						}
						return nil
					}
				})
				if c.setup != nil {
					c.setup(w, g)
				}
				q := rollout.Request{Plugin: plugin, Version: after, Actor: operator}
				if c.with != nil {
					c.with(&q)
				}
				_, err := g.Begin(w.Context(), q)
				w.wantError(err, c.kind, c.text)
			})
		})
	}
}

func TestPlanIsChecked(t *testing.T) {
	cases := []struct {
		name   string
		change func(p *core.RolloutPlan)
		fields []string
	}{
		{"strategy", func(p *core.RolloutPlan) { p.Strategy, p.Steps = "blue-green", nil }, []string{"/strategy"}},
		{"no steps", func(p *core.RolloutPlan) { p.Steps = nil }, []string{"/steps"}},
		{"steps out of bounds", func(p *core.RolloutPlan) { p.Steps = []float64{0, 101} }, []string{"/steps/0", "/steps/0", "/steps/1"}},
		{"steps smaller than there is", func(p *core.RolloutPlan) { p.Steps = []float64{0.001, 0.01} }, []string{"/steps/0"}},
		{"steps that do not ascend", func(p *core.RolloutPlan) { p.Steps = []float64{10, 10, 5} }, []string{"/steps/1", "/steps/2"}},
		{"steps of what is no canary", func(p *core.RolloutPlan) { p.Strategy = core.StrategyShadow }, []string{"/steps"}},
		{"by", func(p *core.RolloutPlan) { p.By = "moon" }, []string{"/by"}},
		{"accounts", func(p *core.RolloutPlan) { p.Accounts = []core.AccountID{1, 0} }, []string{"/accounts/1"}},
		{"times", func(p *core.RolloutPlan) { p.Window, p.Bake = -1, -1 }, []string{"/window", "/bake"}},
		{
			"gates",
			func(p *core.RolloutPlan) {
				p.MinSamples, p.Gates = 0, core.RolloutGates{FailureRate: -1, UncertainRate: 2}
			},
			[]string{"/min_samples", "/gates/failure_rate", "/gates/uncertain_rate", "/gates/latency_ratio", "/gates/memory_ratio"},
		},
	}
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		for _, c := range cases {
			plan := rollout.Defaults(core.StrategyCanary)
			c.change(&plan)
			_, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: after, Plan: plan, Actor: operator})
			w.wantError(err, core.KindUnprocessable, c.fields[0]+": ")
			var faulty *core.Error
			errors.As(err, &faulty)
			var fields []string
			for _, f := range faulty.Fields {
				fields = append(fields, f.Field)
			}
			if !slices.Equal(fields, c.fields) {
				w.Errorf("%s: fields %q, want %q", c.name, fields, c.fields)
			}
		}
	})
}

func TestPlanOfThePolicy(t *testing.T) {
	inWorld(t, func(w *world) {
		own := rollout.Defaults(core.StrategyCanary)
		own.Steps, own.MinSamples, own.Gates.FailureRate = []float64{20}, 7, 0.3
		g := w.start("g1", func(o *rollout.Options) { o.Policy = func(string) rollout.Policy { return rollout.Policy{Plan: own} } })
		immediate := g.Plan(plugin, core.StrategyImmediate)
		if immediate.MinSamples != 7 || immediate.Gates != own.Gates || immediate.Steps != nil || immediate.Bake != 0 {
			w.Errorf("immediate: %+v", immediate)
		}
		r := w.begin(g, core.RolloutPlan{})
		if !slices.Equal(r.Plan.Steps, []float64{20, 100}) || r.Plan.MinSamples != 7 {
			w.Errorf("a rollout without a plan goes by %+v", r.Plan)
		}
	})
}

func TestForceEndsAQuarantine(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		w.condemn("it crashed")
		r, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: after, Plan: quick(core.StrategyImmediate), Actor: operator, Force: true})
		if err != nil {
			w.Fatal(err)
		}
		if q := w.quarantine(after); q != "" {
			w.Errorf("still in quarantine: %s", q)
		}
		w.until(r.ID, core.RolloutPromoted, time.Minute)
		if _, events := w.rollout(r.ID); !strings.Contains(events[0].Reason, "in spite of its quarantine: it crashed") {
			w.Errorf("first event %+v", events[0])
		}
	})
}

func TestBeginPromotesWhatBakes(t *testing.T) {
	const next = "1.2.0"
	inWorld(t, func(w *world) {
		w.versions[next] = &version{}
		g := w.start("g1", nil, before, after, next)
		plan := quick(core.StrategyImmediate)
		plan.Bake = time.Hour
		first := w.begin(g, plan)
		w.until(first.ID, core.RolloutBaking, 10*time.Second)
		second, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: next, Plan: plan, Actor: operator})
		if err != nil || second.From != after {
			w.Fatalf("from %s: %v", second.From, err)
		}
		if r, _ := w.rollout(first.ID); r.State != core.RolloutPromoted {
			w.Errorf("the first is %s", r.State)
		}
		w.until(second.ID, core.RolloutBaking, 10*time.Second)
		pass(time.Second)
		if a := g.host.arrangement(); a.Active != next || a.Beside != after {
			w.Errorf("arrangement %+v", a)
		}
	})
}

// inState begins a rollout and waits until it is in a state.
func (w *world) inState(g *gateway, state core.RolloutState) core.Rollout {
	w.Helper()
	plan := quick(core.StrategyCanary)
	if state == core.RolloutShadow {
		plan = quick(core.StrategyShadow)
	}
	r := w.begin(g, plan)
	r, _ = w.until(r.ID, state, time.Minute)
	return r
}

func openStates() []core.RolloutState {
	return []core.RolloutState{core.RolloutStarting, core.RolloutShadow, core.RolloutCanary, core.RolloutBaking}
}

func TestRollbackByCommand(t *testing.T) {
	for _, state := range openStates() {
		t.Run(string(state), func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				r, err := g.Rollback(w.Context(), plugin, r.ID, operator, "I do not like it")
				if err != nil || r.State != core.RolloutRolledBack || r.Reason != "I do not like it" {
					w.Fatalf("%+v, %v", r, err)
				}
				pass(500 * time.Millisecond)
				if a := g.host.arrangement(); !same(a, core.Arrangement{Active: before}) || w.active() != before {
					w.Errorf("arrangement %+v", a)
				}
				if q := w.quarantine(after); q != "" {
					w.Errorf("quarantine: %s", q)
				}
				_, err = g.Promote(w.Context(), plugin, r.ID, operator, "")
				w.wantError(err, core.KindConflict, "has ended: rolled_back")
			})
		})
	}
}

func TestPromoteByCommand(t *testing.T) {
	for state, next := range map[core.RolloutState]core.RolloutState{
		core.RolloutShadow: core.RolloutBaking, core.RolloutCanary: core.RolloutBaking, core.RolloutBaking: core.RolloutPromoted,
	} {
		t.Run(string(state), func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				pass(time.Second)
				r, err := g.Promote(w.Context(), plugin, r.ID, operator, "")
				if err != nil || r.State != next || w.active() != after {
					w.Fatalf("%+v, active %s, %v", r, w.active(), err)
				}
				if next == core.RolloutBaking && (r.Baseline == nil || r.Baseline.Samples() == 0) {
					w.Errorf("baseline %+v", r.Baseline)
				}
				_, events := w.rollout(r.ID)
				if last := events[len(events)-1]; last.Actor != operator || last.Reason != "promoted by command" || last.Share != 100 {
					w.Errorf("event %+v", last)
				}
				w.until(r.ID, core.RolloutPromoted, 10*time.Second)
			})
		})
	}
}

func TestPromoteWaitsUntilTheVersionIsReady(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		w.versions[after].startsIn = 5 * time.Second
		r := w.begin(g, quick(core.StrategyCanary))
		pass(time.Second)
		_, err := g.Promote(w.Context(), plugin, r.ID, operator, "")
		w.wantError(err, core.KindConflict, "cannot be promoted yet: version 1.1.0 is not ready on gateway g1")
		if _, err := g.Pause(w.Context(), plugin, r.ID, operator, ""); err != nil {
			w.Fatal(err)
		}
		pass(6 * time.Second) // ready, and paused
		if r, err = g.Promote(w.Context(), plugin, r.ID, operator, ""); err != nil || r.State != core.RolloutBaking {
			w.Errorf("%+v, %v", r, err)
		}
	})
}

func TestPromoteRefusesWhereAGatewayLacksTheVersion(t *testing.T) {
	for _, state := range []core.RolloutState{core.RolloutShadow, core.RolloutCanary} {
		t.Run(string(state), func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				other := w.start("g2", nil, before)
				pass(time.Second)
				_, err := g.Promote(w.Context(), plugin, r.ID, operator, "")
				w.wantError(err, core.KindConflict, "cannot be promoted yet: gateway g2 does not have version 1.1.0")
				other.host.install(installed(before, after)...)
				pass(time.Second)
				if r, err = g.Promote(w.Context(), plugin, r.ID, operator, ""); err != nil || r.State != core.RolloutBaking {
					w.Errorf("%+v, %v", r, err)
				}
			})
		})
	}
}

func TestPromoteRightAfterAStepHasABaseline(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.inState(g, core.RolloutCanary)
		for r.Step == 0 {
			pass(10 * time.Millisecond)
			r, _ = w.rollout(r.ID)
		}
		r, err := g.Promote(w.Context(), plugin, r.ID, operator, "")
		if err != nil || r.Baseline == nil || r.Baseline.Samples() < r.Plan.MinSamples {
			w.Errorf("baseline %+v, %v", r.Baseline, err)
		}
		if kept, _ := w.rollout(r.ID); kept.Revision != r.Revision || kept.State != r.State || !kept.UpdatedAt.Equal(r.UpdatedAt) {
			w.Errorf("it answers %+v, and %+v is kept", r, kept)
		}
	})
}

func TestRemoveOfWhatCannotBeUsed(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		g.host.spoil(after, "not executable")   // known to all gateways, and bad by now
		g.host.spoil("2.0.0", "wrong checksum") // known to nobody
		for _, v := range []string{after, "2.0.0"} {
			if err := g.Remove(w.Context(), plugin, v, operator); err != nil {
				w.Errorf("remove %s: %v", v, err)
			}
			if problem := g.host.Standing(plugin, v).Problem; problem != "" {
				w.Errorf("the files of %s are left: %s", v, problem)
			}
		}
		versions, err := g.Versions(w.Context(), plugin)
		if err != nil || len(versions) != 1 {
			w.Errorf("versions %+v, %v", versions, err)
		}
	})
}

func TestPauseKeepsAStateAndTheGates(t *testing.T) {
	for _, state := range []core.RolloutState{core.RolloutStarting, core.RolloutCanary, core.RolloutBaking} {
		t.Run(string(state), func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				r, err := g.Pause(w.Context(), plugin, r.ID, operator, "lunch")
				if err != nil || !r.Paused || r.Reason != "lunch" || r.State != state {
					w.Fatalf("%+v, %v", r, err)
				}
				_, err = g.Pause(w.Context(), plugin, r.ID, operator, "")
				w.wantError(err, core.KindConflict, "is paused already")
				pass(20 * time.Second)
				d, err := g.Get(w.Context(), plugin, r.ID)
				if err != nil || d.State != state || d.Waiting != "paused: lunch" || d.Revision != r.Revision {
					w.Errorf("after a while: %+v, %v", d, err)
				}
				if r, err = g.Resume(w.Context(), plugin, r.ID, operator, ""); err != nil || r.Paused || r.Reason != "" {
					w.Fatalf("%+v, %v", r, err)
				}
				_, err = g.Resume(w.Context(), plugin, r.ID, operator, "")
				w.wantError(err, core.KindConflict, "is not paused")
				if state == core.RolloutStarting {
					w.until(r.ID, core.RolloutPromoted, time.Minute)
					return
				}
				pass(time.Second) // its step began anew
				if r, _ := w.rollout(r.ID); r.State != state {
					w.Errorf("a second later it is %s", r.State)
				}
				if _, err = g.Pause(w.Context(), plugin, r.ID, operator, ""); err != nil {
					w.Fatal(err)
				}
				w.set(func(w *world) { w.versions[after].failed = 1 })
				w.until(r.ID, core.RolloutRolledBack, 20*time.Second)
			})
		})
	}
}

func TestCommandsNameWhatIsUnknown(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		_, err := g.Promote(w.Context(), plugin, 99, operator, "")
		w.wantError(err, core.KindNotFound, "not found")
		_, err = g.Get(w.Context(), plugin, 99)
		w.wantError(err, core.KindNotFound, "not found")
		w.wantError(g.Remove(w.Context(), plugin, "9.9.9", operator), core.KindNotFound, "9.9.9")
		w.wantError(g.Remove(w.Context(), plugin, before, operator), core.KindConflict, "active")
	})
}

func TestGetAndListTellTheStory(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.inState(g, core.RolloutCanary)
		pass(2 * time.Second)
		d, err := g.Get(w.Context(), plugin, r.ID)
		if err != nil || len(d.Events) != 2 || d.New.Samples() == 0 || d.Old.Samples() == 0 || d.Waiting == "" {
			w.Errorf("%+v, %v", d, err)
		}
		if _, err := g.Rollback(w.Context(), plugin, r.ID, operator, ""); err != nil {
			w.Fatal(err)
		}
		d, err = g.Get(w.Context(), plugin, r.ID)
		if err != nil || len(d.Events) != 3 || d.Events[2].New.Samples() == 0 || d.Waiting != "" {
			w.Errorf("%+v, %v", d, err)
		}
		all, err := g.List(w.Context(), plugin, 0, 10)
		if err != nil || len(all) != 1 || all[0].ID != r.ID {
			w.Errorf("%+v, %v", all, err)
		}
		versions, err := g.Versions(w.Context(), plugin)
		if err != nil || len(versions) != 2 || !versions[0].Active || versions[1].Active || !versions[1].Here {
			w.Errorf("%+v, %v", versions, err)
		}
	})
}
