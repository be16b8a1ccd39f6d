package pool

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// Defaults of the settings.
const (
	DefaultScaleUp   = 0.8
	DefaultScaleDown = 0.2
	DefaultQueueSize = 1000
	DefaultIdle      = 10 * time.Second
)

// Bounds of the settings, against slips of the pen.
const (
	MaxWorkers   = 100_000
	MaxQueueSize = 10_000_000
)

// Settings are what Resize may change while the pool runs. A zero value takes the default, except in
// Core and Max, which have none.
type Settings struct {
	Core      int           // workers that always live
	Max       int           // workers at most
	ScaleUp   float64       // share of the queue, above 0 to 1, from which a task that comes brings a worker
	ScaleDown float64       // share of the queue, below ScaleUp, up to which workers beyond Core may end
	QueueSize int           // tasks that may wait
	Idle      time.Duration // how long the queue must stay at ScaleDown or below before a worker ends
}

// complete fills in the defaults.
func (s Settings) complete() Settings {
	s.ScaleUp = cmp.Or(s.ScaleUp, DefaultScaleUp)
	s.ScaleDown = cmp.Or(s.ScaleDown, DefaultScaleDown)
	s.QueueSize = cmp.Or(s.QueueSize, DefaultQueueSize)
	s.Idle = cmp.Or(s.Idle, DefaultIdle)
	return s
}

// validate names every field that is wrong, by the name it has in the configuration.
func (s Settings) validate() error {
	e := &core.Error{Kind: core.KindUnprocessable}
	check := func(ok bool, field, format string, args ...any) {
		if !ok {
			e.Fields = append(e.Fields, core.FieldError{Field: "/" + field, Reason: fmt.Sprintf(format, args...)})
		}
	}
	check(s.Core >= 1, "core_size", "is %d; give at least 1", s.Core)
	check(s.Max >= s.Core && s.Max <= MaxWorkers, "max_size",
		"is %d; give from core_size (%d) to %d", s.Max, s.Core, MaxWorkers)
	check(s.ScaleUp > 0 && s.ScaleUp <= 1, "scale_up_threshold", "is %v; give more than 0, at most 1", s.ScaleUp)
	check(s.ScaleDown > 0 && s.ScaleDown < s.ScaleUp, "scale_down_threshold",
		"is %v; give more than 0 and less than scale_up_threshold (%v)", s.ScaleDown, s.ScaleUp)
	check(s.QueueSize >= 1 && s.QueueSize <= MaxQueueSize, "queue_size",
		"is %d; give from 1 to %d", s.QueueSize, MaxQueueSize)
	check(s.Idle > 0, "idle", "is %v; give more than 0", s.Idle)
	if len(e.Fields) == 0 {
		return nil
	}
	reasons := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		reasons[i] = f.Field[1:] + " " + f.Reason
	}
	e.Message = "pool settings: " + strings.Join(reasons, "; ")
	return e
}
