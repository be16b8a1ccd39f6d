package rollout_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/rollout"
)

func automatically(plan core.RolloutPlan) func(*rollout.Options) {
	return func(o *rollout.Options) {
		o.Policy = func(string) rollout.Policy { return rollout.Policy{Automatic: true, Plan: plan} }
	}
}

// onlyAtOnce is the rule of a plugin whose session only one process may hold.
func onlyAtOnce(_, _ string, p core.RolloutPlan) error {
	if p.Strategy != core.StrategyImmediate {
		return core.Invalid("/strategy", "use immediate")
	}
	return nil
}

// ways are the rollouts that there were, oldest first.
func (w *world) ways() string {
	w.Helper()
	all, err := w.store.Rollouts(w.Context(), plugin, 0, 100)
	if err != nil {
		w.Fatal(err)
	}
	var ways []string
	for _, r := range slices.Backward(all) {
		ways = append(ways, r.From+" to "+r.To+" "+string(r.State)+" by "+r.Actor)
	}
	return strings.Join(ways, ", ")
}

func TestPolicy(t *testing.T) {
	const next = "1.2.0"
	begin := func(w *world, g *gateway, v string) {
		w.Helper()
		_, err := g.Begin(w.Context(), rollout.Request{Plugin: plugin, Version: v, Plan: quick(core.StrategyImmediate), Actor: operator})
		if err != nil {
			w.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		policy func(*rollout.Options)
		has    []string
		then   func(w *world, g *gateway)
		want   string
	}{
		{"manual: nothing by itself", nil, []string{before, after}, nil, ""},
		{"a higher version that is there", automatically(quick(core.StrategyCanary)), []string{before, after}, nil, "1.0.0 to 1.1.0 promoted by policy"},
		{"one that comes", automatically(quick(core.StrategyImmediate)), []string{before}, func(_ *world, g *gateway) {
			g.host.install(installed(before, after)...)
		}, "1.0.0 to 1.1.0 promoted by policy"},
		{"the highest of several", automatically(quick(core.StrategyImmediate)), []string{before, after, next}, nil, "1.0.0 to 1.2.0 promoted by policy"},
		{"not a lower one", automatically(quick(core.StrategyImmediate)), []string{"0.9.0", before}, nil, ""},
		{"a bad one once", automatically(quick(core.StrategyImmediate)), []string{before, next}, func(w *world, _ *gateway) {
			w.set(func(w *world) { w.versions[next].crash = true })
		}, "1.0.0 to 1.2.0 rolled_back by policy"},
		{"not what an operator replaced by a lower one", automatically(quick(core.StrategyImmediate)), []string{before, after}, func(w *world, g *gateway) {
			pass(20 * time.Second)
			begin(w, g, before)
		}, "1.0.0 to 1.1.0 promoted by policy, 1.1.0 to 1.0.0 promoted by operator"},
		{"not what an operator rolled back", automatically(quick(core.StrategyCanary)), []string{before, after}, func(w *world, g *gateway) {
			all, err := g.List(w.Context(), plugin, 0, 1)
			if err != nil || len(all) != 1 {
				w.Fatalf("%+v, %v", all, err)
			}
			if _, err := g.Rollback(w.Context(), plugin, all[0].ID, operator, ""); err != nil {
				w.Fatal(err)
			}
		}, "1.0.0 to 1.1.0 rolled_back by policy"},
		{"one that does not fit", func(o *rollout.Options) {
			automatically(quick(core.StrategyCanary))(o)
			o.Allow = func(string, string, core.RolloutPlan) error { return core.Invalid("/strategy", "no canary") }
		}, []string{before, after}, nil, ""},
		{"all at once where two versions cannot share messages", func(o *rollout.Options) {
			automatically(quick(core.StrategyCanary))(o)
			o.Allow = onlyAtOnce
		}, []string{before, after}, nil, "1.0.0 to 1.1.0 promoted by policy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.versions[next] = &version{}
				g := w.start("g1", c.policy, c.has...)
				if c.then != nil {
					c.then(w, g)
				}
				pass(15 * time.Second)
				if got := w.ways(); got != c.want {
					w.Errorf("rollouts: %q, want %q", got, c.want)
				}
				w.kill(g)
				w.start("g1", c.policy, c.has...)
				pass(2 * time.Second)
				if got := w.ways(); got != c.want {
					w.Errorf("after a restart: %q, want %q", got, c.want)
				}
			})
		})
	}
}

// What the policy was refused it tries again: settings change.
func TestPolicyTriesAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		var allowed atomic.Bool
		w.start("g1", func(o *rollout.Options) {
			automatically(quick(core.StrategyImmediate))(o)
			o.Allow = func(string, string, core.RolloutPlan) error {
				if !allowed.Load() {
					return core.Invalid("/strategy", "not yet")
				}
				return nil
			}
		})
		pass(10 * time.Second)
		if got := w.ways(); got != "" {
			w.Fatalf("rollouts: %q", got)
		}
		allowed.Store(true)
		pass(80 * time.Second)
		if got := w.ways(); got != "1.0.0 to 1.1.0 promoted by policy" {
			w.Errorf("rollouts: %q", got)
		}
	})
}

func TestGatewaysBeginOnceByPolicy(t *testing.T) {
	inWorld(t, func(w *world) {
		policy := automatically(quick(core.StrategyImmediate))
		one, other := w.start("g1", policy, before), w.start("g2", policy, before)
		one.host.install(installed(before, after)...)
		other.host.install(installed(before, after)...)
		pass(15 * time.Second)
		if got := w.ways(); got != "1.0.0 to 1.1.0 promoted by policy" {
			w.Errorf("rollouts: %q", got)
		}
	})
}

func TestChoose(t *testing.T) {
	cases := []struct {
		name      string
		versions  []string
		active    string
		want, err string
	}{
		{"the highest, the first time", []string{"0.9.0", "1.0.0", "1.1.0"}, "", "1.1.0", ""},
		{"the stored one", []string{"0.9.0", "1.0.0", "1.1.0"}, "0.9.0", "0.9.0", ""},
		{"the stored one is not here", []string{"0.9.0", "1.0.0"}, "2.0.0", "2.0.0", "version 2.0.0 of plugin email-2 is active, and this gateway has only 0.9.0, 1.0.0: install 2.0.0 here"},
		{"none is here", nil, "", "", "this gateway has no version of plugin email-3"},
	}
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		for i, c := range cases {
			name := fmt.Sprintf("email-%d", i)
			for _, v := range c.versions {
				w.register(core.PluginVersion{Plugin: name, Version: v, SHA256: v})
			}
			if c.active != "" {
				if _, err := w.store.Activate(w.Context(), name, c.active); err != nil {
					w.Fatal(err)
				}
			}
			got, err := g.Choose(w.Context(), name, c.versions)
			if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				w.Errorf("%s: %q, %v; want %q, %q", c.name, got, err, c.want, c.err)
			}
		}
	})
}

func (w *world) register(v core.PluginVersion) {
	w.Helper()
	v.FirstSeen = time.Now()
	if _, err := w.store.RegisterVersion(w.Context(), v); err != nil {
		w.Fatal(err)
	}
}

func TestNewPluginBeginsByItself(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil, before)
		g.host.install(append(installed(before), core.PluginVersion{Plugin: "fax", Version: "3.0.0", SHA256: "fax"})...)
		pass(time.Second)
		state, err := w.store.RolloutsState(w.Context(), time.Now())
		if err != nil || state.Active["fax"] != "3.0.0" {
			w.Errorf("active: %v, %v", state.Active, err)
		}
	})
}

func TestRemoveReachesEveryGateway(t *testing.T) {
	inWorld(t, func(w *world) {
		one, other := w.start("g1", nil), w.start("g2", nil)
		if err := one.Remove(w.Context(), plugin, after, operator); err != nil {
			w.Fatal(err)
		}
		if n := len(one.host.Installed()); n != 1 {
			w.Errorf("%d versions are left where it was removed", n)
		}
		pass(6 * time.Second)
		if n := len(other.host.Installed()); n != 1 {
			w.Errorf("%d versions are left on another gateway", n)
		}
		other.host.install(installed(before, after)...)
		pass(10 * time.Second)
		versions, err := one.Versions(w.Context(), plugin)
		if err != nil || len(versions) != 2 || len(other.host.Installed()) != 2 {
			w.Errorf("installed again: %+v, %v", versions, err)
		}
	})
}

func TestVersionIsRemovedOnceItNoLongerRuns(t *testing.T) {
	inWorld(t, func(w *world) {
		g := w.start("g1", nil)
		g.host.mu.Lock()
		g.host.runOf(after).running = true // it drains
		g.host.mu.Unlock()
		if err := g.Remove(w.Context(), plugin, after, operator); err != nil {
			w.Fatal(err)
		}
		pass(6 * time.Second)
		if n := len(g.host.Installed()); n != 2 {
			w.Fatalf("%d versions, while one drains", n)
		}
		g.host.mu.Lock()
		g.host.runOf(after).running = false
		g.host.mu.Unlock()
		pass(6 * time.Second)
		if n := len(g.host.Installed()); n != 1 {
			w.Errorf("%d versions are left", n)
		}
	})
}
