package queue

import (
	"fmt"

	"github.com/pigeonry/pigeonry/core"
)

// idBits is how many bits a message id needs; core.RecordID is below 2^53.
const idBits = 53

// Check refuses an envelope that cannot be: a queue could not give it back as it was.
func Check(e *core.Envelope) error {
	if e.Lane < core.LaneUrgent || e.Lane > core.LaneLow {
		return fmt.Errorf("lane %d does not exist", int(e.Lane))
	}
	if n := len(e.Records); n < 1 || n > core.MaxEnvelope {
		return fmt.Errorf("it holds %d messages, not 1 to %d", n, core.MaxEnvelope)
	}
	for _, id := range e.Records {
		if id < 0 || id >= 1<<idBits {
			return fmt.Errorf("message id %d is not below 2^%d", id, idBits)
		}
	}
	return nil
}
