package rollout_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
	"github.com/pigeonry/pigeonry/core/store"
)

func TestRestartInEveryState(t *testing.T) {
	for _, state := range openStates() {
		t.Run(string(state)+", goes on", func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				w.kill(g)
				pass(2 * time.Minute)
				began := w.start("g1", nil)
				if now, _ := w.rollout(r.ID); now.State != state || now.Step != r.Step {
					w.Errorf("it went on to %s before anything ran", now.State)
				}
				if active, err := began.Choose(w.Context(), plugin, []string{before, after}); err != nil || active != r.Active() {
					w.Errorf("it begins with %s (%v), want %s", active, err, r.Active())
				}
				if state == core.RolloutShadow {
					pass(3 * time.Second)
					if _, err := began.Promote(w.Context(), plugin, r.ID, operator, ""); err != nil {
						w.Fatal(err)
					}
				}
				if _, took := w.until(r.ID, core.RolloutPromoted, time.Minute); state != core.RolloutShadow && took < r.Plan.Bake {
					w.Errorf("promoted after %s, although it had to bake for %s", took, r.Plan.Bake)
				}
			})
		})
		t.Run(string(state)+", goes back", func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				w.kill(g)
				pass(2 * time.Minute)
				w.versions[after].problem = "the provider knows it no longer"
				began := w.start("g1", nil)
				w.until(r.ID, core.RolloutRolledBack, 3*time.Second)
				pass(500 * time.Millisecond)
				if a := began.host.arrangement(); !same(a, core.Arrangement{Active: before}) {
					w.Errorf("arrangement %+v", a)
				}
			})
		})
	}
}

// broken is a store that stops working in the middle of what a gateway does, as a gateway that is killed does.
type broken struct {
	store.Store

	advance atomic.Bool
	loses   atomic.Int32 // calls of AdvanceRollout that somebody else was faster for
}

var errBroken = errors.New("the disk is gone")

// AdvanceRollout implements store.Rollouts.
func (b *broken) AdvanceRollout(ctx context.Context, r core.Rollout, e core.RolloutEvent, quarantine string) (bool, error) {
	if b.advance.Load() {
		return false, errBroken
	}
	if b.loses.Add(-1) >= 0 {
		return false, nil
	}
	return b.Store.AdvanceRollout(ctx, r, e, quarantine)
}

func (b *broken) use(o *rollout.Options) { o.Versions, o.Rollouts, o.History = b, b, b }

func TestKilledRightAfterTheRollback(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		r := w.inState(g, core.RolloutCanary)
		w.set(func(w *world) { w.versions[after].crash = true })
		back, _ := w.until(r.ID, core.RolloutRolledBack, time.Second)
		if q := w.quarantine(after); q != back.Reason {
			w.Errorf("quarantine %q, rolled back for %q", q, back.Reason)
		}
		w.kill(g)
		automatic := w.start("g1", automatically(quick(core.StrategyCanary)))
		pass(10 * time.Second)
		if all, err := automatic.List(w.Context(), plugin, 0, 10); err != nil || len(all) != 1 {
			w.Errorf("the bad version is rolled out once more: %+v, %v", all, err)
		}
	})
}

func TestStoreThatFailsIsTriedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		b := &broken{Store: w.store}
		g := w.start("g1", b.use)
		r := w.inState(g, core.RolloutCanary)
		b.advance.Store(true)
		pass(20 * time.Second)
		if n := strings.Count(g.log.String(), errBroken.Error()); n != 1 {
			w.Errorf("it was told %d times that the store fails:\n%s", n, g.log)
		}
		b.advance.Store(false)
		w.until(r.ID, core.RolloutPromoted, time.Minute)
	})
}

func TestWhoLosesLooksAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		b := &broken{Store: w.store}
		g := w.start("g1", b.use)
		b.loses.Store(3)
		r := w.begin(g, quick(core.StrategyCanary))
		w.until(r.ID, core.RolloutPromoted, time.Minute)
		if want := "starting, canary 10, canary 50, baking, promoted"; w.timeline(r.ID) != want {
			w.Errorf("timeline %s", w.timeline(r.ID))
		}
		b.loses.Store(3)
		second, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: before, Plan: quick(core.StrategyCanary), Actor: operator})
		if err != nil {
			w.Fatal(err)
		}
		if _, err := g.Rollback(w.Context(), plugin, second.ID, operator, ""); err != nil {
			w.Errorf("a command that lost three times: %v", err)
		}
		third, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: before, Plan: quick(core.StrategyCanary), Actor: operator})
		if err != nil {
			w.Fatal(err)
		}
		b.loses.Store(1000)
		_, err = g.Rollback(w.Context(), plugin, third.ID, operator, "")
		w.wantError(err, core.KindConflict, "try again")
	})
}

func TestGatewaysConverge(t *testing.T) {
	inWorld(t, func(w *world) {
		gateways := []*gateway{w.start("g1", nil), w.start("g2", nil), w.start("g3", nil)}
		r := w.begin(gateways[1], quick(core.StrategyCanary))
		w.until(r.ID, core.RolloutCanary, 10*time.Second)
		pass(2 * time.Second)
		for _, g := range gateways {
			if a := g.host.arrangement(); a.Share != 10 || a.Beside != after {
				w.Errorf("%s has %+v", g.name, a)
			}
		}
		d, err := gateways[0].Get(w.Context(), plugin, r.ID)
		if err != nil || len(d.Reports) != 3 {
			w.Errorf("reports of %d gateways: %v", len(d.Reports), err)
		}
		w.until(r.ID, core.RolloutPromoted, time.Minute)
		pass(time.Second)
		for _, g := range gateways {
			if a := g.host.arrangement(); !same(a, core.Arrangement{Active: after}) {
				w.Errorf("%s has %+v", g.name, a)
			}
		}
		if want := "starting, canary 10, canary 50, baking, promoted"; w.timeline(r.ID) != want {
			w.Errorf("timeline %s, want each change once", w.timeline(r.ID))
		}
	})
}

func TestWhatOneGatewaySeesTakesAllBack(t *testing.T) {
	inWorld(t, func(w *world) {
		one, other := w.start("g1", nil), w.start("g2", nil)
		r := w.inState(one, core.RolloutCanary)
		other.host.mu.Lock()
		other.host.runOf(after).standing.Figures.Crashes++
		other.host.mu.Unlock()
		back, _ := w.until(r.ID, core.RolloutRolledBack, time.Second)
		pass(time.Second)
		if back.Reason != "it crashed on gateway g2 (once)" || one.host.arrangement().Beside != "" || other.host.arrangement().Beside != "" {
			w.Errorf("%q; %+v, %+v", back.Reason, one.host.arrangement(), other.host.arrangement())
		}
	})
}

func TestSlowGatewayIsWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		one := w.start("g1", nil)
		w.versions[after].startsIn = 20 * time.Second
		other := w.start("g2", nil)
		r := w.begin(one, quick(core.StrategyCanary))
		pass(2 * time.Second)
		one.host.mu.Lock()
		one.host.runOf(after).standing.Ready = true
		one.host.tell()
		one.host.mu.Unlock()
		pass(10 * time.Second)
		d, err := one.Get(w.Context(), plugin, r.ID)
		if err != nil || d.State != core.RolloutStarting || d.Waiting != "version 1.1.0 is not ready on gateway g2" {
			w.Errorf("%s, waits: %q, %v", d.State, d.Waiting, err)
		}
		w.until(r.ID, core.RolloutCanary, 10*time.Second)
		_ = other
	})
}

func TestDeadGatewayIsNotWaitedForLong(t *testing.T) {
	inWorld(t, func(w *world) {
		one, other := w.start("g1", nil), w.start("g2", nil)
		w.kill(other)
		r := w.begin(one, quick(core.StrategyCanary))
		pass(3 * time.Second)
		d, err := one.Get(w.Context(), plugin, r.ID)
		if err != nil || d.Waiting != "gateway g2 has not answered" {
			w.Errorf("waits: %q, %v", d.Waiting, err)
		}
		w.until(r.ID, core.RolloutCanary, 10*time.Second)
	})
}

func TestGatewayThatEndsIsNotWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		one, other := w.start("g1", nil), w.start("g2", nil)
		w.end(other)
		r := w.begin(one, quick(core.StrategyCanary))
		w.until(r.ID, core.RolloutCanary, 2*time.Second)
		third := w.start("g3", nil)
		pass(time.Second)
		w.end(third) // in the middle of a rollout
		pass(200 * time.Millisecond)
		d, err := one.Get(w.Context(), plugin, r.ID)
		if err != nil || len(d.Reports) != 1 || strings.Contains(d.Waiting, "gateway") {
			w.Errorf("waits: %q, reports of %d gateways, %v", d.Waiting, len(d.Reports), err)
		}
	})
}

// A version that was removed while a gateway was down does not come back with it.
func TestRemovedVersionStaysRemoved(t *testing.T) {
	inWorld(t, func(w *world) {
		w.since = time.Now()
		one, other := w.start("g1", nil), w.start("g2", nil)
		w.kill(other)
		if err := one.Remove(w.Context(), plugin, after, operator); err != nil {
			w.Fatal(err)
		}
		pass(time.Minute)
		other = w.start("g2", automatically(quick(core.StrategyImmediate)))
		pass(10 * time.Second)
		versions, err := other.Versions(w.Context(), plugin)
		if err != nil || len(versions) != 1 || len(other.host.Installed()) != 1 || w.ways() != "" {
			w.Errorf("versions %+v, %v; %d installed, rollouts %q", versions, err, len(other.host.Installed()), w.ways())
		}
		fresh := installed(before, after)
		fresh[0].InstalledAt, fresh[1].InstalledAt = w.since, time.Now()
		other.host.install(fresh...)
		pass(time.Second)
		if versions, err = other.Versions(w.Context(), plugin); err != nil || len(versions) != 2 {
			w.Errorf("installed again: %+v, %v", versions, err)
		}
	})
}

// A version never means other bytes: a gateway that has other ones runs none of them.
func TestOtherBytesNeverRun(t *testing.T) {
	t.Run("of the active version", func(t *testing.T) {
		inWorld(t, func(w *world) {
			one := w.start("g1", nil)
			w.bytes = map[string]string{before: "other bytes"}
			other := w.start("g2", nil)
			r := w.begin(one, quick(core.StrategyCanary))
			back, _ := w.until(r.ID, core.RolloutRolledBack, 31*time.Second)
			if want := "version 1.0.0 of plugin sms is known with another checksum"; !strings.Contains(back.Reason, want) || w.quarantine(after) != "" {
				w.Errorf("reason %q, quarantine %q", back.Reason, w.quarantine(after))
			}
			pass(time.Second)
			if len(other.host.arranged) > 0 || !strings.Contains(other.log.String(), "version 1.0.0 of plugin sms is known with another checksum") {
				w.Errorf("arranged: %+v; log:\n%s", other.host.arranged, other.log)
			}
			other.host.install(installed(before, after)...)
			pass(3 * time.Second)
			if a := other.host.arrangement(); !same(a, core.Arrangement{Active: before}) {
				w.Errorf("with the right bytes: %+v", a)
			}
		})
	})
	t.Run("of the old version, while it is warm", func(t *testing.T) {
		inWorld(t, func(w *world) {
			g := w.start("g1", nil)
			r := w.inState(g, core.RolloutBaking)
			w.kill(g)
			w.bytes = map[string]string{before: "other bytes"}
			g = w.start("g1", nil)
			w.until(r.ID, core.RolloutPromoted, time.Minute)
			for _, a := range g.host.arranged {
				if a.Active != after || a.Beside != "" {
					w.Errorf("arranged: %+v", a)
				}
			}
		})
	})
	t.Run("of a plugin that begins", func(t *testing.T) {
		inWorld(t, func(w *world) {
			for _, v := range []string{"3.0.0", "3.1.0"} {
				w.register(core.PluginVersion{Plugin: "fax", Version: v, SHA256: v})
			}
			g := w.start("g1", nil, before)
			g.host.install(append(installed(before), core.PluginVersion{Plugin: "fax", Version: "3.0.0", SHA256: "3.0.0"},
				core.PluginVersion{Plugin: "fax", Version: "3.1.0", SHA256: "other bytes"})...)
			pass(time.Second)
			state, err := w.store.RolloutsState(w.Context(), time.Now())
			if err != nil || state.Active["fax"] != "3.0.0" {
				w.Errorf("active: %v, %v", state.Active, err)
			}
		})
	})
}

func TestGatewayThatLacksTheVersion(t *testing.T) {
	t.Run("from the beginning", func(t *testing.T) {
		inWorld(t, func(w *world) {
			one, other := w.start("g1", nil), w.start("g2", nil, before)
			r := w.begin(one, quick(core.StrategyCanary))
			back, _ := w.until(r.ID, core.RolloutRolledBack, 31*time.Second)
			if want := "gateway g2 does not have version 1.1.0 with checksum sha of 1.1.0: install it there after 30s"; back.Reason != want {
				w.Errorf("reason %q", back.Reason)
			}
			if q := w.quarantine(after); q != "" {
				w.Errorf("quarantine, although the version did no wrong: %s", q)
			}
			if a := other.host.arrangement(); !same(a, core.Arrangement{Active: before}) {
				w.Errorf("arrangement %+v", a)
			}
		})
	})
	t.Run("as its files are bad", func(t *testing.T) {
		inWorld(t, func(w *world) {
			one, other := w.start("g1", nil), w.start("g2", nil, before)
			other.host.spoil(after, "wrong checksum: expected one, found another")
			r := w.begin(one, quick(core.StrategyCanary))
			back, _ := w.until(r.ID, core.RolloutRolledBack, 31*time.Second)
			if want := "with checksum sha of 1.1.0: wrong checksum: expected one, found another after 30s"; !strings.Contains(back.Reason, want) {
				w.Errorf("reason %q", back.Reason)
			}
		})
	})
	t.Run("for a while", func(t *testing.T) {
		inWorld(t, func(w *world) {
			one, other := w.start("g1", nil), w.start("g2", nil, before)
			r := w.begin(one, quick(core.StrategyCanary))
			pass(10 * time.Second)
			other.host.install(installed(before, after)...)
			w.until(r.ID, core.RolloutPromoted, time.Minute)
		})
	})
	t.Run("other bytes", func(t *testing.T) {
		inWorld(t, func(w *world) {
			one, other := w.start("g1", nil), w.start("g2", nil, before)
			versions := installed(before, after)
			versions[1].SHA256 = "other bytes"
			other.host.install(versions...)
			pass(time.Second)
			r := w.begin(one, quick(core.StrategyCanary))
			w.until(r.ID, core.RolloutRolledBack, 31*time.Second)
			if !strings.Contains(other.log.String(), "is known with another checksum") {
				w.Errorf("log:\n%s", other.log)
			}
			for _, a := range other.host.arranged {
				if a.Beside != "" || a.Active != before {
					w.Errorf("it ran what nobody meant: %+v", a)
				}
			}
		})
	})
	t.Run("joins in the middle", func(t *testing.T) {
		inWorld(t, func(w *world) {
			one := w.start("g1", nil)
			r := w.inState(one, core.RolloutCanary)
			other := w.start("g2", nil, before)
			pass(20 * time.Second)
			d, err := one.Get(w.Context(), plugin, r.ID)
			if err != nil || d.State != core.RolloutCanary || !strings.Contains(d.Waiting, "gateway g2 does not have version 1.1.0") {
				w.Errorf("%s, waits: %q, %v", d.State, d.Waiting, err)
			}
			w.kill(other)
			w.until(r.ID, core.RolloutPromoted, time.Minute)
			if w.start("g2", nil, before); !strings.Contains(w.gateways[1].log.String(), "version 1.1.0 of plugin sms is active, and this gateway has only 1.0.0: install 1.1.0 here") {
				w.Errorf("log:\n%s", w.gateways[1].log)
			}
		})
	})
}
