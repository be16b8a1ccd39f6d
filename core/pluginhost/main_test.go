package pluginhost_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

// TestMain makes the test binary its own plugins: run by a script, or under the name of a behavior, it behaves so; see
// behaviors in plugins_test.go.
func TestMain(m *testing.M) {
	if behave, ok := behaviors()[behavior()]; ok {
		behave()
		os.Exit(0)
	}
	var err error
	if staged, err = os.MkdirTemp("", "pigeonry-staged-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(staged)
		os.Exit(code)
	}))
}

// as is the argument behind which a script says what it is called and how to behave.
const as = "behave-as"

// script is a program that behaves as given. It runs this binary, which is so large that every test would take long to
// read it, copy it and look at it as a program.
func script(tb testing.TB, behavior string) string {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Sprintf("#!/bin/sh\nexec '%s' %s \"$0\" %s \"$@\"\n", self, as, behavior)
}

// behavior is what this process shall behave like: what a script says, or else its name.
func behavior() string {
	if len(os.Args) < 4 || os.Args[1] != as {
		return filepath.Base(os.Args[0])
	}
	behavior := os.Args[3]
	os.Args = append(os.Args[2:3], os.Args[4:]...)
	return behavior
}

// installAs puts a version of a plugin into dir that behaves as given. It has other bytes than any other behavior.
func installAs(tb testing.TB, dir, plugin, version, behavior string) {
	tb.Helper()
	folder := filepath.Join(dir, plugin, version)
	fresh := folder + ".tmp"
	if err := os.MkdirAll(fresh, 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(fresh, plugin), []byte(script(tb, behavior)), 0o755); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(fresh, folder); err != nil {
		tb.Fatal(err)
	}
}

// staged holds the copies that are executed, for all tests: they are all of this one binary.
var staged string

// open opens the catalogue of a folder.
func open(tb testing.TB, dir string) *catalog.Catalog {
	tb.Helper()
	c, err := catalog.Open(catalog.Options{Dir: dir, Store: staged})
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// install puts a plugin of the given behavior, which is its name too, into dir.
func install(tb testing.TB, dir, behavior, version string) {
	tb.Helper()
	installAs(tb, dir, behavior, version, behavior)
}

// harness is a running host with what it logged and the events it stored.
type harness struct {
	*pluginhost.Host
	t   *testing.T
	log *logBuffer
}

// run starts a host over the given behaviors, each in version 1.0.0.
func run(t *testing.T, change func(*pluginhost.Options), behaviors ...string) *harness {
	t.Helper()
	dir := t.TempDir()
	for _, b := range behaviors {
		install(t, dir, b, "1.0.0")
	}
	return runIn(t, dir, change)
}

// runIn starts a host over a plugins folder. It is stopped when the test ends.
func runIn(t *testing.T, dir string, change func(*pluginhost.Options)) *harness {
	t.Helper()
	log := &logBuffer{}
	o := pluginhost.Options{
		Catalog: open(t, dir), RuntimeDir: filepath.Join(t.TempDir(), "run"),
		Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug - 4})),
		Events: func(context.Context, []core.Receipt, []core.Inbound) error { return nil },
		// The plugins are this binary: under the race detector they would otherwise linger for a second each.
		Env:    []string{"GORACE"},
		Timing: pluginhost.Timing{Drain: 3 * time.Second, Exit: 500 * time.Millisecond, Terminate: 200 * time.Millisecond},
	}
	if change != nil {
		change(&o)
	}
	host, err := pluginhost.New(o)
	if err != nil {
		t.Fatal(err)
	}
	h := &harness{Host: host, t: t, log: log}
	t.Cleanup(func() {
		if err := host.Stop(context.Background()); err != nil && !t.Failed() {
			t.Logf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("log of the host:\n%s", log)
		}
	})
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	arrangeHighest(host)
	host.Settle(t.Context())
	return h
}

// arrangeHighest makes the highest version of each plugin that has none the active one.
func arrangeHighest(h *pluginhost.Host) {
	active := map[string]string{}
	for _, v := range h.Installed() {
		active[v.Plugin] = v.Version
	}
	for _, p := range h.Plugins() {
		if p.Active == "" && active[p.Name] != "" {
			h.Arrange(p.Name, core.Arrangement{Active: active[p.Name]})
		}
	}
}

// await returns when cond holds; it looks again at each change of a state, each line of the log, and from time to
// time, for figures change without either.
func (h *harness) await(what string, cond func() bool) {
	h.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	figures := time.NewTicker(50 * time.Millisecond)
	defer figures.Stop()
	for {
		changed, logged := h.Changed(), h.log.Changed()
		if cond() {
			return
		}
		select {
		case <-changed:
		case <-logged:
		case <-figures.C:
		case <-deadline.C:
			h.t.Fatalf("waited in vain until %s; plugins: %+v; connectors: %+v", what, h.Plugins(), h.Connectors())
		}
	}
}

// generation returns the state of a plugin's version.
func (h *harness) generation(plugin, version string) core.GenerationStatus {
	h.t.Helper()
	for _, p := range h.Plugins() {
		for _, g := range p.Generations {
			if p.Name == plugin && g.Version == version {
				return g
			}
		}
	}
	h.t.Fatalf("plugin %s %s is not known", plugin, version)
	return core.GenerationStatus{}
}

// failed awaits the failure of a plugin and returns its reason.
func (h *harness) failed(plugin string) string {
	h.t.Helper()
	h.await(plugin+" has failed", func() bool {
		return h.generation(plugin, "1.0.0").State == core.GenerationFailed
	})
	return h.generation(plugin, "1.0.0").Error
}

// pid awaits a process of the plugin that is not the given one and returns its number.
func (h *harness) pid(plugin string, not int) int {
	h.t.Helper()
	var pid int
	h.await(plugin+" runs", func() bool {
		g := h.generation(plugin, "1.0.0")
		pid = g.PID
		return g.State == core.GenerationActive && pid != 0 && pid != not
	})
	return pid
}

// connect configures one connector "test/<plugin>" per plugin and awaits that all carry messages.
func (h *harness) connect(plugins ...string) {
	h.t.Helper()
	var configs []pluginhost.ConnectorConfig
	for _, p := range plugins {
		configs = append(configs, connector(p, 1, `{}`))
	}
	h.Configure(h.t.Context(), configs)
	for _, p := range plugins {
		h.await(p+" is ready", func() bool { return h.Ready(core.ConnectorID("test/" + p)) })
	}
}

func connector(plugin string, revision int64, config string) pluginhost.ConnectorConfig {
	return pluginhost.ConnectorConfig{
		ID: core.ConnectorID("test/" + plugin), Plugin: plugin, Revision: revision, Config: []byte(config),
	}
}

// status returns the state of the connector "test/<plugin>".
func (h *harness) status(plugin string) core.ConnectorStatus {
	h.t.Helper()
	all := h.Connectors()
	i := slices.IndexFunc(all, func(s core.ConnectorStatus) bool { return s.ID == core.ConnectorID("test/"+plugin) })
	if i < 0 {
		h.t.Fatalf("connector test/%s is not known", plugin)
	}
	return all[i]
}

// batch makes one delivery per text; the fake plugin does what the text says. Records count from 1.
func batch(texts ...string) []core.Delivery {
	ds := make([]core.Delivery, len(texts))
	for i, text := range texts {
		id := core.RecordID(i + 1)
		ds[i] = core.Delivery{Attempt: 1, Message: &core.Message{
			ID: id, TraceID: core.NewTraceID(id, 7), Account: 1, Recipient: "+15550100", Content: core.Content{Text: text},
		}}
	}
	return ds
}

// deliver hands a batch over and returns the results by record. It fails the test unless every
// delivery got exactly one.
func (h *harness) deliver(plugin string, b []core.Delivery) map[core.RecordID]core.Result {
	h.t.Helper()
	got := map[core.RecordID]core.Result{}
	h.Deliver(h.t.Context(), core.ConnectorID("test/"+plugin), b, collect(h.t, got, nil))
	complete(h.t, b, got)
	return got
}

// collect returns a results function that fills got and then calls each.
func collect(t *testing.T, got map[core.RecordID]core.Result, each func(core.Result)) func([]core.Result) {
	t.Helper()
	return func(rs []core.Result) {
		for _, r := range rs {
			if old, ok := got[r.Record]; ok {
				t.Errorf("record %d has two results: %+v and %+v", r.Record, old, r)
			}
			got[r.Record] = r
			if each != nil {
				each(r)
			}
		}
	}
}

func complete(t *testing.T, b []core.Delivery, got map[core.RecordID]core.Result) {
	t.Helper()
	if len(got) != len(b) {
		t.Errorf("%d deliveries got %d results: %v", len(b), len(got), got)
	}
}

// describeResult is "outcome" or "outcome/code".
func describeResult(r core.Result) string {
	if r.Error == nil {
		return string(r.Outcome)
	}
	return fmt.Sprintf("%s/%s", r.Outcome, r.Error.Code)
}

// logBuffer is a log that several goroutines write.
type logBuffer struct {
	mu      sync.Mutex
	text    bytes.Buffer
	changed chan struct{}
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed != nil {
		close(b.changed)
		b.changed = nil
	}
	return b.text.Write(p)
}

// Changed returns a channel that is closed at the next line.
func (b *logBuffer) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.changed == nil {
		b.changed = make(chan struct{})
	}
	return b.changed
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func wantText(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q: %s", what, part, text)
		}
	}
}
