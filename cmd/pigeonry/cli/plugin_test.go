package cli_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/cmd/pigeonry/cli"
	"github.com/pigeonry/pigeonry/core/api/client"
)

// pluginGateway answers as the API does about plugins, and remembers what was asked for.
type pluginGateway struct {
	*httptest.Server
	mu      sync.Mutex
	asked   []string               // "POST /api/… body", without reads
	details []client.RolloutDetail // one look after another; the last one stays
	empty   bool                   // there has been no rollout
}

func newPluginGateway(t *testing.T, details ...client.RolloutDetail) *pluginGateway {
	t.Helper()
	g := &pluginGateway{details: details}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/plugins", func(w http.ResponseWriter, _ *http.Request) {
		answerWith(w, 200, client.PluginList{Items: []client.Plugin{
			{Name: "sms", Active: "1.0.0", Channels: []string{"sms"}, Capabilities: []string{}, Generations: []client.Generation{
				{Version: "1.0.0", State: "active", Share: 99.5, InFlight: 12, Sha256: strings.Repeat("ab", 32)},
				{Version: "1.1.0", State: "failed", Restarts: 5, Error: "exit status 2\n\x1b[2J"},
			}},
			{Name: "pager", Channels: []string{}, Capabilities: []string{}, Generations: []client.Generation{}},
		}})
	})
	mux.HandleFunc("GET /api/plugins/sms/versions", func(w http.ResponseWriter, _ *http.Request) {
		answerWith(w, 200, client.VersionList{Items: []client.PluginVersion{
			{Version: "1.0.0", State: "running", Active: true, Sha256: strings.Repeat("ab", 32)},
			{Version: "1.1.0", State: "installed", Quarantine: "it crashed", Sha256: strings.Repeat("cd", 32)},
		}})
	})
	mux.HandleFunc("GET /api/plugins/sms/rollouts", func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("limit") != "1" {
			t.Errorf("query %q", r.URL.RawQuery)
		}
		list := client.RolloutList{Items: []client.Rollout{}}
		if d := g.look(false); !g.empty {
			list.Items = append(list.Items, d.Rollout)
		}
		answerWith(w, 200, list)
	})
	mux.HandleFunc("GET /api/plugins/sms/rollouts/7", func(w http.ResponseWriter, _ *http.Request) { answerWith(w, 200, g.look(true)) })
	mux.HandleFunc("POST /api/plugins/sms/rollouts", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Idempotency-Key") == "" {
			t.Error("a rollout without Idempotency-Key")
		}
		g.remember(r)
		answerWith(w, 201, g.look(false).Rollout)
	})
	mux.HandleFunc("POST /api/plugins/sms/rollouts/7/{verb}", func(w http.ResponseWriter, r *http.Request) {
		g.remember(r)
		answerWith(w, 200, g.look(false).Rollout)
	})
	mux.HandleFunc("DELETE /api/plugins/sms/versions/1.0.0", func(w http.ResponseWriter, r *http.Request) {
		g.remember(r)
		answerWith(w, 200, client.VersionResult{Plugin: "sms", Version: "1.0.0"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, http.StatusNotFound, `{"code":2011,"message":"plugin not found","request_id":"r1"}`)
	})
	g.Server = httptest.NewServer(mux)
	t.Cleanup(g.Close)
	return g
}

// look returns the present detail, and goes on to the next.
func (g *pluginGateway) look(on bool) client.RolloutDetail {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.details) == 0 {
		return client.RolloutDetail{}
	}
	d := g.details[0]
	if on && len(g.details) > 1 {
		g.details = g.details[1:]
	}
	return d
}

func (g *pluginGateway) remember(r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, strings.TrimSpace(r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/plugins")+" "+string(body)))
}

func answerWith(w http.ResponseWriter, status int, data any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{"code": 0, "message": "ok", "request_id": "r1", "data": data})
}

func (g *pluginGateway) run(t *testing.T, args ...string) outcome {
	t.Helper()
	return run(t, cli.Process{Args: append([]string{"plugin"}, args...), Environ: []string{"PIGEONRY_URL=" + g.URL, "PIGEONRY_API_KEY=" + key}})
}

// inCanary is a rollout on its way, and finished the same at its end.
func inCanary() client.RolloutDetail {
	at := time.Date(2026, 11, 27, 12, 0, 0, 0, time.Local)
	return client.RolloutDetail{
		Rollout: client.Rollout{
			Id: 7, Plugin: "sms", From: "1.0.0", To: "1.1.0", State: "canary", Step: 1, Share: 5, Since: at, Actor: "default/bootstrap",
			Plan: client.RolloutPlan{Strategy: "canary", Steps: []float64{1, 5, 100}, MinSamples: 100, Accounts: []string{"beta"}},
		},
		Old:        client.VersionFigures{Samples: 1900, Accepted: 1881, Failed: 19, Refused: 3, P50Ms: 10, P99Ms: 12.34, MemoryBytes: 34 << 20},
		New:        client.VersionFigures{Samples: 50, Accepted: 50, P50Ms: 9, P99Ms: 11, MemoryBytes: 36 << 20},
		WaitingFor: "50 of 100 results", Gateways: []client.RolloutGateway{{Name: "gateway-1", Ready: true, Current: true, GapMs: 120}},
		Events: []client.RolloutEvent{
			{At: at, State: "starting", Actor: "default/bootstrap", Reason: "from version 1.0.0 to 1.1.0"},
			{At: at, State: "canary", Share: 1, Actor: "gateway-1", Reason: "it is ready everywhere"},
			{
				At: at, State: "canary", Share: 5, Actor: "gateway-1", Reason: "it is as good",
				Old: client.VersionFigures{Samples: 9900}, New: client.VersionFigures{Samples: 100, Failed: 1, P99Ms: 11},
			},
		},
	}
}

func finished(state client.RolloutState, reason string) client.RolloutDetail {
	d := inCanary()
	d.Rollout.State, d.Rollout.Reason, d.WaitingFor = state, reason, ""
	d.Rollout.Share = map[client.RolloutState]float64{"promoted": 100}[state]
	d.Events = append(d.Events, client.RolloutEvent{At: d.Rollout.Since, State: state, Share: d.Rollout.Share, Actor: "gateway-1", Reason: reason})
	return d
}

func TestPluginList(t *testing.T) {
	g := newPluginGateway(t)
	o := g.run(t, "list")
	for _, want := range []string{
		"PLUGIN  VERSION  STATE   SHARE   IN FLIGHT  RESTARTS  SHA256\n",
		"sms     1.0.0    active  99.5 %  12         0         abababababab\n",
		"sms     1.1.0    failed  0 %     0          5         -\n",
		"pager   -        -       -       -          -         -\n",
		"\n\nsms 1.1.0: exit status 2  [2J\n",
	} {
		o.expect(t, 0, want, "")
	}
	g.run(t, "list", "--json").expect(t, 0, `"share": 99.5`, "")
	o = g.run(t, "versions", "sms")
	o.expect(t, 0, "1.0.0    running    active", "")
	o.expect(t, 0, "cdcdcdcdcdcd  it crashed\n", "")
	g.run(t, "versions", "absent").expect(t, 1, "", "code 2011): plugin not found")
}

func TestPluginRollout(t *testing.T) {
	g := newPluginGateway(t, inCanary())
	g.run(t, "rollout", "sms", "1.1.0").
		expect(t, 0, "rollout 7 of sms from 1.0.0 to 1.1.0 has begun; pigeonry plugin status sms --watch shows how it goes\n", "")
	g.run(t, "rollout", "sms", "1.1.0", "--strategy", "canary", "--steps", "0.5,10,100", "--min-samples", "50", "--window", "30s", "--bake", "0s",
		"--by", "account", "--account", "beta", "--account", "shop", "--failure-rate", "0", "--latency-ratio", "1.5", "--force", "--json").
		expect(t, 0, `"id": 7`, "")
	want := []string{
		`POST /sms/rollouts {"strategy":"canary","version":"1.1.0"}`,
		`POST /sms/rollouts {"options":{"accounts":["beta","shop"],"bake_ms":0,"by":"account","force":true,"gates":{"failure_rate":0,"latency_ratio":1.5},` +
			`"min_samples":50,"steps":[0.5,10,100],"window_ms":30000},"strategy":"canary","version":"1.1.0"}`,
	}
	for i, asked := range g.asked {
		if sorted(t, asked) != want[i] {
			t.Errorf("want %s\nhave %s", want[i], asked)
		}
	}
	g.run(t, "rollout", "absent", "1.1.0").expect(t, 1, "", "plugin not found")
	g.run(t, "rollout", "sms", "1.1.0", "--steps", "all").expect(t, 1, "", "--steps")
	g.run(t, "rollout", "sms").expect(t, 1, "", "accepts 2 arg(s)")
}

// sorted is a request with the keys of its body in order.
func sorted(t *testing.T, asked string) string {
	t.Helper()
	head, body, _ := strings.Cut(asked, " {")
	var v any
	if err := json.Unmarshal([]byte("{"+body), &v); err != nil {
		t.Fatal(err)
	}
	text, _ := json.Marshal(v)
	return head + " " + string(text)
}

func TestPluginOrders(t *testing.T) {
	g := newPluginGateway(t, inCanary())
	for _, verb := range []string{"promote", "pause", "resume", "rollback"} {
		g.run(t, verb, "sms", "--reason", "because").expect(t, 0, "rollout 7 of sms from 1.0.0 to 1.1.0: canary, 5 %\n", "")
		if have, want := g.asked[len(g.asked)-1], `POST /sms/rollouts/7/`+verb+` {"reason":"because"}`; have != want {
			t.Errorf("want %s, have %s", want, have)
		}
	}
	g.run(t, "remove", "sms", "1.0.0").expect(t, 0, "sms 1.0.0 is removed\n", "")
	if have := g.asked[len(g.asked)-1]; have != "DELETE /sms/versions/1.0.0" {
		t.Errorf("have %s", have)
	}
	n := len(g.asked)
	g.details = []client.RolloutDetail{finished("promoted", "")}
	g.run(t, "pause", "sms").expect(t, 1, "", "sms has no open rollout; the latest, 7 to 1.1.0, ended: promoted")
	g.empty = true
	g.run(t, "pause", "sms").expect(t, 1, "", "sms has had no rollout; pigeonry plugin rollout begins one")
	g.run(t, "status", "sms").expect(t, 0, "sms has had no rollout\n", "")
	g.run(t, "status", "").expect(t, 1, "", "name a plugin")
	if len(g.asked) != n {
		t.Errorf("asked %q", g.asked[n:])
	}
}

func TestPluginStatus(t *testing.T) {
	g := newPluginGateway(t, inCanary())
	o := g.run(t, "status", "sms")
	for _, want := range []string{
		"sms 1.0.0 → 1.1.0   rollout 7, canary, by default/bootstrap\n",
		"state    canary, since 2026-11-27 12:00:00\n",
		"share    [██░░░░░░░░░░░░░░░░░░░░░░░░░░░░] 5 %   step 2 of 3\n",
		"samples  [███████████████░░░░░░░░░░░░░░░] 50 of at least 100\n",
		"accounts beta\n", "waits    50 of 100 results\n",
		"                            1.0.0            1.1.0\n",
		"failed                 19 (1.0 %)                0\n",
		"recipient errors                3                0\n",
		"p99                       12.3 ms          11.0 ms\n",
		"memory                     34 MiB           36 MiB\n",
		"2026-11-27 12:00:00  starting          0 %  default/bootstrap: from version 1.0.0 to 1.1.0\n",
		"2026-11-27 12:00:00  canary            5 %  gateway-1: it is as good\n",
	} {
		o.expect(t, 0, want, "")
	}
	if strings.Contains(o.out, "\x1b") || strings.Contains(o.out, "disagreed") {
		t.Errorf("status:\n%s", o.out)
	}
	g.run(t, "status", "sms", "--json").expect(t, 0, `"waiting_for": "50 of 100 results"`, "")
	g.details = []client.RolloutDetail{finished("rolled_back", "its failures are 20 %")}
	g.run(t, "status", "sms", "--rollout", "7").expect(t, 1, "reason   its failures are 20 %\n", "pigeonry: version 1.1.0 of sms was rolled back: its failures are 20 %\n")
	g.run(t, "status", "sms", "--rollout", "8").expect(t, 1, "", "not found")
}

// Without a terminal a watch writes each event once, and the figures at the end.
func TestPluginWatch(t *testing.T) {
	first := inCanary()
	first.Events = first.Events[:1]
	g := newPluginGateway(t, first, inCanary(), finished("promoted", "it has baked"))
	o := g.run(t, "rollout", "sms", "1.1.0", "--watch")
	o.expect(t, 0, "2026-11-27 12:00:00  promoted        100 %  gateway-1: it has baked\nsms 1.0.0 → 1.1.0", "")
	if strings.Count(o.out, "from version 1.0.0") != 1 || strings.Count(o.out, "it is ready everywhere") != 1 || strings.Contains(o.out, "\x1b") {
		t.Errorf("watch:\n%s", o.out)
	}
	g.details = []client.RolloutDetail{inCanary(), finished("rolled_back", "it crashed")}
	o = g.run(t, "status", "sms", "--watch", "--json")
	o.expect(t, 1, `"state": "rolled_back"`, "version 1.1.0 of sms was rolled back: it crashed")
	if d := (client.RolloutDetail{}); json.Unmarshal([]byte(o.out), &d) != nil || d.Rollout.Id != 7 {
		t.Errorf("not one JSON document:\n%s", o.out)
	}
}

func TestPluginInstall(t *testing.T) {
	t.Chdir(t.TempDir())
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if runtime.GOOS == "windows" {
		t.Skip("plugins run on Unix")
	}
	install := func(args ...string) outcome {
		return run(t, cli.Process{Args: append([]string{"plugin", "install", executable, "--plugins-dir", "plugins"}, args...)})
	}
	install().expect(t, 1, "", "give its name and version")
	install("--name", "acme", "--version", "one").expect(t, 1, "", "semantic version")
	o := install("--name", "acme", "--version", "1.0.0", "--channel", "pager")
	o.expect(t, 0, "acme 1.0.0 is installed as ", "")
	o.expect(t, 0, "pigeonry plugin rollout acme 1.0.0 lets it carry messages\n", "")
	install("--name", "acme", "--version", "1.0.0", "--channel", "pager", "--json").expect(t, 0, `"plugin": "acme"`, "") // the same once more
	if info, err := os.Stat(filepath.Join("plugins", "acme", "1.0.0", "acme")); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("not installed: %v, %v", info, err)
	}
	strict := write(t, "gateway.hcl", fmt.Sprintf("plugins {\n  require_signature = true\n  trusted_keys = [%q]\n}\n", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"))
	install("-c", strict, "--name", "acme", "--version", "1.1.0").expect(t, 1, "", "sign")
	if _, err := os.Stat(filepath.Join("plugins", "acme", "1.1.0")); err == nil {
		t.Error("an unsigned version was installed")
	}
}
