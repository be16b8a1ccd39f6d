package pluginhost_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// awaitSession returns when a version holds the session and carries the messages.
func (h *harness) awaitSession(version string) {
	h.t.Helper()
	h.await(version+" carries", func() bool {
		return h.generation("good", version).State == core.GenerationActive && h.Standing("good", version).Ready && h.Ready("test/good")
	})
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		h.t.Errorf("through %s: %s", version, describeResult(got))
	}
}

// A version that does not say that it let go of the session is ended: nobody else can know that it holds nothing.
func TestVersionThatClingsToItsSession(t *testing.T) {
	dir := t.TempDir()
	installAs(t, dir, "good", "1.0.0", "clings")
	h := runIn(t, dir, nil)
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"session": "`+filepath.Join(t.TempDir(), "session")+`"}`)})
	h.awaitSession("1.0.0")
	pid := h.generation("good", "1.0.0").PID
	installAs(t, dir, "good", "2.0.0", "exclusive")
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0"})
	h.awaitReady("2.0.0")
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.awaitSession("2.0.0")
	gone(t, pid)
	// It is started again to be there if the new version is taken back, and keeps away from the session.
	h.await("it is back", func() bool { return h.Standing("good", "1.0.0").Ready })
	if text := h.log.String(); strings.Contains(text, "refuses a second session") {
		t.Error("both wanted the session")
	}
}

// A version that crashes while it gives its session away does not take it again when it is back.
func TestVersionThatIsDownGivesItsSessionAway(t *testing.T) {
	h, _ := exclusive(t, "exclusive")
	kill(t, h.generation("good", "1.0.0").PID)
	h.await("it is down", func() bool {
		return h.generation("good", "1.0.0").PID == 0 || h.generation("good", "1.0.0").Restarts > 0
	})
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.awaitSession("2.0.0")
	h.await("it is back", func() bool { return h.Standing("good", "1.0.0").Ready })
	if text := h.log.String(); strings.Contains(text, "refuses a second session") {
		t.Error("both wanted the session")
	}
}

// A version that ends while it takes the session does not have it.
func TestVersionThatEndsAtTheHandOver(t *testing.T) {
	h, _ := exclusive(t, "faints")
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.await("the hand-over has failed", func() bool { return h.Standing("good", "2.0.0").Problem != "" })
	h.await("the old one has it again", func() bool { return h.Ready("test/good") })
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("after the failure: %s", describeResult(got))
	}
	if s := h.Standing("good", "2.0.0"); s.Ready || s.Innocent {
		t.Errorf("standing: %+v", s)
	}
}

// What is arranged while a hand-over is under way is put in force also if that fails.
func TestArrangedDuringAHandOverThatFails(t *testing.T) {
	h, _ := exclusive(t, "locked")
	ctx, finish := context.WithCancel(t.Context())
	defer finish()
	var work sync.WaitGroup
	work.Go(func() { h.Deliver(ctx, "test/good", batch("hold"), func([]core.Result) {}) })
	h.await("the old one is busy", func() bool { return h.generation("good", "1.0.0").InFlight == 1 })
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.Arrange("good", core.Arrangement{Active: "1.0.0"})
	finish()
	work.Wait()
	h.await("the new one has ended", func() bool { return h.generation("good", "2.0.0").State == core.GenerationStopped })
	h.awaitSession("1.0.0")
}

// A connector that was broken before does not keep the others' session where it is.
func TestBrokenConnectorDoesNotBlockTheHandOver(t *testing.T) {
	h, session := exclusive(t, "exclusive")
	broken := connector("good", 1, `{"fail": "configure"}`)
	broken.ID = "test/broken"
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"session": "`+session+`"}`), broken})
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.awaitSession("2.0.0")
}

// A version that was found half copied starts once it is whole; here the whole is a script, as everywhere.
func TestVersionThatIsCompleted(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	h := runIn(t, dir, nil)
	h.connect("good")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	folder := filepath.Join(dir, "good", "2.0.0")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "good")
	if err := os.WriteFile(path, program[:len(program)/2], 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0"})
	h.await("it has failed", func() bool { return h.Standing("good", "2.0.0").State == core.GenerationFailed })
	if err := os.WriteFile(path, []byte(script(t, "new")), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	h.awaitReady("2.0.0")
}
