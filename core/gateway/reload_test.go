package gateway_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/pigeonry/pigeonry/core/gateway"
)

// What changes, and what holds then. Each gateway starts with the connectors a and b, both red.
func TestReload(t *testing.T) {
	const red, green = `color = "red"`, `color = "green"`
	for _, c := range []struct {
		name  string
		next  func(f folder) string
		holds func(r *running)
	}{
		{
			"nothing: no connector is disturbed",
			func(f folder) string { return f.connector("a", red) + f.connector("b", red) },
			func(r *running) {
				r.opened("red", "red")
				if strings.Contains(r.log.String(), "need a restart") {
					r.t.Error("it asks for a restart")
				}
			},
		},
		{
			"the order of the file: no connector is disturbed",
			func(f folder) string { return f.connector("b", red) + f.connector("a", red) },
			func(r *running) { r.opened("red", "red") },
		},
		{
			"the config of one connector: the other is not disturbed",
			func(f folder) string { return f.connector("a", green) + f.connector("b", red) },
			func(r *running) {
				r.opened("red green", "red")
				r.sent("echo/a")
				r.sent("echo/b")
			},
		},
		{
			"how a connector is used: its plugin is not bothered",
			func(f folder) string {
				return strings.Replace(f.connector("a", red), "{\n", "{\n  weight = 7\n  timeout = \"5s\"\n", 1) + f.connector("b", red)
			},
			func(r *running) {
				r.opened("red", "red")
				r.sent("echo/a")
			},
		},
		{
			"a connector comes",
			func(f folder) string { return f.connector("a", red) + f.connector("b", red) + f.connector("c", green) },
			func(r *running) {
				r.opened("red", "red")
				r.sent("echo/c")
			},
		},
		{
			"a connector goes: messages for it are refused, the other works",
			func(f folder) string { return f.connector("a", red) },
			func(r *running) {
				if status := r.send("echo/b"); status != http.StatusUnprocessableEntity {
					r.t.Errorf("a message for it is answered with %d", status)
				}
				r.sent("echo/a")
			},
		},
		{
			"a config that the plugin refuses: the earlier one stays, and the log has the place",
			func(f folder) string { return f.connector("a", `color = "mauve"`) + f.connector("b", red) },
			func(r *running) {
				r.opened("red", "red")
				if at := r.path("gateway.hcl") + ":5:"; !strings.Contains(r.log.String(), at) {
					r.t.Errorf("the log does not name %s", at)
				}
				r.sent("echo/a")
				r.reload(r.connector("a", green) + r.connector("b", red)) // mended
				r.opened("red green", "red")
			},
		},
		{
			"a limit comes",
			func(f folder) string {
				return f.connector("a", red) + "limit \"api:/messages/send\" {\n  type = \"sliding_window\"\n  max = 1\n  window = \"1h\"\n}\n"
			},
			func(r *running) {
				if first, second := r.send("echo/a"), r.send("echo/a"); first != http.StatusOK || second != http.StatusTooManyRequests {
					r.t.Errorf("answers %d, %d", first, second)
				}
				r.reload(r.connector("a", red)) // and goes
				if third := r.send("echo/a"); third != http.StatusOK {
					r.t.Errorf("without the limit: %d", third)
				}
			},
		},
		{
			"the pool: that of a running channel too",
			func(f folder) string {
				return f.connector("a", red) + "pool \"message_sender\" {\n  core_size = 37\n  max_size = 41\n}\n"
			},
			func(r *running) {
				r.await("the pool has 37 workers", func() bool {
					_, metrics := r.call(http.MethodGet, "/metrics", nil)
					return strings.Contains(metrics, `pool_workers{channel="echo",pool="message_sender"} 37`)
				})
			},
		},
		{
			"what needs a restart: it is named, and the rest is done",
			func(f folder) string {
				return "listen = \"127.0.0.1:9\"\ndata_dir = \"/nowhere\"\nmax_attempts = 2\ndrain_timeout = \"9s\"\n" +
					"store \"postgres\" { url = \"postgres://somebody:hush@127.0.0.1/x\" }\n" + f.connector("a", green)
			},
			func(r *running) {
				const want = `need a restart; until then the earlier ones stay in force" settings="listen, public_url, data_dir, max_attempts, store"`
				if !strings.Contains(r.log.String(), want) {
					r.t.Errorf("the log has no %s", want)
				}
				r.reload(r.connector("a", green) + "max_attempts = 2\n")
				if !strings.Contains(r.log.String(), `settings=max_attempts`) {
					r.t.Error("what still waits is not named again")
				}
				if strings.Contains(r.log.String(), "hush") {
					r.t.Error("the log shows a password")
				}
				r.sent("echo/a")
				if got := r.journal("a"); got != "red green" {
					r.t.Errorf("opened: %s", got)
				}
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFolder(t, "echo")
			r := f.run(f.connector("a", red) + f.connector("b", red))
			r.reload(c.next(f))
			c.holds(r)
		})
	}
}

// opened holds how often, and with which colors, the connectors were opened against what is wanted.
func (r *running) opened(a, b string) {
	r.t.Helper()
	if haveA, haveB := r.journal("a"), r.journal("b"); haveA != a || haveB != b {
		r.t.Errorf("a was opened %q, want %q; b was opened %q, want %q", haveA, a, haveB, b)
	}
}

func TestReloadAfterTheStop(t *testing.T) {
	r := newFolder(t).run("")
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if err := r.Reload(t.Context(), r.load("")); !errors.Is(err, gateway.ErrStopping) {
		t.Errorf("answered %v", err)
	}
}

// A stop does not wait for a reload that waits for its plugins, and nothing outlives it.
func TestReloadDuringTheStop(t *testing.T) {
	f := newFolder(t, "echo")
	r := f.run(f.connector("a", ""))
	next := r.load(f.connector("a", `color = "green"`) + f.connector("b", ""))
	answered := make(chan error, 1)
	go func() { answered <- r.Reload(t.Context(), next) }()
	if err := r.stop(); err != nil {
		t.Errorf("stopped with %v", err)
	}
	if err := <-answered; err != nil && !errors.Is(err, gateway.ErrStopping) {
		t.Errorf("answered %v", err)
	}
}
