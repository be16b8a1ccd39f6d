package settings_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
)

// load writes a file in a folder of its own, makes that the working directory and loads it, so that
// positions read gateway.hcl:line:column.
func load(t *testing.T, content string, environ ...string) (*settings.Settings, error) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("gateway.hcl", []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return settings.Load(settings.Sources{File: "gateway.hcl", Environ: environ})
}

func TestEmbeddedDefault(t *testing.T) {
	s, err := settings.Load(settings.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		Listen: "127.0.0.1:8080", PublicURL: "http://127.0.0.1:8080", DataDir: "./data",
		DrainTimeout: 10 * time.Second, MaxAttempts: 5, Roles: "api,worker,scheduler",
		Store:        settings.Technology{Kind: "sqlite"},
		Queue:        settings.Technology{Kind: "memory"},
		Coordination: settings.Technology{Kind: "local"},
		Operators:    []string{"default"},
		Plugins: settings.Plugins{Dir: "./plugins", Rollout: settings.RolloutManual, Canary: settings.Canary{
			Steps: []float64{1, 5, 25, 50, 100}, MinSamples: 100, Window: 30 * time.Second, Bake: 5 * time.Minute, By: core.ByMessage,
			MaxFailureRate: 0.02, MaxUncertainRate: 0.01, MaxLatencyRatio: 2, MaxMemoryRatio: 2,
		}},
		Account: settings.AccountDefaults{DefaultRegion: "CN"},
		Pools: map[string]settings.Pool{settings.MessageSender: {
			CoreSize: 20, MaxSize: 100, ScaleUpThreshold: 0.8, ScaleDownThreshold: 0.2, QueueSize: 1000,
		}},
		Limits:    []settings.Limit{{Resource: "api:/messages/send", Type: "qps", By: "account", Max: settings.Unlimited}},
		Log:       settings.Log{Level: slog.LevelInfo, Format: "text"},
		Retention: settings.Retention{Messages: 90 * 24 * time.Hour, Traces: 7 * 24 * time.Hour, Receipts: 3 * 24 * time.Hour},
	}
	if diff := differences(want, *s); diff != "" {
		t.Error(diff)
	}
}

// differences compares the exported fields.
func differences(want, have settings.Settings) string {
	var out []string
	w, h := reflect.ValueOf(want), reflect.ValueOf(have)
	for i := range w.NumField() {
		if f := w.Type().Field(i); f.IsExported() && !reflect.DeepEqual(w.Field(i).Interface(), h.Field(i).Interface()) {
			out = append(out, fmt.Sprintf("%s: want %+v, have %+v", f.Name, w.Field(i).Interface(), h.Field(i).Interface()))
		}
	}
	return strings.Join(out, "\n")
}

// The file that the repository ships is sound, and says what the embedded default says.
func TestRepositoryFile(t *testing.T) {
	s, err := settings.Load(settings.Sources{File: filepath.Join("..", "..", "..", "gateway.hcl")})
	if err != nil {
		t.Fatal(err)
	}
	byDefault, err := settings.Load(settings.Sources{})
	if err != nil {
		t.Fatal(err)
	}
	byDefault.Plugins.Dir, byDefault.File = "./bin/plugins", s.File
	byDefault.Connectors, byDefault.Limits = s.Connectors, s.Limits
	if diff := differences(*byDefault, *s); diff != "" {
		t.Error(diff)
	}
	if len(s.Connectors) != 2 || s.Connectors[0].ID != "email/main" || s.Connectors[1].ID != "sms/main" {
		t.Errorf("connectors: %v", s.Connectors)
	}
}

func TestConnector(t *testing.T) {
	s, err := load(t, `
connector "sms" "backup" {
  plugin        = "sms"
  weight        = 3
  order         = 1
  on_uncertain  = "retry"
  rate          = 12.5
  max_in_flight = 8
  timeout       = "5s"
  retry {
    first_delay = "200ms"
    max_delay   = "2d"
  }
  failover_ramp = "1m"
  route {
    accounts          = ["shop"]
    countries         = ["cn", "DE"]
    prefixes          = ["+86138"]
    templates         = [12, 15]
    provider_template = true
  }
  config {
    host     = "127.0.0.1"
    port     = 2775
    ratio    = 0.25
    tls      = { mode = "none", ciphers = ["a", "b"] }
    password = env("SMS_PASSWORD")
    nothing  = null
    bind { role = "tx" }
    route { prefix = "+86" }
    route { prefix = "+49" }
  }
}
connector "sms" "main" { plugin = "sms" }
`, "SMS_PASSWORD=topsecret")
	if err != nil {
		t.Fatal(err)
	}
	c := s.Connectors[0]
	want := settings.Connector{
		ID: "sms/backup", Plugin: "sms", Weight: 3, Order: 1, OnUncertain: settings.UncertainRetry, Rate: 12.5,
		MaxInFlight: 8, Timeout: 5 * time.Second,
		Retry:        settings.Retry{FirstDelay: 200 * time.Millisecond, MaxDelay: 48 * time.Hour},
		FailoverRamp: time.Minute,
		Route: settings.Route{
			Accounts: []string{"shop"}, Countries: []string{"CN", "DE"}, Prefixes: []string{"+86138"}, Templates: []int64{12, 15},
			ProviderTemplate: true,
		},
		Config: settings.Config{
			"host": "127.0.0.1", "port": int64(2775), "ratio": 0.25, "password": "topsecret", "nothing": nil,
			"tls":   map[string]any{"mode": "none", "ciphers": []any{"a", "b"}},
			"bind":  map[string]any{"role": "tx"},
			"route": []any{map[string]any{"prefix": "+86"}, map[string]any{"prefix": "+49"}},
		},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("want %+v\nhave %+v", want, c)
	}
	if d := s.Connectors[1]; d.Weight != 1 || d.OnUncertain != settings.UncertainRetry || d.Timeout != 30*time.Second || d.FailoverRamp != 30*time.Second || len(d.Config) != 0 {
		t.Errorf("defaults of a connector: %+v", d)
	}
}

func TestPlugins(t *testing.T) {
	const minisign = "untrusted comment: minisign public key E7620F1842B4E81F\nRWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3"
	public := filepath.Join(t.TempDir(), "acme.pub")
	if err := os.WriteFile(public, []byte(minisign+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(t, `
operators = ["default", "ops"]
plugins {
  rollout           = "automatic"
  require_signature = true
  trusted_keys      = ["RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", file(env("PUB")), <<PEM
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=
-----END PUBLIC KEY-----
PEM
  ]
  plaintext         = ["legacy"]
  env               = ["HTTPS_PROXY", "NO_PROXY"]
  canary {
    steps              = [0.5, 100]
    min_samples        = 20
    window             = "30s"
    bake               = "0s"
    by                 = "account"
    max_failure_rate   = 0
    max_uncertain_rate = 0.005
    max_latency_ratio  = 1.5
    max_memory_ratio   = 3
  }
  sandbox {
    user      = "nobody"
    memory    = "512MB"
    cpu       = 1.5
    files     = 1024
    processes = 0
  }
}
`, "PUB="+public)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Plugins{
		Dir: "./plugins", Rollout: settings.RolloutAutomatic, RequireSignature: true,
		TrustedKeys: []string{
			"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3", minisign,
			"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----",
		},
		Plaintext: []string{"legacy"}, Env: []string{"HTTPS_PROXY", "NO_PROXY"},
		Canary: settings.Canary{
			Steps: []float64{0.5, 100}, MinSamples: 20, Window: 30 * time.Second, By: core.ByAccount,
			MaxUncertainRate: 0.005, MaxLatencyRatio: 1.5, MaxMemoryRatio: 3,
		},
		Sandbox: settings.Sandbox{User: "nobody", Memory: 512e6, CPU: 1.5, Files: 1024},
	}
	if !reflect.DeepEqual(s.Plugins, want) || !reflect.DeepEqual(s.Operators, []string{"default", "ops"}) {
		t.Errorf("want %+v\nhave %+v, operators %q", want, s.Plugins, s.Operators)
	}
	if s, err = load(t, "operators = []\nplugins {\n  sandbox {\n    memory = \"1GiB\"\n  }\n}\n"); err != nil {
		t.Fatal(err)
	}
	if len(s.Operators) != 0 || s.Plugins.Sandbox.Memory != 1<<30 || s.Plugins.Rollout != settings.RolloutManual {
		t.Errorf("have %+v, operators %q", s.Plugins, s.Operators)
	}
}

// What stands in shadow_config goes over config, key by key, and keeps its own place.
func TestShadowConfig(t *testing.T) {
	s, err := load(t, `connector "sms" "main" {
  plugin = "sms"
  config {
    host = "smpp.example.com"
    port = 2775
    tls {
      mode = "required"
      ca   = "ca.pem"
    }
  }
  shadow_config {
    host = "127.0.0.1"
    tls {
      mode = "none"
    }
  }
}
connector "sms" "bare" { plugin = "sms" }
`)
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Config{"host": "127.0.0.1", "port": int64(2775), "tls": map[string]any{"mode": "none", "ca": "ca.pem"}}
	if have := s.Connectors[0].Shadowed(); !reflect.DeepEqual(have, want) {
		t.Errorf("want %#v\nhave %#v", map[string]any(want), map[string]any(have))
	}
	if c := s.Connectors[0].Config; c["host"] != "smpp.example.com" || c["tls"].(map[string]any)["mode"] != "required" {
		t.Errorf("the config itself has changed: %#v", map[string]any(c))
	}
	if bare := s.Connectors[1]; bare.Shadow != nil || len(bare.Shadowed()) != 0 {
		t.Errorf("a connector without a shadow has %#v", bare)
	}
	for want, path := range map[string][]any{
		"gateway.hcl:12:5": {"host"}, "gateway.hcl:5:5": {"port"}, "gateway.hcl:14:7": {"tls", "mode"},
		"gateway.hcl:8:7": {"tls", "ca"}, "gateway.hcl:13:5": {"tls", "absent"}, "gateway.hcl:3:3": {"absent"},
	} {
		if have := s.ShadowPosition("sms/main", path...); have != want {
			t.Errorf("%v: want %s, have %s", path, want, have)
		}
	}
}

// A resource may have several limits, each of its own kind.
func TestLimits(t *testing.T) {
	s, err := load(t, `
connector "sms" "main" { plugin = "sms" }
limit "api:/messages/send" {
  type = "qps"
  max  = 1000
}
limit "connector:sms/main" {
  type = "concurrent"
  max  = 8
}
limit "api:/messages/send" {
  type   = "sliding_window"
  max    = 3
  window = "1m"
  by     = "recipient"
}
limit "api:/messages/send" {
  type   = "sliding_window"
  max    = 20
  window = "1d"
  by     = "recipient"
}
limit "channel:sms" {
  type = "qps"
  max  = 0.5
  by   = "global"
}
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []settings.Limit{
		{Resource: "api:/messages/send", Type: "qps", Max: 1000, By: "account"},
		{Resource: "connector:sms/main", Type: "concurrent", Max: 8, By: "connector"},
		{Resource: "api:/messages/send", Type: "sliding_window", Max: 3, By: "recipient", Window: time.Minute},
		{Resource: "api:/messages/send", Type: "sliding_window", Max: 20, By: "recipient", Window: 24 * time.Hour},
		{Resource: "channel:sms", Type: "qps", Max: 0.5, By: "global"},
	}
	if !reflect.DeepEqual(s.Limits, want) {
		t.Errorf("want %+v\nhave %+v", want, s.Limits)
	}
}

// Values that come from elsewhere than the file are held to the same bounds.
func TestFlaws(t *testing.T) {
	for _, pool := range []settings.Pool{
		{},
		{CoreSize: 1, MaxSize: 100_000, ScaleUpThreshold: 0.8, ScaleDownThreshold: 0.2, QueueSize: 10},
		{CoreSize: 2, MaxSize: 1, ScaleUpThreshold: 0.8, ScaleDownThreshold: 0.2, QueueSize: 10},
		{CoreSize: 1, MaxSize: 1, ScaleUpThreshold: 0.2, ScaleDownThreshold: 0.8, QueueSize: 10},
	} {
		if len(pool.Flaws()) == 0 {
			t.Errorf("%+v was taken", pool)
		}
	}
	for _, limit := range []settings.Limit{
		{Resource: "api:/messages/send", By: "account", Max: 1},
		{Resource: "api:/messages/send", By: "account", Type: "qps", Max: -1},
		{Resource: "api:/messages/send", By: "account", Type: "qps", Max: math.NaN()},
		{Resource: "api:/messages/send", By: "tenant", Type: "qps", Max: 1},
		{Resource: "api:/messages/send", By: "account", Type: "sliding_window", Max: 1},
		{Resource: "api:/messages/send", By: "account", Type: "sliding_window", Max: 1, Window: 366 * 24 * time.Hour},
		{Resource: "api:/messages", By: "recipient", Type: "qps", Max: 1},
	} {
		if len(limit.Flaws()) == 0 {
			t.Errorf("%+v was taken", limit)
		}
	}
	if found := (settings.Limit{Resource: "api:/messages", By: "ip", Type: "concurrent", Max: 1}).Flaws(); len(found) > 0 {
		t.Errorf("a sound limit has %v", found)
	}
}

// A plugin's diagnostic names a path; the operator gets the place in the file.
func TestPosition(t *testing.T) {
	s, err := load(t, `connector "sms" "main" {
  plugin = "sms"
  config {
    host = "h"
    tls  = { mode = "none" }
    bind {
      role = "tx"
    }
    route { prefix = "+86" }
    route { prefix = "+49" }
    list = ["a", "b"]
  }
}
connector "sms" "bare" { plugin = "sms" }
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		connector string
		path      []any
		want      string
	}{
		{"sms/main", []any{"host"}, "gateway.hcl:4:5"},
		{"sms/main", []any{"tls", "mode"}, "gateway.hcl:5:14"},
		{"sms/main", []any{"tls", "absent"}, "gateway.hcl:5:5"},
		{"sms/main", []any{"bind", "role"}, "gateway.hcl:7:7"},
		{"sms/main", []any{"route", 1, "prefix"}, "gateway.hcl:10:13"},
		{"sms/main", []any{"route", 1}, "gateway.hcl:10:5"},
		{"sms/main", []any{"list", 1}, "gateway.hcl:11:18"},
		{"sms/main", []any{"absent"}, "gateway.hcl:3:3"},
		{"sms/main", nil, "gateway.hcl:3:3"},
		{"sms/bare", []any{"host"}, "gateway.hcl:14:1"},
		{"email/none", []any{"host"}, ""},
	} {
		if have := s.Position(test.connector, test.path...); have != test.want {
			t.Errorf("%s %v: want %q, have %q", test.connector, test.path, test.want, have)
		}
	}
}

func TestLayers(t *testing.T) {
	file := "listen = \"127.0.0.1:1\"\ndata_dir = \"/from/file\"\nstore \"sqlite\" {}\n"
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	settings.AddFlags(flags)
	if err := flags.Parse([]string{"--listen", "127.0.0.1:3", "--log-level", "debug"}); err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	if err := os.WriteFile("gateway.hcl", []byte(file), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(settings.Sources{File: "gateway.hcl", Flags: flags, Environ: []string{
		"PIGEONRY_LISTEN=127.0.0.1:2", "PIGEONRY_DATA_DIR=/from/env", "PIGEONRY_PLUGINS_DIR=/plugins", "PIGEONRY_LOG_FORMAT=",
		"PIGEONRY_POSTGRES_URL=postgres://u:p@db/pigeonry", "PIGEONRY_BOOTSTRAP_KEY=0123456789abcdef0123456789abcdef",
		"PIGEONRY_LISTN=127.0.0.1:9", "PIGEONRY_SERVICE_HOST=10.0.0.1", "PIGEONRY_API_KEY=x",
	}})
	if err != nil {
		t.Fatal(err)
	}
	have := []string{
		s.Listen, s.DataDir, s.Plugins.Dir, s.Log.Level.String(), s.Log.Format,
		s.Store.Kind, s.Store.URL.Reveal(), s.BootstrapKey.Reveal(),
	}
	want := []string{
		"127.0.0.1:3", "/from/env", "/plugins", "DEBUG", "text",
		"postgres", "postgres://u:p@db/pigeonry", "0123456789abcdef0123456789abcdef",
	}
	if !reflect.DeepEqual(have, want) {
		t.Errorf("want %q\nhave %q", want, have)
	}
	if want := []string{"environment variable PIGEONRY_LISTN is not known and was not read — did you mean PIGEONRY_LISTEN?"}; !reflect.DeepEqual(s.Warnings, want) {
		t.Errorf("warnings %q", s.Warnings)
	}
}

func TestPluginsBesideTheProgram(t *testing.T) {
	t.Chdir(t.TempDir())
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	s, err := settings.Load(settings.Sources{Executable: filepath.Join(dir, "pigeonry")})
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(dir, "plugins"); s.Plugins.Dir != want {
		t.Errorf("want %s, have %s", want, s.Plugins.Dir)
	}
}

// Whatever prints settings prints no secret.
func TestSecretsStayHidden(t *testing.T) {
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := load(t, `
store "postgres" { url = env("DB") }
connector "sms" "main" {
  plugin = "sms"
  config { password = file(env("FILE")) }
  shadow_config { password = "hunter2" }
}`, "DB=postgres://u:hunter2@db/p", "FILE="+password, "PIGEONRY_BOOTSTRAP_KEY=hunter2-0123456789abcdef0123456789")
	if err != nil {
		t.Fatal(err)
	}
	if have := s.Connectors[0].Config["password"]; have != "hunter2" {
		t.Errorf("file() keeps the line end: %q", have)
	}
	var logged strings.Builder
	slog.New(slog.NewTextHandler(&logged, nil)).Info("x", "config", s.Connectors[0].Config, "url", s.Store.URL, "key", s.BootstrapKey)
	encoded, err := json.Marshal(s.Store)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprint(s), fmt.Sprintf("%+v", s), fmt.Sprintf("%#v", s), fmt.Sprintf("%v", s.Connectors), fmt.Sprint("shadowed", s.Connectors[0].Shadowed()), logged.String(), string(encoded),
	} {
		if strings.Contains(printed, "hunter2") {
			t.Errorf("a secret is shown: %s", printed)
		}
	}
}
