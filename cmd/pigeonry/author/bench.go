package author

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pigeonry/pigeonry/core"
	"github.com/pigeonry/pigeonry/core/pluginhost"
	"github.com/pigeonry/pigeonry/core/pluginhost/catalog"
)

const (
	// readyTimeout is how long a plugin may take until its connector is ready.
	readyTimeout = 20 * time.Second
	// answerTimeout bounds one call.
	answerTimeout = 30 * time.Second
	// beats is how often the progress of one setting is told.
	beats = 10
)

// Bench says what to measure: how many messages a second a plugin takes from the gateway's own plugin host.
type Bench struct {
	Executable string
	Channel    string // of the connector; "": the first one that the plugin describes
	Config     map[string]any
	Recipient  string
	Content    core.Content
	Plaintext  bool          // the plugin cannot do mutual TLS
	Env        []string      // names of variables for the plugin
	Batches    []int         // messages in one call
	Callers    []int         // calls at a time
	Time       time.Duration // for each pair of the two
	// Progress is told how much of the whole is done, from 0 to 1. Nil is told nothing.
	Progress func(share float64)
}

// Measurement is what was measured with one batch size and number of callers.
type Measurement struct {
	Batch     int            `json:"batch"`
	Callers   int            `json:"callers"`
	Messages  int            `json:"messages"`
	Seconds   float64        `json:"seconds"`
	PerSecond float64        `json:"per_second"`
	P50       float64        `json:"p50_ms"` // from the call until the message has its result
	P99       float64        `json:"p99_ms"`
	Outcomes  map[string]int `json:"outcomes"`
	Error     string         `json:"error,omitempty"` // the first
}

// Run starts the plugin as the gateway would, and measures.
func (b *Bench) Run(ctx context.Context) (_ []Measurement, err error) {
	folder, err := os.MkdirTemp("", "pgn-bench-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	h, connector, err := b.start(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.Stop(context.WithoutCancel(ctx))) }()
	var all []Measurement
	total := len(b.Batches) * len(b.Callers)
	for _, batch := range b.Batches {
		for _, callers := range b.Callers {
			m := &measuring{host: h, connector: connector, bench: b, batch: batch, callers: callers}
			all = append(all, m.run(ctx, len(all), total))
			if ctx.Err() != nil {
				return nil, errors.New("interrupted; nothing is told of a measurement that did not end")
			}
		}
	}
	return all, nil
}

// start brings the plugin up with one connector, in a folder of its own.
func (b *Bench) start(ctx context.Context, folder string) (*pluginhost.Host, core.ConnectorID, error) {
	d, err := Describe(ctx, b.Executable)
	if err != nil {
		return nil, "", err
	}
	plugins := filepath.Join(folder, "plugins")
	manifest := catalog.Manifest{Name: d.Name, Version: d.Version, Channels: d.Channels, Plaintext: b.Plaintext}
	if _, err := catalog.Install(plugins, b.Executable, catalog.InstallOptions{Manifest: manifest}); err != nil {
		return nil, "", err
	}
	c, err := catalog.Open(catalog.Options{Dir: plugins, Store: filepath.Join(folder, "store")})
	if err != nil {
		return nil, "", err
	}
	options := pluginhost.Options{
		Catalog: c, RuntimeDir: filepath.Join(folder, "run"), Env: b.Env, Logger: slog.New(slog.DiscardHandler),
		Events: func(context.Context, []core.Receipt, []core.Inbound) error { return nil },
	}
	if b.Plaintext {
		options.Plaintext = []string{d.Name}
	}
	h, err := pluginhost.New(options)
	if err != nil {
		return nil, "", err
	}
	if err := h.Start(); err != nil {
		return nil, "", err
	}
	connector, err := b.connect(ctx, h, d)
	if err != nil {
		return nil, "", errors.Join(err, h.Stop(context.WithoutCancel(ctx)))
	}
	return h, connector, nil
}

// connect configures the connector and waits until it is ready.
func (b *Bench) connect(ctx context.Context, h *pluginhost.Host, d Description) (core.ConnectorID, error) {
	config, err := json.Marshal(b.Config)
	if err != nil {
		return "", fmt.Errorf("write the config as JSON: %w", err)
	}
	channel := b.Channel
	if channel == "" {
		channel = append(d.Channels, d.Name)[0]
	}
	id := core.ConnectorID(channel + "/bench")
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	h.Arrange(d.Name, core.Arrangement{Active: d.Version})
	h.Settle(ctx)
	h.Configure(ctx, []pluginhost.ConnectorConfig{{ID: id, Plugin: d.Name, Revision: 1, Config: config}})
	for {
		changed := h.Changed()
		if h.Ready(id) {
			return id, nil
		}
		if problem, final := unready(h); final {
			return "", fmt.Errorf("start the plugin: %s", problem)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			problem, _ := unready(h)
			return "", fmt.Errorf("start the plugin: it is not ready: %s", problem)
		}
	}
}

// unready says why the connector is not ready, and whether it never will be.
func unready(h *pluginhost.Host) (problem string, final bool) {
	for _, p := range h.Plugins() {
		for _, g := range p.Generations {
			if g.State == core.GenerationFailed || g.Restarts > 0 {
				return strings.TrimSpace(g.Error + "\n" + g.LastStderr), true
			}
		}
	}
	for _, c := range h.Connectors() {
		if problem = c.Message; c.State != core.ConnectorMisconfigured {
			continue
		}
		problem = "it refuses the config of --config:"
		for _, d := range c.Diagnostics {
			if !d.Warning {
				problem += "\n  " + place(d.Path) + d.Summary + " — " + cmp.Or(d.Detail, "see the plugin's -describe")
			}
		}
		return problem, true
	}
	return problem, false
}

// place writes the path of a field as authors do: servers[0].host.
func place(path []any) string {
	var b strings.Builder
	for _, step := range path {
		if i, ok := step.(int); ok {
			fmt.Fprintf(&b, "[%d]", i)
			continue
		}
		if b.Len() > 0 {
			b.WriteByte('.')
		}
		fmt.Fprint(&b, step)
	}
	if b.Len() > 0 {
		b.WriteString(": ")
	}
	return b.String()
}

// measuring is one measurement on its way.
type measuring struct {
	host      *pluginhost.Host
	connector core.ConnectorID
	bench     *Bench
	batch     int
	callers   int

	ids atomic.Int64
	mu  sync.Mutex
	sum tally
}

// tally is what came of messages.
type tally struct {
	latencies []time.Duration
	outcomes  map[string]int
	err       string
}

// run measures; done of total settings were measured before.
func (m *measuring) run(ctx context.Context, done, total int) Measurement {
	m.sum.outcomes = map[string]int{}
	m.deliver(ctx) // the first call opens what later ones use
	finished := make(chan struct{})
	began := time.Now()
	until := began.Add(m.bench.Time)
	var callers sync.WaitGroup
	for range m.callers {
		callers.Go(func() {
			own := tally{outcomes: map[string]int{}}
			for ctx.Err() == nil && time.Now().Before(until) {
				own.add(m.deliver(ctx))
			}
			m.mu.Lock()
			defer m.mu.Unlock()
			m.sum.add(own)
		})
	}
	go func() {
		callers.Wait()
		close(finished)
	}()
	m.tell(finished, float64(done)/float64(total), 1/float64(total))
	return m.conclude(time.Since(began))
}

// tell tells of progress until the measurement has finished.
func (m *measuring) tell(finished <-chan struct{}, share, own float64) {
	beat := time.NewTicker(max(m.bench.Time/beats, time.Millisecond))
	defer beat.Stop()
	for n := 1; ; n++ {
		select {
		case <-finished:
			n = beats
		case <-beat.C:
		}
		if m.bench.Progress != nil {
			m.bench.Progress(share + own*min(float64(n)/beats, 1))
		}
		if n == beats {
			<-finished
			return
		}
	}
}

// deliver makes one call.
func (m *measuring) deliver(ctx context.Context) tally {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	batch := make([]core.Delivery, m.batch)
	for i := range batch {
		id := core.RecordID(m.ids.Add(1))
		batch[i] = core.Delivery{Attempt: 1, Message: &core.Message{
			ID: id, TraceID: core.NewTraceID(id, uint64(id)), Account: 1, Recipient: m.bench.Recipient, Content: m.bench.Content,
		}}
	}
	t := tally{latencies: make([]time.Duration, 0, m.batch), outcomes: map[string]int{}}
	began := time.Now()
	m.host.Deliver(ctx, m.connector, batch, func(results []core.Result) {
		took := time.Since(began)
		for i := range results {
			t.latencies = append(t.latencies, took)
			t.outcomes[string(results[i].Outcome)]++
			if e := results[i].Error; e != nil && t.err == "" {
				t.err = e.Code + ": " + e.Message
			}
		}
	})
	return t
}

func (t *tally) add(o tally) {
	t.latencies = append(t.latencies, o.latencies...)
	for outcome, n := range o.outcomes {
		t.outcomes[outcome] += n
	}
	t.err = cmp.Or(t.err, o.err)
}

func (m *measuring) conclude(took time.Duration) Measurement {
	all := m.sum.latencies
	slices.Sort(all)
	quantile := func(q float64) float64 {
		if len(all) == 0 {
			return 0
		}
		return float64(all[int(q*float64(len(all)-1))].Microseconds()) / 1000
	}
	return Measurement{
		Batch: m.batch, Callers: m.callers, Messages: len(all), Seconds: took.Seconds(),
		PerSecond: float64(len(all)) / took.Seconds(), P50: quantile(0.5), P99: quantile(0.99),
		Outcomes: m.sum.outcomes, Error: m.sum.err,
	}
}
