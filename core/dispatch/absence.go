package dispatch

import (
	"sync"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// absences remember since when connectors have been missing that messages ask for: a message that was scheduled long ago is not to
// fail for one that is away for a moment. A channel stands there by its name when none of its connectors takes a message.
type absences struct {
	mu    sync.Mutex
	since map[core.ConnectorID]time.Time
}

// missed returns since when a connector has been missing.
func (d *Dispatcher) missed(id core.ConnectorID, now time.Time) time.Time {
	a := &d.absences
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.since == nil {
		a.since = map[core.ConnectorID]time.Time{}
	}
	since, known := a.since[id]
	if !known {
		a.since[id], since = now, now
	}
	return since
}

// found ends an absence.
func (d *Dispatcher) found(id core.ConnectorID) {
	d.absences.mu.Lock()
	defer d.absences.mu.Unlock()
	delete(d.absences.since, id)
}
