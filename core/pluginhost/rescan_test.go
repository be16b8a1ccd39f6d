package pluginhost_test

import (
	"testing"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
)

// A plugin that is put into the folder while the host runs is taken up by Rescan; those that run go on as
// the same processes.
func TestRescanTakesUpNewPlugins(t *testing.T) {
	dir := t.TempDir()
	install(t, dir, "good", "1.0.0")
	h := runIn(t, dir, nil)
	h.connect("good")
	before := h.generation("good", "1.0.0").PID

	install(t, dir, "stubborn", "1.0.0")
	if err := h.Rescan(); err != nil {
		t.Fatal(err)
	}
	arrangeHighest(h.Host)
	h.Settle(t.Context())
	if g := h.generation("stubborn", "1.0.0"); g.State != core.GenerationActive {
		t.Errorf("the new plugin is %+v", g)
	}
	if now := h.generation("good", "1.0.0").PID; now != before {
		t.Errorf("the plugin that ran went from process %d to %d", before, now)
	}
	h.Configure(t.Context(), []pluginhost.ConnectorConfig{connector("good", 1, `{}`), connector("stubborn", 1, `{}`)})
	if got := h.deliver("stubborn", batch("accept")); got[1].Outcome != core.OutcomeAccepted {
		t.Errorf("through the new plugin: %+v", got[1])
	}
	if n := len(h.Plugins()); n != 2 {
		t.Errorf("%d plugins, want 2", n)
	}
}

func TestRescanOfAHostThatDoesNotRun(t *testing.T) {
	h := run(t, nil, "good")
	if err := h.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Rescan(); err == nil {
		t.Error("a stopped host looked for plugins")
	}
}
