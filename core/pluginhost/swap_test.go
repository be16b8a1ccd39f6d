package pluginhost_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// beside starts a host over version 1.0.0 of "good" and a version 2.0.0 that behaves as given, and arranges both.
func beside(t *testing.T, behavior string, a core.Arrangement) *harness {
	t.Helper()
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	h := runIn(t, dir, nil)
	h.connect("good")
	installAs(t, dir, "good", "2.0.0", behavior)
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	a.Active, a.Beside = "1.0.0", "2.0.0"
	h.Arrange("good", a)
	return h
}

// awaitReady returns when a version could carry messages.
func (h *harness) awaitReady(version string) {
	h.t.Helper()
	h.await(version+" is ready", func() bool { return h.Standing("good", version).Ready })
}

// However often the versions change places under load, every message is sent and none is put off.
func TestSwapUnderLoadLosesNothing(t *testing.T) {
	h := beside(t, "new", core.Arrangement{})
	const senders, swaps = 4, 10
	var stop atomic.Bool
	var work sync.WaitGroup
	var sent [senders]int
	for i := range senders {
		work.Go(func() {
			b := batch(slices.Repeat([]string{"accept"}, 20)...)
			for !stop.Load() {
				h.Deliver(t.Context(), "test/good", b, func(rs []core.Result) {
					for _, r := range rs {
						if r.Outcome != core.OutcomeAccepted {
							t.Errorf("message %d: %s", r.Record, describeResult(r))
						}
					}
					sent[i] += len(rs)
				})
			}
		})
	}
	versions := []string{"1.0.0", "2.0.0"}
	for i := range swaps {
		active, next := versions[i%2], versions[(i+1)%2]
		h.Arrange("good", core.Arrangement{Active: active, Beside: next})
		h.awaitReady(next)
		h.Arrange("good", core.Arrangement{Active: next})
	}
	stop.Store(true)
	work.Wait()
	for i, n := range sent {
		if n == 0 || n%20 != 0 {
			t.Errorf("sender %d has %d results", i, n)
		}
	}
}

// swapWith starts a host with the given timing over two versions, hands one of them a message that it sits on for as long
// as an attempt may take or until finish is called, and gives its place to the other one.
func swapWith(t *testing.T, timing pluginhost.Timing, attempt time.Duration) (h *harness, result <-chan core.Result, finish func()) {
	t.Helper()
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	installAs(t, dir, "good", "2.0.0", "new")
	h = runIn(t, dir, func(o *pluginhost.Options) { o.Timing = timing })
	h.connect("good") // through the highest version
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.awaitReady("1.0.0")
	results := make(chan core.Result, 1)
	ctx, cancel := context.WithTimeout(t.Context(), attempt)
	t.Cleanup(cancel)
	go h.Deliver(ctx, "test/good", batch("hold"), func(rs []core.Result) { results <- rs[0] })
	h.await("it is in flight", func() bool { return h.generation("good", "2.0.0").InFlight == 1 })
	h.Arrange("good", core.Arrangement{Active: "1.0.0"})
	return h, results, cancel
}

// A swap cuts off nothing that is slow and sound: an attempt has its own time, however short that of a stop is.
func TestSwapLeavesSlowAttemptsTheirTime(t *testing.T) {
	_, result, _ := swapWith(t, pluginhost.Timing{Drain: 20 * time.Millisecond}, 2*time.Second)
	if got := <-result; describeResult(got) != "uncertain/deadline_exceeded" {
		t.Errorf("the old version had it until the attempt's time was up, and it is %s", describeResult(got))
	}
}

// A stop does not wait as long for what a swap has left in flight.
func TestStopIsLessPatientThanASwap(t *testing.T) {
	h, result, _ := swapWith(t, pluginhost.Timing{Retire: time.Hour, Drain: 100 * time.Millisecond}, time.Hour)
	if err := h.Stop(t.Context()); err == nil || !strings.Contains(err.Error(), "still in flight") {
		t.Errorf("stop: %v", err)
	}
	if got := <-result; describeResult(got) != "uncertain/connection_lost" {
		t.Errorf("what was in flight: %s", describeResult(got))
	}
}

// What a new version refuses is sent by the old one at once: a bad build costs no message, and the figures
// tell it from recipients that both refuse.
func TestWhatANewVersionRefusesTheOldOneSends(t *testing.T) {
	for behavior, want := range map[string]core.VersionFigures{
		"refuses": {Failed: 50}, "blames": {Refused: 50, Disagreed: 50},
	} {
		t.Run(behavior, func(t *testing.T) { testRefusals(t, behavior, want) })
	}
}

func testRefusals(t *testing.T, behavior string, want core.VersionFigures) {
	t.Helper()
	h := beside(t, behavior, core.Arrangement{Share: 100})
	h.awaitReady("2.0.0")
	for id, r := range h.deliver("good", batch(slices.Repeat([]string{"accept"}, 50)...)) {
		if r.Outcome != core.OutcomeAccepted {
			t.Errorf("message %d: %s", id, describeResult(r))
		}
	}
	f := h.Standing("good", "2.0.0").Figures
	if f.Failed != want.Failed || f.Refused != want.Refused || f.Disagreed != want.Disagreed || f.Samples() != 50 {
		t.Errorf("the new version: %+v", f)
	}
	if f := h.Standing("good", "1.0.0").Figures; f.Accepted != 50 {
		t.Errorf("the old version: %+v", f)
	}
	if g := h.generation("good", "2.0.0"); g.State != core.GenerationCanary || g.Share != 100 {
		t.Errorf("the new version is %s with %v %%", g.State, g.Share)
	}
}

// What a new version refuses is never lost to it: if it takes so long that the old one has no time left, the message is
// tried again.
func TestWhatANewVersionRefusesTooLateIsTriedAgain(t *testing.T) {
	h := beside(t, "new", core.Arrangement{Share: 100})
	h.awaitReady("2.0.0")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	b, got := batch("refuse", "hold"), map[core.RecordID]core.Result{}
	h.Deliver(ctx, "test/good", b, collect(t, got, nil))
	complete(t, b, got)
	if got[1].Outcome != core.OutcomeRetryable || got[2].Outcome != core.OutcomeUncertain {
		t.Errorf("refused: %s, held: %s", describeResult(got[1]), describeResult(got[2]))
	}
}

// A new version that crashes is not started again before it has proved itself, and what it had is uncertain;
// all else goes on through the old one.
func TestACrashOfANewVersionEndsIt(t *testing.T) {
	h := beside(t, "crashes", core.Arrangement{Share: 100})
	h.awaitReady("2.0.0")
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeUncertain {
		t.Errorf("what it had: %s", describeResult(got))
	}
	h.await("it has failed", func() bool { return h.Standing("good", "2.0.0").State == core.GenerationFailed })
	if s := h.Standing("good", "2.0.0"); s.Figures.Crashes != 1 || s.Figures.Uncertain != 1 || s.Problem == "" || s.Innocent {
		t.Errorf("standing: %+v", s)
	}
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("after it: %s", describeResult(got))
	}
}

// What has failed is not kept among what runs.
func TestFailedVersionIsLetGo(t *testing.T) {
	h := run(t, nil, "good", "misnamed")
	h.failed("misnamed")
	h.await("only the other one runs", func() bool { return h.Running() == 1 })
}

// What is known of a version never goes back, although each of its processes is another generation.
func TestFiguresOfAVersionGoOn(t *testing.T) {
	h := beside(t, "breaks", core.Arrangement{Share: 100})
	h.awaitReady("2.0.0")
	h.deliver("good", batch("accept"))
	h.await("the breach is counted", func() bool { return h.Standing("good", "2.0.0").Figures.Violations == 1 })
	first := h.Standing("good", "2.0.0").Figures
	h.Arrange("good", core.Arrangement{Active: "1.0.0"})
	h.await("it has ended", func() bool { return h.generation("good", "2.0.0").State == core.GenerationStopped })
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0", Share: 100})
	h.awaitReady("2.0.0")
	h.deliver("good", batch("accept"))
	h.await("the next breach is counted too", func() bool { return h.Standing("good", "2.0.0").Figures.Violations == 2 })
	if again := h.Standing("good", "2.0.0").Figures; again.Accepted != first.Accepted+1 {
		t.Errorf("%d accepted, then %d", first.Accepted, again.Accepted)
	}
	if v := h.Violations("good"); v.Repeated != 2 {
		t.Errorf("violations: %+v", v)
	}
}

// A version that does not take what the active one took will never be ready, and says why.
func TestANewVersionHasToTakeTheConfiguration(t *testing.T) {
	h := beside(t, "picky", core.Arrangement{})
	h.await("it has a problem", func() bool { return h.Standing("good", "2.0.0").Problem != "" })
	wantText(t, "problem", h.Standing("good", "2.0.0").Problem, "connector test/good", "the port is not free")
	h.Arrange("good", core.Arrangement{Active: "1.0.0"})
	h.await("it has ended", func() bool { return h.generation("good", "2.0.0").State == core.GenerationStopped })
}

// A gateway that starts in the middle of a rollout runs both versions before it has read its connectors: until then the
// new one has proved nothing.
func TestNoVersionIsReadyBeforeTheConnectorsAreKnown(t *testing.T) {
	for behavior, problem := range map[string]string{"new": "", "picky": "the port is not free"} {
		t.Run(behavior, func(t *testing.T) {
			dir := t.TempDir()
			install(t, dir, "good", "1.0.0")
			h := runIn(t, dir, nil)
			installAs(t, dir, "good", "2.0.0", behavior)
			if err := h.Rescan(); err != nil {
				t.Fatal(err)
			}
			h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0", Shadow: behavior == "new"})
			h.await("it waits for the connectors", func() bool {
				return strings.Contains(h.Standing("good", "2.0.0").Waiting, "has not read its connectors yet")
			})
			c := connector("good", 1, `{}`)
			c.Shadow = []byte(`{}`)
			h.Configure(t.Context(), []pluginhost.ConnectorConfig{c})
			h.await("its standing is known", func() bool {
				s := h.Standing("good", "2.0.0")
				return s.Ready || s.Problem != ""
			})
			if s := h.Standing("good", "2.0.0"); s.Ready == (problem != "") || !strings.Contains(s.Problem, problem) {
				t.Errorf("standing: %+v", s)
			}
		})
	}
}

// What is installed is copied at once: then a swap does not wait for it.
func TestNewVersionIsCopiedAhead(t *testing.T) {
	dir, store := t.TempDir(), t.TempDir()
	install(t, dir, "good", "1.0.0")
	h := runIn(t, dir, func(o *pluginhost.Options) {
		c, err := catalog.Open(catalog.Options{Dir: dir, Store: store})
		if err != nil {
			t.Fatal(err)
		}
		o.Catalog = c
	})
	installAs(t, dir, "good", "2.0.0", "new")
	h.await("it is found", func() bool { return len(h.Installed()) == 2 })
	copied := filepath.Join(store, h.Installed()[1].SHA256, "good")
	h.await("it is copied", func() bool {
		_, err := os.Stat(copied)
		return err == nil
	})
}

// A version that is arranged before it is installed starts when it is.
func TestAVersionThatComesLater(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	h := runIn(t, dir, nil)
	h.connect("good")
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0"})
	wantText(t, "standing", h.Standing("good", "2.0.0").Waiting, "there is no ", "good/2.0.0")
	installAs(t, dir, "good", "2.0.0", "new")
	h.awaitReady("2.0.0") // the folder is watched
}

// Only versions that nobody uses are removed.
func TestForget(t *testing.T) {
	h := beside(t, "new", core.Arrangement{})
	h.awaitReady("2.0.0")
	for _, version := range []string{"1.0.0", "2.0.0"} {
		if err := h.Forget("good", version); err == nil {
			t.Errorf("%s was in use and removed", version)
		}
	}
	h.Arrange("good", core.Arrangement{Active: "2.0.0"})
	h.await("1.0.0 has ended", func() bool { return h.generation("good", "1.0.0").State == core.GenerationStopped })
	if err := h.Forget("good", "1.0.0"); err != nil {
		t.Fatal(err)
	}
	if got := h.Installed(); len(got) != 1 || got[0].Version != "2.0.0" {
		t.Errorf("installed: %+v", got)
	}
}

// A shadow gets copies through the sandbox's configuration; its results and events count nowhere.
func TestShadowDeliversNothing(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	h := runIn(t, dir, nil)
	h.connect("good")
	installAs(t, dir, "good", "2.0.0", "blames")
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	shadow := core.Arrangement{Active: "1.0.0", Beside: "2.0.0", Shadow: true}

	h.Arrange("good", shadow)
	h.await("a shadow without a sandbox is refused", func() bool {
		return strings.Contains(h.Standing("good", "2.0.0").Problem, "shadow_config")
	})

	c := connector("good", 2, `{}`)
	c.Shadow = []byte(`{"emit": 1}`)
	h.Arrange("good", core.Arrangement{Active: "1.0.0"})
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{c})
	h.Arrange("good", shadow)
	h.awaitReady("2.0.0")
	for _, r := range h.deliver("good", batch("accept", "accept")) {
		if r.Outcome != core.OutcomeAccepted {
			t.Errorf("message %d: %s", r.Record, describeResult(r))
		}
	}
	h.await("the copies were compared", func() bool { return h.Standing("good", "2.0.0").Figures.Disagreed == 2 })

	// Made the real thing, it is another process: one that knows the sandbox never carries messages.
	pid := h.generation("good", "2.0.0").PID
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0"})
	h.awaitReady("2.0.0")
	if h.generation("good", "2.0.0").PID == pid {
		t.Error("the shadow's process stays")
	}
}

// exclusive starts a host over two versions of which only one may hold the session.
func exclusive(t *testing.T, second string) (h *harness, session string) {
	t.Helper()
	dir := t.TempDir()
	session = filepath.Join(t.TempDir(), "session")
	installAs(t, dir, "good", "1.0.0", "exclusive")
	h = runIn(t, dir, nil)
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{"session": "`+session+`"}`)})
	h.await("the first holds the session", func() bool { return h.Ready("test/good") })
	installAs(t, dir, "good", "2.0.0", second)
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0"})
	h.awaitReady("2.0.0")
	return h, session
}

// A version that waits for the session judges the configuration without holding it: what it says of it holds no secret.
func TestSecretsAreHiddenFromTheFirstLook(t *testing.T) {
	dir := t.TempDir()
	installAs(t, dir, "good", "1.0.0", "exclusive")
	h := runIn(t, dir, nil)
	config := `{"session": "` + filepath.Join(t.TempDir(), "session") + `", "token": "parked-secret", "fail": "tell"}`
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, config)})
	h.await("the first holds the session", func() bool { return h.Ready("test/good") })
	installAs(t, dir, "good", "2.0.0", "exclusive")
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	h.Arrange("good", core.Arrangement{Active: "1.0.0", Beside: "2.0.0"})
	h.await("the second has spoken", func() bool {
		return strings.Contains(h.generation("good", "2.0.0").LastStderr, "judged the token")
	})
	for what, text := range map[string]string{"log": h.log.String(), "standard error": h.generation("good", "2.0.0").LastStderr} {
		if strings.Contains(text, "parked-secret") {
			t.Errorf("%s holds a secret: %s", what, text)
		}
	}
}

// A session that only one may hold is handed over: what is sent meanwhile waits, and the gap is told.
func TestExclusiveSessionIsHandedOver(t *testing.T) {
	h, session := exclusive(t, "exclusive")
	for swap := range 2 {
		from, to := "1.0.0", "2.0.0"
		if swap%2 == 1 {
			from, to = to, from
		}
		var work sync.WaitGroup
		for range 4 {
			work.Go(func() {
				for range 20 {
					h.Deliver(t.Context(), "test/good", batch("accept"), func(rs []core.Result) {
						if rs[0].Outcome != core.OutcomeAccepted {
							t.Errorf("swap %d: %s", swap, describeResult(rs[0]))
						}
					})
				}
			})
		}
		h.Arrange("good", core.Arrangement{Active: to, Beside: from})
		h.await(to+" holds the session", func() bool {
			return h.Standing("good", to).Gap > 0 && h.generation("good", to).State == core.GenerationActive && h.Ready("test/good")
		})
		work.Wait()
	}
	if _, err := os.Stat(session); err != nil {
		t.Errorf("nobody holds the session: %v", err)
	}
}

// If the new version cannot take the session, the old one has it back.
func TestHandOverThatFailsGoesBack(t *testing.T) {
	h, _ := exclusive(t, "locked")
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.await("the hand-over has failed", func() bool { return h.Standing("good", "2.0.0").Problem != "" })
	wantText(t, "problem", h.Standing("good", "2.0.0").Problem, "take over the session", "refuses a second session")
	if s := h.Standing("good", "2.0.0"); s.Innocent || s.Ready || !s.Exclusive {
		t.Errorf("standing of the new one: %+v", s)
	}
	h.await("the old one carries on", func() bool { return h.Ready("test/good") })
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("after the failure: %s", describeResult(got))
	}
	h.Arrange("good", core.Arrangement{Active: "1.0.0"})
	h.await("the new one has ended", func() bool { return h.generation("good", "2.0.0").State == core.GenerationStopped })
}

// A provider that does not let the old version in again at once does later; and it does not speak against the new one.
func TestSessionThatIsRefusedOnceComesBack(t *testing.T) {
	h, session := exclusive(t, "thief")
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	h.await("the hand-over has failed", func() bool { return h.Standing("good", "2.0.0").Problem != "" })
	if h.Ready("test/good") || !h.Standing("good", "2.0.0").Innocent {
		t.Errorf("ready %v, standing %+v", h.Ready("test/good"), h.Standing("good", "2.0.0"))
	}
	if err := os.Remove(session); err != nil { // the provider has noticed that nobody is logged in
		t.Fatal(err)
	}
	h.await("the old one has its session again", func() bool { return h.Ready("test/good") })
	if got := h.deliver("good", batch("accept"))[1]; got.Outcome != core.OutcomeAccepted {
		t.Errorf("after that: %s", describeResult(got))
	}
}

// The new version is not ready as long as the old one has the session.
func TestActiveVersionIsReadyOnceItCarries(t *testing.T) {
	h, _ := exclusive(t, "exclusive")
	ctx, finish := context.WithCancel(t.Context())
	defer finish()
	var work sync.WaitGroup
	work.Go(func() { h.Deliver(ctx, "test/good", batch("hold"), func([]core.Result) {}) })
	h.await("the old one is busy", func() bool { return h.generation("good", "1.0.0").InFlight == 1 })
	h.Arrange("good", core.Arrangement{Active: "2.0.0", Beside: "1.0.0"})
	if s := h.Standing("good", "2.0.0"); s.Ready || !strings.Contains(s.Waiting, "taking over") {
		t.Errorf("standing while the old one has it: %+v", s)
	}
	finish()
	work.Wait()
	h.awaitReady("2.0.0")
	if h.Standing("good", "2.0.0").Gap == 0 || !h.Ready("test/good") {
		t.Errorf("standing: %+v", h.Standing("good", "2.0.0"))
	}
}

// A new version that somebody ends did no wrong.
func TestAKillOfANewVersionBlamesNobody(t *testing.T) {
	h := beside(t, "new", core.Arrangement{Share: 100})
	h.awaitReady("2.0.0")
	kill(t, h.generation("good", "2.0.0").PID)
	h.await("it has failed", func() bool { return h.Standing("good", "2.0.0").State == core.GenerationFailed })
	if s := h.Standing("good", "2.0.0"); !s.Innocent || s.Figures.Crashes != 0 || s.Problem == "" {
		t.Errorf("standing: %+v", s)
	}
	h.await("the old one carries on", func() bool {
		return h.deliver("good", batch("accept"))[1].Outcome == core.OutcomeAccepted
	})
}

// What is not installed is waited for.
func TestStandingOfWhatIsNotThere(t *testing.T) {
	h := run(t, nil, "good")
	h.connect("good")
	if s := h.Standing("absent", "1.0.0"); s.Ready || s.Waiting == "" {
		t.Errorf("an absent plugin: %+v", s)
	}
	if s := h.Standing("good", "9.0.0"); s.Ready || s.Waiting == "" {
		t.Errorf("an absent version: %+v", s)
	}
}
