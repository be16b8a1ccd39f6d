package api_test

import (
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/api"
	"github.com/pigeonry/pigeonry/core/receipt"
)

func TestHealth(t *testing.T) {
	h := newHarness(t)
	if a := h.do("HEAD", "/healthz", "", "Authorization", ""); a.Status != 200 {
		t.Errorf("HEAD: %d", a.Status)
	}
	if health := data[api.Health](t, h.want(h.do("GET", "/healthz", "", "Authorization", ""), 200, 0)); health.Status != "alive" {
		t.Errorf("health %+v", health)
	}
}

func TestReadiness(t *testing.T) {
	generation := func(state core.GenerationState, restarts int) core.PluginStatus {
		return core.PluginStatus{Name: "sms", Generations: []core.GenerationStatus{{Version: "1.0.0", State: state, Restarts: restarts}}}
	}
	up, down := api.DependencyState{Name: "store", Ready: true}, api.DependencyState{Name: "store", Message: "cannot be reached"}
	tests := []struct {
		about      string
		dependency api.DependencyState
		plugin     core.PluginStatus
		connector  core.ConnectorState
		status     int
		want       string
	}{
		{"all is well", up, generation(core.GenerationActive, 0), core.ConnectorReady, 200, "ready"},
		{"restarted and well", up, generation(core.GenerationActive, 3), core.ConnectorReady, 200, "ready"},
		{"store down", down, generation(core.GenerationActive, 0), core.ConnectorReady, 503, "unready"},
		{"plugin on its way up", up, generation(core.GenerationStarting, 0), core.ConnectorUnavailable, 503, "unready"},
		{"plugin on its way up again", up, generation(core.GenerationStarting, 1), core.ConnectorUnavailable, 200, "degraded"},
		{"plugin failed", up, generation(core.GenerationFailed, 5), core.ConnectorUnavailable, 200, "degraded"},
		{"plugin without a process", up, core.PluginStatus{Name: "sms"}, core.ConnectorUnavailable, 200, "degraded"},
		{"connector misconfigured", up, generation(core.GenerationActive, 0), core.ConnectorMisconfigured, 200, "degraded"},
		{
			"a new generation beside an active one", up,
			core.PluginStatus{Name: "sms", Generations: []core.GenerationStatus{{State: core.GenerationStarting}, {State: core.GenerationActive}}},
			core.ConnectorReady, 200, "ready",
		},
	}
	for _, test := range tests {
		t.Run(test.about, func(t *testing.T) {
			h := newHarness(t)
			h.ready = []api.DependencyState{test.dependency}
			h.plugins.plugins = []core.PluginStatus{test.plugin}
			h.plugins.connectors = []core.ConnectorStatus{{ID: "sms/main", State: test.connector, Message: "why"}}
			a := h.want(h.do("GET", "/readyz", "", "Authorization", ""), test.status, 0)
			r := data[api.Readiness](t, a)
			if string(r.Status) != test.want {
				t.Errorf("status %s; want %s", r.Status, test.want)
			}
			if len(r.Dependencies) != 1 || len(r.Plugins) != 1 || len(r.Connectors) != 1 || r.Connectors[0].Message != "why" {
				t.Errorf("readiness %+v", r)
			}
		})
	}
}

func TestPluginsAndConnectors(t *testing.T) {
	h := newHarness(t)
	h.plugins.plugins = []core.PluginStatus{{
		Name: "sms", Active: "1.0.0", Channels: []string{"sms"}, Capabilities: []string{"receipts"},
		Generations: []core.GenerationStatus{
			{Version: "1.0.0", SHA256: "ab12", State: core.GenerationActive, Share: 99.5, PID: 42, StartedAt: time.Now(), InFlight: 3},
			{Version: "1.1.0", State: core.GenerationFailed, Restarts: 5, Error: "exit status 2", LastStderr: "panic: \xff"},
		},
	}}
	h.plugins.connectors = []core.ConnectorStatus{{
		ID: "sms/main", Plugin: "sms", State: core.ConnectorMisconfigured, Message: "no host", Rate: 1.5,
		Diagnostics: []core.Diagnostic{{Path: []any{"hosts", 0, "a/b"}, Summary: "is missing"}, {Warning: true, Summary: "old"}},
	}}
	plugins := data[api.PluginList](t, h.want(h.do("GET", "/api/plugins", ""), 200, 0))
	if g := plugins.Items[0].Generations; len(g) != 2 || g[0].Pid != 42 || g[0].InFlight != 3 || g[1].LastStderr != "panic: \uFFFD" || g[1].Restarts != 5 {
		t.Errorf("plugins %+v", plugins)
	}
	if p := plugins.Items[0]; p.Active != "1.0.0" || p.Generations[0].Share != 99.5 || p.Generations[0].Sha256 != "ab12" || p.Generations[1].Sha256 != "" {
		t.Errorf("plugin %+v", p)
	}
	connectors := data[api.ConnectorList](t, h.want(h.do("GET", "/api/connectors", ""), 200, 0))
	c := connectors.Items[0]
	if c.Id != "sms/main" || c.Channel != "sms" || c.State != "misconfigured" || c.Rate != 1.5 || len(c.Diagnostics) != 2 {
		t.Fatalf("connectors %+v", connectors)
	}
	if d := c.Diagnostics; d[0].Path != "/hosts/0/a~1b" || d[0].Severity != "error" || d[1].Severity != "warning" || d[1].Path != "" {
		t.Errorf("diagnostics %+v", d)
	}
}

func TestCheckConnector(t *testing.T) {
	h := newHarness(t)
	h.plugins.check = func(id core.ConnectorID) (core.CheckResult, error) {
		switch id {
		case "sms/main":
			return core.CheckResult{OK: true, Message: "bound", Latency: 1500 * time.Microsecond}, nil
		case "sms/broken":
			return core.CheckResult{Message: "no route to host"}, nil
		default:
			return core.CheckResult{}, core.NotFound("connector " + string(id))
		}
	}
	for name, want := range map[string]api.CheckResult{
		"main":   {Connector: "sms/main", Ok: true, Message: "bound", LatencyMs: 1.5},
		"broken": {Connector: "sms/broken", Message: "no route to host"},
	} {
		if got := data[api.CheckResult](t, h.want(h.do("GET", "/api/connectors/sms/"+name+"/check", ""), 200, 0)); got != want {
			t.Errorf("%s: %+v; want %+v", name, got, want)
		}
	}
	h.want(h.do("GET", "/api/connectors/sms/none/check", ""), 404, core.CodeConnectorNotFound)
}

func TestCallback(t *testing.T) {
	h := newHarness(t, func(o *api.Options) { o.PublicURL = "https://gateway.example.com/" })
	var got receipt.CallbackRequest
	h.callbacks = func(id core.ConnectorID, r receipt.CallbackRequest) (receipt.CallbackResponse, error) {
		got = r
		if id != "sms/main" {
			return receipt.CallbackResponse{}, core.NotFound("connector")
		}
		return receipt.CallbackResponse{
			Status: 202, Body: []byte("<script>"),
			Header: http.Header{"content-type": {"text/html"}, "Set-Cookie": {"a=b"}, "Content-Length": {"1"}, "X-Provider": {"1"}},
		}, nil
	}
	for _, method := range []string{"POST", "GET", "PUT", "DELETE"} {
		a := h.do(method, "/callbacks/sms/main/receipts/x?sig=1", "raw \x00 body", "Authorization", "", "X-Signature", "s")
		if a.Status != 202 || string(a.Raw) != "<script>" || a.Header.Get("Content-Type") != "text/html" || a.Header.Get("X-Provider") != "1" {
			t.Errorf("%s: %d %q %v", method, a.Status, a.Raw, a.Header)
		}
		if a.Header.Get("Set-Cookie") != "" || !strings.HasPrefix(a.Header.Get("Content-Security-Policy"), "sandbox") || a.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: headers %v", method, a.Header)
		}
		if got.Method != method || got.Path != "/receipts/x" || got.Query != "sig=1" || string(got.Body) != "raw \x00 body" ||
			got.Header.Get("X-Signature") != "s" || got.URL != "https://gateway.example.com/callbacks/sms/main/receipts/x?sig=1" || got.RemoteAddr == "" {
			t.Errorf("%s: the plugin got %+v", method, got)
		}
	}
	for _, target := range []string{"/callbacks/sms/main", "/callbacks/sms/main/"} {
		if h.do("POST", target, "x"); got.Path != "/" {
			t.Errorf("%s: path %q", target, got.Path)
		}
	}
	h.want(h.do("POST", "/callbacks/sms/none", "x"), 404, core.CodeConnectorNotFound)
	h.want(h.do("POST", "/callbacks/sms/main", strings.Repeat("x", 256<<10+1)), 413, core.CodeTooLarge)
	h.want(h.do("POST", "/callbacks/sms", "x"), 404, core.CodeRouteNotFound)
}

func TestCallbackThatGoesWrong(t *testing.T) {
	h := newHarness(t)
	h.callbacks = func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, error) {
		return receipt.CallbackResponse{}, fmt.Errorf("store: %w", errSecret)
	}
	h.want(h.do("POST", "/callbacks/sms/main", "x"), 500, core.CodeInternal)
	h.callbacks = func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, error) {
		return receipt.CallbackResponse{}, nil
	}
	if a := h.do("POST", "/callbacks/sms/main", "x"); a.Status != 200 {
		t.Errorf("an empty answer: %d", a.Status)
	}
	for _, impossible := range []int{-1, 1, 100, 101, 700} {
		h.callbacks = func(core.ConnectorID, receipt.CallbackRequest) (receipt.CallbackResponse, error) {
			return receipt.CallbackResponse{Status: impossible}, nil
		}
		if a := h.do("POST", "/callbacks/sms/main", "x"); a.Status != 500 {
			t.Errorf("status %d of a plugin: %d", impossible, a.Status)
		}
	}
}

func TestDocsWorkOffline(t *testing.T) {
	h := newHarness(t)
	page := h.do("GET", "/docs", "", "Authorization", "")
	if page.Status != 200 || page.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Fatalf("/docs: %d %v", page.Status, page.Header)
	}
	for _, link := range regexp.MustCompile(`(?:src|href)="([^"]*)"`).FindAllSubmatch(page.Raw, -1) {
		if target := string(link[1]); !strings.HasPrefix(target, "data:") {
			if a := h.do("GET", "/"+target, "", "Authorization", ""); a.Status != 200 || len(a.Raw) == 0 {
				t.Errorf("%s: %d", target, a.Status)
			}
		}
	}
	policy := page.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "http") {
		t.Errorf("policy %q", policy)
	}
	want, err := os.ReadFile("openapi.yaml")
	must(t, err)
	if got := h.do("GET", "/docs/openapi.yaml", ""); string(got.Raw) != string(want) {
		t.Error("/docs/openapi.yaml is not the contract")
	}
	script := h.do("GET", "/docs/docs.js", "")
	if !strings.Contains(string(script.Raw), "validatorUrl: null") {
		t.Error("the page may ask a validator elsewhere")
	}
	if a := h.do("GET", "/", "", "Authorization", ""); a.Status != http.StatusFound || a.Header.Get("Location") != "/docs" {
		t.Errorf("/: %d %v", a.Status, a.Header)
	}
	if a := h.do("GET", "/metrics", "", "Authorization", ""); a.Status != 200 || !strings.Contains(string(a.Raw), "# metrics") {
		t.Errorf("/metrics: %d", a.Status)
	}
}

// TestExamplesWork sends the examples of the contract as they stand there.
func TestExamplesWork(t *testing.T) {
	h := newHarness(t)
	n := 0
	for path, item := range theContract.spec.Paths.Map() {
		for method, operation := range item.Operations() {
			if operation.RequestBody == nil || strings.HasSuffix(path, "/preview") || method == "PUT" {
				continue // those need the template of another example, below
			}
			content := operation.RequestBody.Value.Content["application/json"]
			examples := map[string]any{}
			if content.Example != nil {
				examples["example"] = content.Example
			}
			for name, example := range content.Examples {
				examples[name] = example.Value.Value
			}
			for name, example := range examples {
				n++
				if a := h.do(method, strings.NewReplacer("{name}", "sms", "{id}", "7").Replace(path), toJSON(t, example)); a.Code != 0 {
					t.Errorf("%s %s, example %s: %s", method, path, name, a.Raw)
				}
			}
		}
	}
	if n < 4 {
		t.Errorf("%d examples", n)
	}
	template := data[api.TemplateList](t, h.do("GET", "/api/messages/templates", "")).Items[0]
	for path, method := range map[string]string{"/api/messages/templates/{id}": "PUT", "/api/messages/templates/{id}/preview": "POST"} {
		example := theContract.spec.Paths.Value(path).GetOperation(method).RequestBody.Value.Content["application/json"].Example
		h.want(h.do(method, strings.Replace(path, "{id}", itoa(template.Id), 1), toJSON(t, example)), 200, 0)
	}
}
