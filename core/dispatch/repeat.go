package dispatch

import (
	"time"

	"github.com/pigeonry/pigeonry/core"
)

// repeatSafeUntil is when the provider may have forgotten the first attempt for a message, of which core.CodeRepeatSafe was said.
// Of earlier attempts than the latest nothing is known but that the message was there.
func repeatSafeUntil(m *core.Message, latest time.Time) time.Time {
	if m.Attempt > 1 {
		latest = m.CreatedAt
	}
	return latest.Add(core.RepeatWindow)
}

// doubtsRepeat says whether an attempt that a connector gets at a time may make a double of the one before, although that one left
// no mark as its provider drops repeats: this is another provider, or it may have forgotten the first.
func doubtsRepeat(m *core.Message, connector core.ConnectorID, at time.Time) bool {
	if m.Attempt == 0 || m.Outcome != core.OutcomeUncertain {
		return false
	}
	promised := m.Error != nil && m.Error.Code == core.CodeRepeatSafe
	return connector != m.Connector || promised && at.After(repeatSafeUntil(m, m.StartedAt))
}
