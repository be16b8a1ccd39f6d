package core

import "slices"

// Status is where a message stands. See core/README.md for the diagram.
type Status string

// The statuses of a message.
const (
	StatusScheduled   Status = "scheduled"   // waits for the time that the caller gave
	StatusQueued      Status = "queued"      // accepted; waits for a worker, or for its next attempt
	StatusSending     Status = "sending"     // claimed by a worker under a lease
	StatusUncertain   Status = "uncertain"   // an attempt began and its outcome is unknown; held for a decision
	StatusSent        Status = "sent"        // the provider took it
	StatusFailed      Status = "failed"      // rejected, or out of attempts
	StatusExpired     Status = "expired"     // its expire_at passed before it was sent
	StatusCanceled    Status = "canceled"    // the caller took it back in time
	StatusUndelivered Status = "undelivered" // the provider could not hand it over
	StatusDelivered   Status = "delivered"   // the provider handed it over
	StatusRead        Status = "read"        // the recipient opened it
)

// Statuses lists every status in the order of its rank.
func Statuses() []Status {
	return []Status{
		StatusScheduled, StatusQueued, StatusSending, StatusUncertain, StatusSent, StatusFailed,
		StatusExpired, StatusCanceled, StatusUndelivered, StatusDelivered, StatusRead,
	}
}

// Valid says whether s is a status.
func (s Status) Valid() bool { return slices.Contains(Statuses(), s) }

// Rank orders statuses by how much is known of the message's fate. A receipt may only raise it.
func (s Status) Rank() int {
	switch s {
	case StatusScheduled:
		return 0
	case StatusQueued:
		return 1
	case StatusSending:
		return 2
	case StatusUncertain:
		return 3
	case StatusSent:
		return 4
	case StatusFailed, StatusExpired, StatusCanceled:
		return 5
	case StatusUndelivered, StatusDelivered:
		return 6
	case StatusRead:
		return 7
	default:
		return -1
	}
}

// Final says that the gateway itself will do nothing more with the message. A receipt may still
// follow a sent one.
func (s Status) Final() bool { return s.Rank() >= StatusSent.Rank() }

// Success says that the message counts as a success in statistics.
func (s Status) Success() bool {
	return s == StatusSent || s == StatusDelivered || s == StatusRead
}

// Cancelable says whether the caller can still take the message back.
func (s Status) Cancelable() bool { return s == StatusScheduled || s == StatusQueued }

// Retryable says whether the caller may ask for a new round of attempts.
func (s Status) Retryable() bool {
	return s == StatusFailed || s == StatusExpired || s == StatusUndelivered || s == StatusUncertain
}

// transitions lists, for each status, those that may follow it.
var transitions = map[Status][]Status{
	StatusScheduled: {StatusQueued, StatusCanceled, StatusExpired},
	// A late receipt for an earlier attempt spares the message the next one.
	StatusQueued: {StatusSending, StatusCanceled, StatusExpired, StatusFailed, StatusDelivered, StatusRead},
	StatusSending: {
		StatusQueued, StatusSent, StatusFailed, StatusExpired, StatusUncertain,
		StatusUndelivered, StatusDelivered, StatusRead,
	},
	StatusUncertain: {
		StatusQueued, StatusSent, StatusFailed, StatusExpired,
		StatusUndelivered, StatusDelivered, StatusRead,
	},
	StatusSent:        {StatusUndelivered, StatusDelivered, StatusRead},
	StatusFailed:      {StatusQueued, StatusUndelivered, StatusDelivered, StatusRead},
	StatusExpired:     {StatusQueued, StatusUndelivered, StatusDelivered, StatusRead},
	StatusCanceled:    {StatusUndelivered, StatusDelivered, StatusRead},
	StatusUndelivered: {StatusQueued, StatusRead},
	StatusDelivered:   {StatusRead},
	StatusRead:        {},
}

// CanBecome says whether a message may go from s to next. The only ways back are to queued: a further
// attempt, or a new round that the caller asked for.
func (s Status) CanBecome(next Status) bool { return slices.Contains(transitions[s], next) }

// AfterReceipt returns the status of a message in status s after a receipt, which may come early,
// late, twice or out of order: it raises the rank or changes nothing.
func (s Status) AfterReceipt(r ReceiptStatus) Status {
	next, ok := r.Status()
	if ok && next.Rank() > s.Rank() && s.CanBecome(next) {
		return next
	}
	return s
}
