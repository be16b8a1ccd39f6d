package rollout_test

import (
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
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
		{"immediate", "starting, promoted", noBake},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				var ended []core.Rollout
				g := w.start("g1", func(o *rollout.Options) { o.Ended = func(r core.Rollout) { ended = append(ended, r) } })
				r := w.begin(g, c.plan)
				w.until(r.ID, core.RolloutPromoted, time.Minute)
				pass(time.Second)
				if got := w.timeline(r.ID); got != c.timeline {
					w.Errorf("timeline %q, want %q", got, c.timeline)
				}
				if a := g.host.arrangement(); !same(a, core.Arrangement{Active: after}) || w.active() != after {
					w.Errorf("it ends with %+v, and %s is active", a, w.active())
				}
				if len(ended) != 1 || ended[0].State != core.RolloutPromoted {
					w.Errorf("ended: %+v", ended)
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
	}{
		{"crash", "it crashed on gateway g1", version{crash: true}, time.Second},
		{"breach of the contract", "broke the plugin contract", version{violate: 0.1}, time.Second},
		{"failures", "are failed beside", version{failed: 0.2}, 10 * time.Second},
		{"all fail", "are failed beside", version{failed: 1}, 5 * time.Second},
		{"uncertain", "are uncertain beside", version{uncertain: 0.2}, 10 * time.Second},
		{"disagreed", "are failed beside", version{disagreed: 0.2}, 10 * time.Second},
		{"slow", "its 99th percentile is", version{latency: 5 * ownLatency}, 5 * time.Second},
		{"memory", "of memory beside", version{memory: 400 << 20}, time.Second},
		{"hangs", "without a result for", version{hang: true}, 5 * time.Second},
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
					if !strings.Contains(back.Reason, c.reason) || w.quarantine(after) != back.Reason {
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
