package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

func TestStrategiesEndWithTheNewVersion(t *testing.T) {
	noBake := quick(core.StrategyImmediate)
	noBake.Bake = 0
	for _, c := range []struct {
		name, timeline string
		plan           core.RolloutPlan
	}{
		{"canary", "starting, canary 10, canary 50, baking, promoted", quick(core.StrategyCanary)},
		{"immediate with a warm old version", "starting, baking, promoted", quick(core.StrategyImmediate)},
		{"immediate", "starting, baking, promoted", noBake},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.begin(g, c.plan)
				w.until(r.ID, core.RolloutPromoted, time.Minute)
				pass(time.Second)
				if got := w.timeline(r.ID); got != c.timeline {
					w.Errorf("timeline %q, want %q", got, c.timeline)
				}
				if a := g.host.arrangement(); !same(a, core.Arrangement{Active: after}) || w.active() != after {
					w.Errorf("it ends with %+v, and %s is active", a, w.active())
				}
			})
		})
	}
}

func TestStepsTakeTheirTimeAndLeaveTheirFigures(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.begin(g, quick(core.StrategyCanary))
		_, took := w.until(r.ID, core.RolloutPromoted, time.Minute)
		if least := startsIn + 3*time.Second + 3*time.Second + 5*time.Second; took < least || took > least+2*time.Second {
			w.Errorf("it took %s, want little more than %s", took, least)
		}
		_, events := w.rollout(r.ID)
		step := events[3] // from 50 % to everything
		if step.New == nil || step.Old == nil || step.New.Samples() < 400 || step.Old.Samples() < 400 || step.New.Samples() > 800 {
			w.Errorf("the second step compared %+v with %+v, want about 600 results each", step.New, step.Old)
		}
		if !strings.Contains(step.Reason, "no worse than version") || step.Actor != "g1" {
			w.Errorf("event %+v", step)
		}
	})
}

func TestArrangementFollowsThePlan(t *testing.T) {
	plan := quick(core.StrategyCanary)
	plan.By, plan.Accounts = core.ByAccount, []core.AccountID{7, 9}
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.begin(g, plan)
		w.until(r.ID, core.RolloutPromoted, time.Minute)
		pass(time.Second)
		beside := core.Arrangement{Active: before, Beside: after, By: core.ByAccount, Accounts: plan.Accounts}
		ten, fifty := beside, beside
		ten.Share, fifty.Share = 10, 50
		want := []core.Arrangement{
			{Active: before}, beside, ten, fifty, {Active: after, Beside: before, By: core.ByAccount}, {Active: after},
		}
		for i, a := range g.host.arranged {
			if i >= len(want) || !same(a, want[i]) {
				w.Fatalf("arrangement %d is %+v, want %+v", i, a, want)
			}
		}
	})
}

func TestShadowComparesUntilSomebodyDecides(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.begin(g, quick(core.StrategyShadow))
		w.until(r.ID, core.RolloutShadow, 10*time.Second)
		pass(20 * time.Second)
		if r, _ := w.rollout(r.ID); r.State != core.RolloutShadow {
			w.Fatalf("it left the shadow by itself: %s, %s", r.State, r.Reason)
		}
		if a := g.host.arrangement(); !a.Shadow || a.Beside != after || a.Share != 0 {
			w.Errorf("arrangement %+v", a)
		}
		if _, err := g.Promote(w.Context(), plugin, r.ID, operator, ""); err != nil {
			w.Fatal(err)
		}
		w.until(r.ID, core.RolloutPromoted, 10*time.Second)
	})
}

// TestBadVersionGoesBack has one case for each way in which a version can be bad, while it has a share of the
// messages and once it has all of them.
func TestBadVersionGoesBack(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		bad          version
		within       time.Duration
		// unproven: without the old one's results of the same time, it may as well be the provider.
		unproven bool
	}{
		{"crash", "it crashed on gateway g1", version{crash: true}, time.Second, false},
		{"breach of the contract", "broke the plugin contract", version{violate: 0.1}, time.Second, false},
		{"failures", "are failed beside", version{failed: 0.2}, 10 * time.Second, false},
		{"all fail", "are failed beside", version{failed: 1}, 5 * time.Second, false},
		{"uncertain", "are uncertain beside", version{uncertain: 0.2}, 10 * time.Second, true},
		{"disagreed", "are failed beside", version{disagreed: 0.2}, 10 * time.Second, false},
		{"slow", "its 99th percentile is", version{latency: 5 * ownLatency}, 5 * time.Second, true},
		{"memory", "of memory beside", version{memory: 400 << 20}, time.Second, false},
		{"hangs", "without a result for", version{hang: true}, 5 * time.Second, true},
		{"failures blamed on the provider", "are failed beside", version{provider: 0.5}, 5 * time.Second, true},
	} {
		for _, state := range []core.RolloutState{core.RolloutCanary, core.RolloutBaking} {
			t.Run(c.name+", "+string(state), func(t *testing.T) {
				inWorld(t, func(w *world) {
					g := w.start("g1", nil)
					plan := quick(core.StrategyCanary)
					plan.Steps, plan.Bake = []float64{30, 100}, time.Minute
					if state == core.RolloutCanary {
						plan.Window = time.Minute
					}
					r := w.begin(g, plan)
					w.until(r.ID, state, time.Minute)
					w.set(func(w *world) { *w.versions[after] = c.bad })
					back, took := w.until(r.ID, core.RolloutRolledBack, c.within)
					pass(time.Second)
					quarantine := back.Reason
					if c.unproven && state == core.RolloutBaking {
						quarantine = ""
					}
					if !strings.Contains(back.Reason, c.reason) || w.quarantine(after) != quarantine {
						w.Errorf("reason %q, quarantine %q, want %q", back.Reason, w.quarantine(after), c.reason)
					}
					if a := g.host.arrangement(); !same(a, core.Arrangement{Active: before}) || w.active() != before {
						w.Errorf("after %s: %+v, active %s", took, a, w.active())
					}
				})
			})
		}
	}
}

func TestNewVersionThatDoesNotStartGoesBack(t *testing.T) {
	for _, c := range []struct {
		name, reason string
		bad          version
		within       time.Duration
	}{
		{"problem", "version 1.1.0 cannot run on gateway g1: handshake", version{problem: "handshake"}, 2 * time.Second},
		{"too slow", "version 1.1.0 is not ready on gateway g1 after 30s", version{startsIn: time.Hour}, 31 * time.Second},
		{"never", "version 1.1.0 is not ready on gateway g1: no login after 30s", version{waiting: "no login"}, 31 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				*w.versions[after] = c.bad
				g := w.start("g1", nil)
				r := w.begin(g, quick(core.StrategyCanary))
				back, _ := w.until(r.ID, core.RolloutRolledBack, c.within)
				pass(time.Second)
				if back.Reason != c.reason || w.quarantine(after) != c.reason {
					w.Errorf("reason %q, quarantine %q, want %q", back.Reason, w.quarantine(after), c.reason)
				}
				if a := g.host.arrangement(); !same(a, core.Arrangement{Active: before}) {
					w.Errorf("arrangement %+v", a)
				}
				for _, a := range g.host.arranged {
					if a.Active != before || a.Share != 0 {
						w.Errorf("messages went another way: %+v", a)
					}
				}
			})
		})
	}
}

// A problem that is not the version's own takes it back, and not into quarantine.
func TestInnocentProblemIsNoQuarantine(t *testing.T) {
	inWorld(t, func(w *world) {
		*w.versions[after] = version{problem: "no process can be started", innocent: true}
		g := w.start("g1", nil)
		r := w.begin(g, quick(core.StrategyCanary))
		back, _ := w.until(r.ID, core.RolloutRolledBack, 2*time.Second)
		if back.Reason != "version 1.1.0 cannot run on gateway g1: no process can be started" || w.quarantine(after) != "" {
			w.Errorf("reason %q, quarantine %q", back.Reason, w.quarantine(after))
		}
	})
}

// The old version is active until the session is handed over, whatever the plan; then the gap is told.
func TestExclusiveSession(t *testing.T) {
	begin := func(w *world, bad version, plan core.RolloutPlan) core.Rollout {
		bad.exclusive, bad.takeover = true, 1200*time.Millisecond
		w.versions[before].exclusive, *w.versions[after] = true, bad
		return w.begin(w.start("g1", nil), plan)
	}
	atOnce := quick(core.StrategyImmediate)
	atOnce.Bake = 0
	t.Run("is handed over", func(t *testing.T) {
		inWorld(t, func(w *world) {
			r := begin(w, version{}, atOnce)
			_, took := w.until(r.ID, core.RolloutPromoted, 10*time.Second)
			_, events := w.rollout(r.ID)
			if last := events[len(events)-1].Reason; took < startsIn+1200*time.Millisecond || !strings.Contains(last, "nobody held the session for 1.2s") {
				w.Errorf("after %s: %q", took, last)
			}
		})
	})
	t.Run("is refused", func(t *testing.T) {
		inWorld(t, func(w *world) {
			r := begin(w, version{locked: true}, atOnce)
			back, _ := w.until(r.ID, core.RolloutRolledBack, 10*time.Second)
			pass(time.Second)
			a := w.gateways[0].host.arrangement()
			if w.active() != before || a.Active != before || !strings.Contains(back.Reason, "refuses a second session") {
				w.Errorf("active %s, arrangement %+v: %s", w.active(), a, back.Reason)
			}
		})
	})
	t.Run("cannot be shared", func(t *testing.T) {
		inWorld(t, func(w *world) {
			r := begin(w, version{}, quick(core.StrategyCanary))
			back, _ := w.until(r.ID, core.RolloutRolledBack, 10*time.Second)
			if !strings.Contains(back.Reason, "use immediate") || w.quarantine(after) != "" {
				w.Errorf("reason %q, quarantine %q", back.Reason, w.quarantine(after))
			}
		})
	})
	t.Run("as only the new version says", func(t *testing.T) {
		inWorld(t, func(w *world) {
			w.versions[after].exclusive = true
			w.start("g1", automatically(quick(core.StrategyCanary)))
			pass(15 * time.Second)
			all, err := w.store.Rollouts(w.Context(), plugin, 0, 10)
			if err != nil || len(all) != 1 || all[0].State != core.RolloutPromoted || all[0].Plan.Strategy != core.StrategyImmediate {
				w.Errorf("%+v, %v", all, err)
			}
		})
	})
}

// What was good for long does not hide what is bad now.
func TestVersionThatTurnsBadLate(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.inState(g, core.RolloutCanary)
		if _, err := g.Pause(w.Context(), plugin, r.ID, operator, ""); err != nil {
			w.Fatal(err)
		}
		pass(4 * time.Minute)
		d, err := g.Get(w.Context(), plugin, r.ID)
		if err != nil || d.New.Samples() < r.Plan.MinSamples {
			w.Errorf("%d results, %v", d.New.Samples(), err)
		}
		w.set(func(w *world) { w.versions[after].failed = 0.2 })
		w.until(r.ID, core.RolloutRolledBack, 15*time.Second)
	})
}

// Where a share of the accounts has nobody who sends, the rollout goes on, and says so.
func TestStepWithoutAccountsIsPassedOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.passedBy = true
		g := w.start("g1", nil)
		plan := quick(core.StrategyCanary)
		plan.By = core.ByAccount
		r := w.begin(g, plan)
		w.until(r.ID, core.RolloutPromoted, 2*time.Minute)
		_, events := w.rollout(r.ID)
		if want := "no account that sends is among the 10 % of this step"; events[2].Reason != want {
			w.Errorf("%q, want %q", events[2].Reason, want)
		}
	})
}

func TestProviderThatHangsBlamesNobody(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.begin(g, quick(core.StrategyCanary))
		w.until(r.ID, core.RolloutCanary, 10*time.Second)
		w.set(func(w *world) { w.versions[before].hang, w.versions[after].hang = true, true })
		pass(20 * time.Second)
		if r, _ := w.rollout(r.ID); r.State != core.RolloutCanary {
			w.Errorf("it is %s: %s", r.State, r.Reason)
		}
	})
}

func TestFewResultsMakeItWait(t *testing.T) {
	for _, c := range []struct {
		name, waits string
		change      func(*world)
	}{
		{"no traffic", "version 1.1.0 has 0 of 100 results that this step needs", func(w *world) { w.traffic = 0 }},
		{"the recipients' own errors", "has 0 of 100 results", func(w *world) { w.versions[after].refused = 1 }},
		{"throttled", "has 0 of 100 results", func(w *world) { w.versions[after].throttled = 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.change(w)
				g := w.start("g1", nil)
				r := w.begin(g, quick(core.StrategyCanary))
				pass(20 * time.Second)
				d, err := g.Get(w.Context(), plugin, r.ID)
				if err != nil || d.State != core.RolloutCanary || d.Step != 0 || !strings.Contains(d.Waiting, c.waits) {
					w.Errorf("it is %s, step %d, waits: %q (%v), want %q", d.State, d.Step, d.Waiting, err, c.waits)
				}
				if len(d.Reports) != 1 || d.Reports[0].Gateway != "g1" {
					w.Errorf("reports %+v", d.Reports)
				}
				w.set(func(w *world) { w.traffic, *w.versions[after] = perSecond, version{} })
				w.until(r.ID, core.RolloutPromoted, time.Minute)
			})
		})
	}
}

func TestBadVersionThatWasBadBeforeIsNoWorse(t *testing.T) {
	inWorld(t, func(w *world) {
		*w.versions[before], *w.versions[after] = version{failed: 0.3, latency: time.Second}, version{failed: 0.3, latency: time.Second}
		g := w.start("g1", nil)
		r := w.begin(g, quick(core.StrategyCanary))
		w.until(r.ID, core.RolloutPromoted, time.Minute)
	})
}
