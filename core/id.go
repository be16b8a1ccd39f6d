package core

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"
)

// AccountID names an account. Every row in the store belongs to one.
type AccountID int64

// RecordID names a message. It is below 2^53, so that JavaScript reads it exactly, and grows with time.
type RecordID int64

// BatchID names the messages of one send-batch call. It comes from the same sequence as RecordID.
type BatchID int64

// TemplateID names a template.
type TemplateID int64

// ConnectorID names a configured use of a plugin: "<channel>/<name>", e.g. "sms/aliyun-main".
type ConnectorID string

// Channel returns the part before the slash.
func (c ConnectorID) Channel() string {
	channel, _, _ := strings.Cut(string(c), "/")
	return channel
}

// idEpoch is the moment that id 0 stands for: ids carry the milliseconds since then.
var idEpoch = time.Date(2025, time.January, 1, 0, 0, 0, 0, time.UTC).UnixMilli()

// idSequenceBits is how many ids share a millisecond, as a power of two: 41 bits of time and 12 of
// sequence stay below 2^53 for 69 years.
const idSequenceBits = 12

// FirstRecordID is the smallest id that a message accepted at t can have. A range of times is
// therefore a range of ids.
func FirstRecordID(t time.Time) RecordID {
	return RecordID(max(0, t.UnixMilli()-idEpoch) << idSequenceBits)
}

// Time is the moment, to the millisecond, at which the id was made, as near as its clock was right.
func (id RecordID) Time() time.Time {
	return time.UnixMilli(int64(id)>>idSequenceBits + idEpoch)
}

// TraceID names the path of one message: "msg_" and 32 hexadecimal digits, of which the first half is
// the message's record id. The digits are also its W3C trace id (https://www.w3.org/TR/trace-context/).
type TraceID string

const traceIDPrefix = "msg_"

// NewTraceID makes the trace id of a message. The random half keeps it from being guessed.
func NewTraceID(id RecordID, random uint64) TraceID {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(id))
	binary.BigEndian.PutUint64(b[8:], random|1) // W3C: the id must not be all zero
	return TraceID(traceIDPrefix + hex.EncodeToString(b[:]))
}

// RecordID returns the message that the trace belongs to, or false if t is not a trace id.
func (t TraceID) RecordID() (RecordID, bool) {
	digits, ok := strings.CutPrefix(string(t), traceIDPrefix)
	if !ok || len(digits) != 32 || strings.ToLower(digits) != digits {
		return 0, false
	}
	b, err := hex.DecodeString(digits)
	if err != nil {
		return 0, false
	}
	id := binary.BigEndian.Uint64(b[:8])
	if id == 0 || id >= 1<<53 {
		return 0, false
	}
	return RecordID(id), true
}

// Traceparent is the W3C header value for one attempt of the message.
func (t TraceID) Traceparent(attempt int) string {
	var span [8]byte
	binary.BigEndian.PutUint64(span[:], uint64(attempt))
	b := make([]byte, 0, len("00-00112233445566778899aabbccddeeff-0011223344556677-01"))
	b = append(append(b, "00-"...), strings.TrimPrefix(string(t), traceIDPrefix)...)
	b = hex.AppendEncode(append(b, '-'), span[:])
	return string(append(b, "-01"...))
}
