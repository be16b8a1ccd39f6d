package gateway_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core/gateway"
	"github.com/pigeonry/pigeonry/core/gateway/settings"
	"github.com/pigeonry/pigeonry/core/store/sqlite/sqlitetest"
	"github.com/pigeonry/pigeonry/sdk"
)

const key = "gateway-test-0123456789abcdef0123456789abcdef"

// as is the argument behind which a script says what it is called.
const as = "run-as"

// TestMain makes the test binary its own plugins: under the names echo and other it is one.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == as {
		os.Args = os.Args[2:]
	}
	if name := filepath.Base(os.Args[0]); name == "echo" || name == "other" {
		serveEcho(name)
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// serveEcho serves the plugin of a name, unless the environment wants it to be a bad one.
func serveEcho(name string) {
	p := sdk.Plugin[echoConfig]{Name: name, Version: "1.0.0", Channels: []string{"echo"}, Open: openEcho, Prototype: echo{}}
	switch os.Getenv("BEHAVIOR") {
	case "misnamed":
		p.Name = "other"
	case "oversize":
		p.Version += "-" + strings.Repeat("x", 17<<20)
	}
	sdk.Serve(p)
}

// echoConfig is the config of a connector of the plugin echo.
type echoConfig struct {
	Journal string `cfg:"journal,required" doc:"File that gets a line for each time the connector is opened"`
	Color   string `cfg:"color,enum=red|green" doc:"What goes into the line"`
}

type echo struct{}

func openEcho(_ context.Context, c echoConfig) (sdk.Sender, error) {
	f, err := os.OpenFile(c.Journal, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = fmt.Fprintln(f, c.Color)
	return echo{}, errors.Join(err, f.Close())
}

// Send accepts every message.
func (echo) Send(_ context.Context, m *sdk.Message) (sdk.Receipt, error) {
	return sdk.Accepted(m.AttemptID), nil
}

// Check has nothing to check.
func (echo) Check(context.Context) error { return nil }

// Close has nothing to close.
func (echo) Close() error { return nil }

// folder is where a gateway of the tests lives.
type folder struct {
	t   *testing.T
	dir string
}

// newFolder makes a folder with the plugin echo, unless none is wanted.
func newFolder(t *testing.T, plugins ...string) folder {
	t.Helper()
	f := folder{t: t, dir: t.TempDir()}
	for _, dir := range []string{"plugins", "data"} {
		if err := os.Mkdir(f.path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	sqlitetest.Create(t, f.path("data", "pigeonry.db"))
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// The binary is so large that every test would take long to read and copy it.
	script := fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$0\" \"$@\"\n", self, as)
	for _, name := range plugins {
		if err := os.MkdirAll(f.path("plugins", name, "1.0.0"), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.path("plugins", name, "1.0.0", name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

func (f folder) path(elements ...string) string {
	return filepath.Join(append([]string{f.dir}, elements...)...)
}

// load reads settings from the text of a file. What the text does not say is so that the gateway lives in
// the folder.
func (f folder) load(text string) *settings.Settings {
	f.t.Helper()
	if err := os.WriteFile(f.path("gateway.hcl"), []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
	s, err := settings.Load(settings.Sources{File: f.path("gateway.hcl"), Environ: []string{"PIGEONRY_BOOTSTRAP_KEY=" + key}})
	if err != nil {
		f.t.Fatal(err)
	}
	set := func(field *string, byDefault, value string) {
		if *field == byDefault {
			*field = value
		}
	}
	set(&s.Listen, "127.0.0.1:8080", "127.0.0.1:0")
	set(&s.PublicURL, "http://127.0.0.1:8080", "http://127.0.0.1:0")
	set(&s.DataDir, "./data", f.path("data"))
	set(&s.Plugins.Dir, "./plugins", f.path("plugins"))
	s.Plugins.Env = append(s.Plugins.Env, "GORACE") // for plugins that are this binary
	return s
}

// connector is a block of the plugin echo, which notes in a journal of its own.
func (f folder) connector(name, config string) string { return f.connectorOf("echo", name, config) }

// connectorOf is connector for a plugin of another name.
func (f folder) connectorOf(plugin, name, config string) string {
	return fmt.Sprintf("connector \"echo\" %q {\n  plugin = %q\n  config {\n    journal = %q\n%s\n  }\n}\n", name, plugin, f.path(name+".journal"), config)
}

// journal tells with which colors a connector was opened, in order.
func (f folder) journal(name string) string {
	f.t.Helper()
	b, err := os.ReadFile(f.path(name + ".journal"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ")
}

// running is a gateway that runs.
type running struct {
	folder
	*gateway.Gateway
	log    *logged
	client *http.Client
	cancel context.CancelFunc
	ended  chan struct{}
	err    error // after ended
}

// run starts a gateway; it is stopped when the test ends, if it still runs.
func (f folder) run(text string) *running {
	f.t.Helper()
	r := &running{folder: f, log: &logged{}, client: &http.Client{Timeout: 10 * time.Second}, ended: make(chan struct{})}
	g, err := gateway.New(f.t.Context(), f.load(text), slog.New(slog.NewTextHandler(r.log, nil)))
	if err != nil {
		f.t.Fatal(err)
	}
	r.Gateway = g
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	go func() {
		r.err = g.Run(ctx)
		close(r.ended)
	}()
	f.t.Cleanup(func() {
		if err := r.stop(); err != nil {
			f.t.Errorf("the gateway ended with %v", err)
		}
		if f.t.Failed() {
			f.t.Logf("the gateway logged:\n%s", r.log)
		}
	})
	r.await("the gateway is ready", func() bool {
		status, _ := r.call(http.MethodGet, "/readyz", nil)
		return status == http.StatusOK
	})
	return r
}

// stop ends the gateway and returns what Run returned.
func (r *running) stop() error {
	r.cancel()
	<-r.ended
	r.client.CloseIdleConnections()
	return r.err
}

// reload puts the settings of a text in force.
func (r *running) reload(text string) {
	r.t.Helper()
	if err := r.Reload(r.t.Context(), r.load(text)); err != nil {
		r.t.Fatal(err)
	}
}

// await polls until something holds that sends no signal.
func (r *running) await(what string, holds func() bool) {
	r.t.Helper()
	deadline := time.After(20 * time.Second)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-r.ended:
			r.t.Fatalf("the gateway ended with %v before: %s", r.err, what)
		case <-deadline:
			r.t.Fatalf("it did not happen: %s\n%s", what, r.log)
		}
	}
}

func (r *running) call(method, path string, body any) (int, string) {
	r.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		r.t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.Addr().String()+path, bytes.NewReader(b))
	if err != nil {
		r.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := r.client.Do(request)
	if err != nil {
		r.t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		r.t.Fatal(err)
	}
	return response.StatusCode, string(answer)
}

// send sends a message through a connector and returns the status of the answer.
func (r *running) send(connector string) int {
	r.t.Helper()
	status, _ := r.call(http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "echo", "recipient": "ann", "content": "Hello", "connector": connector,
	})
	return status
}

// sent sends a message and waits until it is sent.
func (r *running) sent(connector string) {
	r.t.Helper()
	status, answer := r.call(http.MethodPost, "/api/messages/send", map[string]any{
		"channel": "echo", "recipient": "ann", "content": "Hello", "connector": connector,
	})
	var accepted struct {
		Data struct {
			RecordID int64 `json:"record_id"`
		}
	}
	if err := json.Unmarshal([]byte(answer), &accepted); err != nil || status != http.StatusOK {
		r.t.Fatalf("send: %d, %v: %s", status, err, answer)
	}
	r.await("the message is sent", func() bool {
		_, answer := r.call(http.MethodGet, fmt.Sprintf("/api/messages/%d", accepted.Data.RecordID), nil)
		return strings.Contains(answer, `"status":"sent"`)
	})
}

// logged keeps a log.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is all that was logged.
func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
