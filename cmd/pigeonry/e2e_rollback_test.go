package main_test

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A new version with any of these faults gets 1 % of the messages at most. It is taken back by itself within 5 s of
// enough results, goes to quarantine with the reason, and whatever it did not surely send is sent by the old version.
func TestBadVersionIsRolledBack(t *testing.T) {
	for _, fault := range []struct {
		name   string
		reason []string // what the rollout says, in parts
		sends  bool     // it surely sends some messages before it is taken back
	}{
		{"config", []string{"cannot run on gateway", "connector flaky/main", "is not what this version takes"}, false},
		{"start", []string{"cannot run on gateway", "no handshake", "expected the handshake", "found that the process ended with exit status 3"}, false},
		// What it had when it crashed may be counted a moment before the end of its process is noticed.
		{"crash", []string{"exit status 7|of its results are uncertain beside 0.0 %"}, true},
		{"reject", []string{"of its results are failed beside 0.0 %"}, false},
		{"mumble", []string{"of its results are uncertain beside 0.0 %"}, false},
		{"slow", []string{"its 99th percentile is ", "more than 2 times as much"}, true},
		{"leak", []string{" MiB of memory beside ", "more than 2 times as much"}, true},
		{"hang", []string{"an attempt has been without a result for "}, false},
	} {
		t.Run(fault.name, func(t *testing.T) {
			t.Parallel()
			s := startFlaky(t, embedded, "main")
			s.installFlaky("main", "2.0.0", fault.name)
			load := s.flood(func() map[string]any { return flakyMail("flaky/main", 500) })
			id := s.beginCanary()
			enough := time.Time{} // when the new version had the results that it needs
			pid := 0
			end := s.awaitRollout("the rollout has ended", "main", id, 30*time.Second, func(d rolloutDetail) bool {
				if enough.IsZero() && d.New.Samples >= 20 && !d.Rollout.over() {
					enough = time.Now()
				}
				pid = max(pid, s.pid("main", "2.0.0"))
				return d.Rollout.over()
			})
			batches := load.end()

			if end.Rollout.State != "rolled_back" {
				t.Fatalf("the rollout ended as %+v", end)
			}
			for _, part := range fault.reason {
				if !slices.ContainsFunc(strings.Split(part, "|"), func(p string) bool { return strings.Contains(end.Rollout.Reason, p) }) {
					t.Errorf("the reason does not say %q: %s", part, end.Rollout.Reason)
				}
			}
			took := end.Rollout.UpdatedAt.Sub(end.judgeable(enough))
			if took > 5*time.Second {
				t.Errorf("it took %s until the version was taken back", took)
			}
			s.await("the version is in quarantine for that", 5*time.Second, func() bool {
				s.last = s.quarantine("main", "2.0.0")
				return s.last == end.Rollout.Reason
			})
			repeats, noted := s.auditFlaky("main", batches)
			if fault.sends && noted == 0 {
				t.Error("the version never got a message")
			}
			s.await("the old version is alone", 15*time.Second, func() bool { return s.alone("main", "1.0.0") })
			s.await("no process of the bad version is left", 5*time.Second, func() bool { return !lives(pid) })
			t.Logf("after %s: %s; %d batches, %d messages sent by it, %d repeats", took, end.Rollout.Reason, len(batches), noted, repeats)
		})
	}
}

// beginCanary begins to roll out version 2.0.0 of the plugin main, once the gateway has found it.
func (s *system) beginCanary() int64 {
	s.t.Helper()
	s.await("the version is found", 10*time.Second, func() bool { return s.knows("main", "2.0.0") })
	return s.begin("main", "2.0.0", "canary", nil)
}

// knows says whether the gateway has found a version of a plugin.
func (s *system) knows(plugin, version string) bool {
	s.t.Helper()
	_, all := s.generations(plugin)
	for _, g := range all {
		if g.Version == version {
			return true
		}
	}
	return false
}

// pid is the process of a version of a plugin, 0 if it has none.
func (s *system) pid(plugin, version string) int {
	s.t.Helper()
	_, all := s.generations(plugin)
	for _, g := range all {
		if g.Version == version {
			return g.PID
		}
	}
	return 0
}

// lives says whether there is a process of the number.
func lives(pid int) bool { return pid != 0 && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

// judgeable is when a version could be judged: when it had enough results, or, if it never had, when it was begun with.
func (d rolloutDetail) judgeable(enough time.Time) time.Time {
	for _, at := range []time.Time{enough, d.when("canary"), d.when("starting")} {
		if !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}
