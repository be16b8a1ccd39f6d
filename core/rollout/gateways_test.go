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
				if active, err := began.Choose(w.Context(), plugin, []string{before, after}); err != nil || active != r.Active() {
					w.Errorf("it begins with %s (%v), want %s", active, err, r.Active())
				}
				if state == core.RolloutShadow {
					pass(3 * time.Second)
					if _, err := began.Promote(w.Context(), plugin, r.ID, operator, ""); err != nil {
						w.Fatal(err)
					}
				}
				w.until(r.ID, core.RolloutPromoted, time.Minute)
			})
		})
		t.Run(string(state)+", goes back", func(t *testing.T) {
			inWorld(t, func(w *world) {
				g := w.start("g1", nil)
				r := w.inState(g, state)
				w.kill(g)
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

	quarantine, advance atomic.Bool
	loses               atomic.Int32 // calls of AdvanceRollout that somebody else was faster for
}

var errBroken = errors.New("the disk is gone")

// Quarantine implements store.PluginVersions.
func (b *broken) Quarantine(ctx context.Context, plugin, sha, reason string) error {
	if b.quarantine.Load() {
		return errBroken
	}
	return b.Store.Quarantine(ctx, plugin, sha, reason)
}

// AdvanceRollout implements store.Rollouts.
func (b *broken) AdvanceRollout(ctx context.Context, r core.Rollout, e core.RolloutEvent) (bool, error) {
	if b.advance.Load() {
		return false, errBroken
	}
	if b.loses.Add(-1) >= 0 {
		return false, nil
	}
	return b.Store.AdvanceRollout(ctx, r, e)
}

func (b *broken) use(o *rollout.Options) { o.Versions, o.Rollouts, o.History = b, b, b }

func TestKilledBeforeTheQuarantine(t *testing.T) {
	inWorld(t, func(w *world) {
		b := &broken{Store: w.store}
		b.quarantine.Store(true)
		g := w.start("g1", b.use)
		r := w.inState(g, core.RolloutCanary)
		w.set(func(w *world) { w.versions[after].crash = true })
		w.until(r.ID, core.RolloutRolledBack, time.Second)
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
