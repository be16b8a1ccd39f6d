package main_test

import (
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// killedIn is a rollout that is under way when the gateway is killed. The plugin has its name.
type killedIn struct {
	name     string
	fault    string // of the new version
	strategy string
	options  map[string]any
	reached  func(rolloutDetail) bool
	back     bool // it is being rolled back
	id       int64
}

// wide lets no difference count: what is tested is not the judgment.
func wide(options map[string]any) map[string]any {
	options["gates"] = map[string]any{"failure_rate": 1, "uncertain_rate": 1, "latency_ratio": 1000, "memory_ratio": 1000}
	options["min_samples"] = 5
	return options
}

func atStep(step int) func(rolloutDetail) bool {
	return func(d rolloutDetail) bool { return d.Rollout.State == "canary" && d.Rollout.Step == step }
}

func inState(state string) func(rolloutDetail) bool {
	return func(d rolloutDetail) bool { return d.Rollout.State == state }
}

// killedStates are the rollouts, that which takes longest to where it shall be first.
func killedStates() []*killedIn {
	return []*killedIn{
		{name: "second-step", strategy: "canary", options: wide(map[string]any{"steps": []int{10, 50}, "window_ms": 6000}), reached: atStep(1)},
		{name: "first-step", strategy: "canary", options: wide(map[string]any{"steps": []int{10, 50}, "window_ms": 8000}), reached: atStep(0)},
		{name: "shadow", strategy: "shadow", options: wide(map[string]any{"bake_ms": 0}), reached: inState("shadow")},
		{name: "baking", strategy: "immediate", options: wide(map[string]any{"bake_ms": 10_000}), reached: inState("baking")},
		{
			name: "rollback", fault: "lazy", strategy: "canary", options: wide(map[string]any{"steps": []int{50}, "window_ms": 60_000}),
			reached: atStep(0), back: true,
		},
		{name: "starting", fault: "late", strategy: "immediate", reached: inState("starting")},
	}
}

// The gateway is killed while rollouts are in every state there is. After the restart each goes on, or back; none stays
// in between, no process is left of the dead gateway, and every message is sent.
func TestGatewayKilledDuringRollouts(t *testing.T) {
	onBoth(t, startKilled, gatewayKilledDuringRollouts)
}

// startKilled starts a gateway with a plugin for each rollout.
func startKilled(t *testing.T, engines string) *system {
	t.Helper()
	return startFlaky(t, engines, namesOf(killedStates())...)
}

func namesOf(all []*killedIn) []string {
	names := make([]string, len(all))
	for i, k := range all {
		names[i] = k.name
	}
	return names
}

func gatewayKilledDuringRollouts(s *system) {
	t, all := s.t, killedStates()
	names := namesOf(all)
	for _, k := range all {
		s.installFlaky(k.name, "2.0.0", k.fault)
	}
	for _, k := range all {
		s.await("the version is found", 10*time.Second, func() bool { return s.knows(k.name, "2.0.0") })
	}
	loads := s.floods(names)
	s.bring(all[:1])
	s.bring(all[1:])
	s.await("both versions of each plugin have a process", 10*time.Second, func() bool {
		return !seesProcesses() || len(s.pluginProcesses()) == 2*len(all)
	})
	for _, k := range all {
		if d := s.rollout(k.name, k.id); !k.reached(d) {
			t.Fatalf("the rollout %s went on too soon: %+v", k.name, d)
		}
		if k.back {
			s.order(k.name, k.id, "rollback")
		}
	}
	s.gateway.kill()
	for _, load := range loads {
		load.halt() // requests that the kill cut off may have failed
	}
	s.await("no process is left", 5*time.Second, func() bool { return len(s.pluginProcesses()) == 0 })

	s.start()
	again := s.floods(names)
	for _, k := range all {
		t.Run(k.name, func(t *testing.T) { s.in(t).afterwards(k) })
	}
	for i, name := range names {
		batches := slices.Concat(loads[i].batches, again[i].end())
		repeats, _ := s.auditFlaky(name, batches)
		t.Logf("%s: %d batches, %d repeats, all marked", name, len(batches), repeats)
	}
	if left := s.pluginProcesses(); len(left) != len(all) && seesProcesses() {
		t.Errorf("%d processes at the end, want one of each plugin: %v", len(left), left)
	}
}

// floods sends small batches to the connector of each plugin.
func (s *system) floods(names []string) []*flood {
	loads := make([]*flood, len(names))
	for i, name := range names {
		loads[i] = s.flood(func() map[string]any { return flakyMail("flaky/"+name, 40) })
	}
	return loads
}

// bring begins rollouts and brings them to where the kill finds them.
func (s *system) bring(rollouts []*killedIn) {
	s.t.Helper()
	for _, k := range rollouts {
		k.id = s.begin(k.name, "2.0.0", k.strategy, k.options)
	}
	for _, k := range rollouts {
		s.awaitRollout("the rollout "+k.name+" is where it is killed", k.name, k.id, 30*time.Second, k.reached)
	}
}

// in is the system as a part of the test sees it.
func (s *system) in(t *testing.T) *system {
	t.Helper()
	part := *s
	part.t = t
	return &part
}

// afterwards waits until the rollout has come to its end.
func (s *system) afterwards(k *killedIn) {
	s.t.Helper()
	if k.strategy == "shadow" {
		s.await("the shadow runs again", 20*time.Second, func() bool { return s.pid(k.name, "2.0.0") != 0 })
		s.order(k.name, k.id, "promote")
	}
	end := s.awaitRollout("the rollout "+k.name+" has ended", k.name, k.id, 40*time.Second, func(d rolloutDetail) bool { return d.Rollout.over() })
	want, active := "promoted", "2.0.0"
	if k.back {
		want, active = "rolled_back", "1.0.0"
	}
	if end.Rollout.State != want {
		s.t.Errorf("it ended as %+v", end)
	}
	s.await("version "+active+" is alone", 20*time.Second, func() bool { return s.alone(k.name, active) })
}

// seesProcesses says whether the system tells which processes there are.
func seesProcesses() bool { return runtime.GOOS == "linux" }

// pluginProcesses lists the processes that run a copy of a plugin out of the data folder, where the system tells.
func (s *system) pluginProcesses() []int {
	s.t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var pids []int
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if exe, err := os.Readlink("/proc/" + e.Name() + "/exe"); err == nil && strings.HasPrefix(exe, filepath.Join(s.dir, "data")) {
			pids = append(pids, pid)
		}
	}
	return pids
}
