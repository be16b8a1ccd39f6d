package gateway_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/gateway"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// The embedded default runs without any plugin, and stops in order.
func TestRunAndStop(t *testing.T) {
	r := newFolder(t).run("")
	if status, answer := r.call(http.MethodGet, "/api/messages", nil); status != http.StatusOK {
		t.Errorf("the bootstrap key opens nothing: %d %s", status, answer)
	}
	if err := r.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if !strings.Contains(r.log.String(), "gateway: stopped") {
		t.Errorf("logged:\n%s", r.log)
	}
}

// What was accepted before a stop is still there after the next start.
func TestMessagesOutliveTheGateway(t *testing.T) {
	f := newFolder(t, "echo")
	text := f.connector("main", "")
	r := f.run(text)
	r.sent("echo/main")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, answer := f.run(text).call(http.MethodGet, "/api/messages", nil); strings.Count(answer, `"status":"sent"`) != 1 {
		t.Errorf("have %s", answer)
	}
}

// New says what it cannot use, and leaves nothing open: a sound gateway starts in the same folder after it.
func TestNewRefuses(t *testing.T) {
	occupied := newFolder(t).run("")
	for _, c := range []struct {
		name   string
		change func(*settings.Settings)
		want   []string
	}{
		{
			"an address that is taken",
			func(s *settings.Settings) { s.Listen = occupied.Addr().String() },
			[]string{"listen for HTTP", occupied.Addr().String(), "--listen"},
		},
		{
			"data of a gateway that runs",
			func(s *settings.Settings) { s.DataDir = occupied.path("data") },
			[]string{"open the store", "another"},
		},
		{
			"a data folder that is a file",
			func(s *settings.Settings) { s.DataDir = s.File },
			[]string{"create the data folder", "data_dir"},
		},
		{
			"an unknown store",
			func(s *settings.Settings) { s.Store.Kind = "papyrus" },
			[]string{`store "papyrus" is not built`, `use store ["sqlite" "postgres"]`},
		},
		{
			"an unknown queue",
			func(s *settings.Settings) { s.Queue.Kind = "pipe" },
			[]string{`queue "pipe" is not built`, `use queue ["memory" "rabbitmq"]`},
		},
		{
			"an unknown coordination",
			func(s *settings.Settings) { s.Coordination.Kind = "shouting" },
			[]string{`coordination "shouting" is not built`, `use coordination ["local" "redis"]`},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFolder(t)
			s := f.load("")
			c.change(s)
			_, err := gateway.New(t.Context(), s, slog.New(slog.DiscardHandler))
			if err == nil {
				t.Fatal("it was taken")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not say %q", err, want)
				}
			}
			if err := f.run("").stop(); err != nil {
				t.Errorf("a sound gateway afterwards: %v", err)
			}
		})
	}
}

// A plugins folder that cannot be read ends Run, which leaves nothing open.
func TestRunWithoutPluginsFolder(t *testing.T) {
	f := newFolder(t)
	s := f.load("")
	s.Plugins.Dir = f.path("nowhere")
	g, err := gateway.New(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := g.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "start the plugins") {
		t.Errorf("ended with %v", err)
	}
	if err := f.run("").stop(); err != nil {
		t.Errorf("a sound gateway afterwards: %v", err)
	}
}
