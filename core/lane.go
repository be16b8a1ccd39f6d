package core

// Priority is what the caller gives a message: 0 (whenever) to 10 (now).
type Priority int

// The bounds of a priority and its default.
const (
	MinPriority     Priority = 0
	DefaultPriority Priority = 5
	MaxPriority     Priority = 10
)

// Lane returns the lane that a message of this priority travels in.
func (p Priority) Lane() Lane {
	switch {
	case p >= 9:
		return LaneUrgent
	case p >= 6:
		return LaneHigh
	case p >= 3:
		return LaneNormal
	default:
		return LaneLow
	}
}

// Lane is one of four queues of a channel. Lanes are served by weight, so that urgent never waits
// behind low and low never starves.
type Lane int

// The lanes, most pressing first.
const (
	LaneUrgent Lane = iota // priority 9–10
	LaneHigh               // 6–8
	LaneNormal             // 3–5
	LaneLow                // 0–2
)

// Lanes lists every lane, most pressing first.
func Lanes() [4]Lane { return [4]Lane{LaneUrgent, LaneHigh, LaneNormal, LaneLow} }

// Weight is the share of turns that the lane gets while all lanes wait.
func (l Lane) Weight() int { return [4]int{16, 8, 4, 1}[l] }

// String returns "urgent", "high", "normal" or "low".
func (l Lane) String() string { return [4]string{"urgent", "high", "normal", "low"}[l] }
