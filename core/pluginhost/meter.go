package pluginhost

import (
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// meter counts what a generation does, so that two versions can be compared.
type meter struct {
	mu      sync.Mutex
	figures core.VersionFigures
	open    map[*call]time.Time // calls that have attempts without a result, by their start
	latest  time.Time           // when the plugin last gave a result
}

// begin notes a call.
func (m *meter) begin(c *call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.open == nil {
		m.open = map[*call]time.Time{}
	}
	m.open[c] = c.started
}

// end notes that a call has a result for every attempt.
func (m *meter) end(c *call) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, c)
}

// progress notes that the plugin gave results.
func (m *meter) progress() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.latest = time.Now()
}

// observe counts results that took so long by the gateway's own clock: a plugin's word is no measure of itself.
func (m *meter) observe(results []core.Result, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := &m.figures
	for i := range results {
		r := &results[i]
		f.Latency.Observe(took)
		switch {
		case r.Outcome == core.OutcomeAccepted:
			f.Accepted++
		case r.Outcome == core.OutcomeThrottled:
			f.Throttled++
		case r.Outcome == core.OutcomeUncertain:
			f.Uncertain++
		case blamesMessage(r):
			f.Refused++
		default:
			f.Failed++
			if r.Error != nil && r.Error.Fault == core.FaultProvider {
				f.Provider++
			}
		}
	}
}

// disagree counts messages that the generation refused for their own sake and another one then sent.
func (m *meter) disagree(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.figures.Disagreed += n
}

// crash counts an end of the process that nobody wanted.
func (m *meter) crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.figures.Crashes++
}

// follow lets the figures of a generation go on where those of an earlier one of the same version stand: what is known
// of a version never goes back.
func (g *generation) follow(earlier *generation) {
	figures := earlier.meter.read()
	figures.Stalled, figures.Stuck = 0, 0
	g.meter.mu.Lock()
	g.meter.figures = figures
	g.meter.mu.Unlock()
	g.violations.foreign.Store(earlier.violations.foreign.Load())
	g.violations.repeated.Store(earlier.violations.repeated.Load())
	g.violations.missing.Store(earlier.violations.missing.Load())
	g.violations.malformed.Store(earlier.violations.malformed.Load())
}

// read returns the figures, with for how long calls have been open and nothing has come to its end, and how many of
// them have been open for half of that.
func (m *meter) read() core.VersionFigures {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.figures.Since(core.VersionFigures{}) // a copy
	now := time.Now()
	for _, started := range m.open {
		f.Stalled = max(f.Stalled, now.Sub(started))
	}
	if !m.latest.IsZero() {
		f.Stalled = min(f.Stalled, now.Sub(m.latest))
	}
	for _, started := range m.open {
		if now.Sub(started) >= f.Stalled/2 {
			f.Stuck++
		}
	}
	return f
}
