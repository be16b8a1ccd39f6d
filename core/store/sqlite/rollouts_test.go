package sqlite_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/store"
)

// A rollout outlives the gateway, and goes on where it was.
func TestARolloutOutlivesTheGateway(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s := open(t, path)
	v := core.PluginVersion{Plugin: "sms", Version: "1.1.0", SHA256: "fe", FirstSeen: time.Now()}
	if _, err := s.RegisterVersion(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Activate(t.Context(), "sms", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	r, err := s.BeginRollout(t.Context(), core.Rollout{
		Plugin: "sms", From: "1.0.0", To: "1.1.0", SHA256: "fe", State: core.RolloutStarting,
		Since: time.Now(), CreatedAt: time.Now(), UpdatedAt: time.Now(),
	}, core.RolloutEvent{At: time.Now()}, false)
	if err != nil {
		t.Fatal(err)
	}
	advance(t, s, r, core.RolloutBaking)
	if err := s.ReportRollout(t.Context(), core.RolloutReport{Gateway: "one", Rollout: r.ID, At: time.Now()}); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)

	s = open(t, path)
	defer closeStore(t, s)
	state, err := s.RolloutsState(t.Context(), time.Now().Add(-time.Hour))
	if err != nil || len(state.Open) != 1 || len(state.Reports) != 1 || state.Active["sms"] != "1.1.0" {
		t.Fatalf("state %+v, error %v", state, err)
	}
	advance(t, s, state.Open[0], core.RolloutPromoted)
	versions, err := s.PluginVersions(t.Context(), "sms")
	if err != nil || len(versions) != 1 {
		t.Errorf("versions %+v, error %v", versions, err)
	}
}

func advance(t *testing.T, s store.Rollouts, r core.Rollout, to core.RolloutState) {
	t.Helper()
	r.State = to
	advanced, err := s.AdvanceRollout(t.Context(), r, core.RolloutEvent{At: time.Now(), State: to}, "")
	if err != nil || !advanced {
		t.Fatalf("advanced %v, error %v", advanced, err)
	}
}
