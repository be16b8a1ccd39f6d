package main_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"
)

const (
	e2eSwaps  = 10
	swapBatch = 100
	// swapWithin is generous: the machine may build and run other tests. pigeonry-bench swap holds it to a second.
	swapWithin = 10 * time.Second
)

// The SMS plugin changes between two versions under load, again and again. Nothing is lost, nothing is sent twice, and no
// request fails.
func TestSwapsUnderLoad(t *testing.T) {
	s := startSystemFrom(t, copyPlugins(t), embedded)
	versions := s.secondVersion("sms")
	sent := 0
	load := s.flood(func() map[string]any {
		recipients := make([]string, swapBatch)
		for i := range recipients {
			recipients[i] = smsNumber(sent)
			sent++
		}
		return map[string]any{"channel": "sms", "content": "Everything must go.", "recipients": recipients}
	})
	var slowest time.Duration
	for i := range e2eSwaps {
		slowest = max(slowest, s.swap("sms", versions[(i+1)%2]))
	}
	batches := load.end()
	for _, b := range batches {
		s.await("every message is settled", 60*time.Second, func() bool { return s.settled(b) })
	}
	if repeats := s.audit(batches...); repeats != 0 {
		t.Errorf("%d messages went out twice", repeats)
	}
	t.Logf("%d swaps, the slowest in %s, beside %d messages", e2eSwaps, slowest, sent)
}

// swap gives a version all messages at once, waits until the other has ended, and returns how long it took until
// the promotion.
func (s *system) swap(plugin, to string) time.Duration {
	s.t.Helper()
	began := time.Now()
	id := s.begin(plugin, to, "immediate", nil)
	end := s.awaitRollout("the rollout has ended", plugin, id, swapWithin, func(d rolloutDetail) bool { return d.Rollout.over() })
	took := time.Since(began)
	if end.Rollout.State != "promoted" {
		s.t.Fatalf("the rollout to version %s ended as %+v", to, end)
	}
	s.await("the other version has ended", 15*time.Second, func() bool { return s.alone(plugin, to) })
	return took
}

// copyPlugins copies the built plugins into a folder of the test's own.
func copyPlugins(t *testing.T) string {
	t.Helper()
	dir, err := built()
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(dir, "plugins"))); err != nil {
		t.Fatal(err)
	}
	return folder
}

// secondVersion installs the only version of a plugin once more, as a higher one with other bytes, and returns both.
func (s *system) secondVersion(plugin string) [2]string {
	s.t.Helper()
	_, all := s.generations(plugin)
	if len(all) != 1 {
		s.t.Fatalf("plugin %s has the versions %+v", plugin, all)
	}
	versions := [2]string{all[0].Version, "99.0.0"}
	program, err := os.ReadFile(filepath.Join(s.plugins, plugin, versions[0], plugin))
	if err != nil {
		s.t.Fatal(err)
	}
	s.installVersion(plugin, versions[1], append(program, "other bytes"...))
	s.await("the version is found", 10*time.Second, func() bool { return s.knows(plugin, versions[1]) })
	return versions
}
