package core

import "time"

// SharedValue is a small value that a plugin keeps for all gateways and all versions of itself, such as an access token. What it is,
// is the plugin's own business; plugins seal it.
type SharedValue struct {
	Value    []byte    // empty: there is none
	Expires  time.Time // it is of no use afterwards
	Revision int64     // grows whenever the value is kept, or somebody is told to renew it
	// Renew says that who looked is to fetch a new value, and to keep it or else to drop it by Revision.
	Renew bool
}

// Bounds of shared values.
const (
	MaxSharedName  = 200      // bytes
	MaxSharedValue = 16 << 10 // bytes
	MaxSharedLife  = 31 * 24 * time.Hour
)

// SharedLook is how a value is looked at.
type SharedLook struct {
	Now time.Time
	// Ahead is how much of its time a value must have left; with less, one of those who look is told to renew it.
	Ahead time.Duration
	// Lease is for how long nobody else is told so.
	Lease time.Duration
}
