package smpp

import (
	"errors"
	"fmt"
)

// Errors of requests and sessions, to be found with errors.Is.
var (
	// ErrNotSent means that no octet of the request left this process: the peer surely does not
	// have it.
	ErrNotSent = errors.New("not sent")
	// ErrNoResponse means that the request was written, at least in part, and no usable answer
	// came: the peer may or may not have taken it.
	ErrNoResponse = errors.New("no response")
	// ErrClosed is the reason of a session that this side closed or unbound.
	ErrClosed = errors.New("session closed")
	// ErrPeerUnbound is the reason of a session that the peer unbound.
	ErrPeerUnbound = errors.New("peer unbound the session")
	// ErrLinkDead is the reason of a session whose peer did not answer enquire_link in time.
	ErrLinkDead = errors.New("peer does not answer enquire_link")
	// ErrWrongMode means a request that the bind mode does not allow: a submit over a receiver
	// bind, a delivery over a transmitter bind.
	ErrWrongMode = errors.New("not allowed in this bind mode")
)

// StatusError is a peer's refusal: it answered Command with Status and did not take the request.
type StatusError struct {
	Command Command
	Status  Status
}

// Error names command and status.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s refused: %s (0x%08x)", e.Command, e.Status, uint32(e.Status))
}

// FrameError means that the stream of a peer cannot be followed any further: a PDU shorter than
// its header or longer than allowed.
type FrameError struct {
	// Length is the command_length that the peer announced, Max the longest allowed, in octets.
	Length, Max uint32
}

// Error names the length and the bounds.
func (e *FrameError) Error() string {
	return fmt.Sprintf("PDU of %d octets: between %d and %d are allowed", e.Length, headerLen, e.Max)
}

// DecodeError means that the body of one PDU is malformed. The stream can be read on.
type DecodeError struct {
	Command Command
	// Field is the name of the specification.
	Field  string
	Reason string
	// Status is what section 5.1.3 has for this fault.
	Status Status
}

// Error names command, field and reason.
func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode %s: %s: %s", e.Command, e.Field, e.Reason)
}

// EncodeError means that a field does not fit the protocol, e.g. a system_id of 17 octets.
type EncodeError struct {
	Field  string
	Reason string
}

// Error names field and reason.
func (e *EncodeError) Error() string { return fmt.Sprintf("encode: %s: %s", e.Field, e.Reason) }
