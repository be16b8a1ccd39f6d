package sandbox

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Channels of the sandbox.
const (
	ChannelEmail = "email"
	ChannelSMS   = "sms"
)

// Kinds of error of a fault.
const (
	ErrorTemporary = "temporary"
	ErrorPermanent = "permanent"
)

// maxDelayMS bounds the delays a fault may ask for: an hour.
const maxDelayMS = 3_600_000

// Fault says how the provider of one channel misbehaves. The zero value behaves well.
type Fault struct {
	// Channel is "email" (SMTP), "sms" (SMPP), or the name of a provider with an HTTP API, such as "twilio".
	Channel string `json:"channel"`
	// LatencyMS is waited before each answer.
	LatencyMS int `json:"latency_ms"`
	// ErrorRate is the share of messages that are refused, 0 to 1.
	ErrorRate Share `json:"error_rate"`
	// ErrorKind of the refused: "temporary" (the default) or "permanent".
	ErrorKind string `json:"error_kind,omitempty"`
	// ErrorCode is the error of the refused by the provider's own code, whatever ErrorKind says; for providers with an HTTP API.
	ErrorCode string `json:"error_code,omitempty"`
	// Throttle bounds the messages a second; what goes beyond is refused as too fast.
	Throttle Throttle `json:"throttle"`
	// AcceptThenDrop is the share that is accepted and then lost.
	AcceptThenDrop Share `json:"accept_then_drop"`
	// Unanswered is the share that is delivered, but the connection is closed instead of an answer.
	Unanswered Share `json:"unanswered"`
	// Undelivered is the share of messages that are taken and whose receipt says that they could not be delivered: of a mail,
	// a bounce to the bounce_url of /api/providers/email.
	Undelivered Share `json:"undelivered"`
	// ReceiptDelayMS is waited before a receipt; nil keeps the sandbox's own delay.
	ReceiptDelayMS *int `json:"receipt_delay_ms,omitempty"`
	// ReceiptDoubled is the share of receipts that come twice.
	ReceiptDoubled Share `json:"receipt_doubled"`
	// ReceiptEarly is the share of receipts that come before the answer to the message itself.
	ReceiptEarly Share `json:"receipt_early"`
	// ReceiptForged is the share of receipts beside which another one comes that says UNDELIV for an id that
	// was never given.
	ReceiptForged Share `json:"receipt_forged"`
	// ReceiptDisordered is the share of receipts after which one comes that says less: ENROUTE.
	ReceiptDisordered Share `json:"receipt_disordered"`
}

// shares are the fields that hold a share, by their name in JSON.
func (f *Fault) shares() []namedShare {
	return []namedShare{
		{"error_rate", &f.ErrorRate},
		{"accept_then_drop", &f.AcceptThenDrop},
		{"unanswered", &f.Unanswered},
		{"undelivered", &f.Undelivered},
		{"receipt_doubled", &f.ReceiptDoubled},
		{"receipt_early", &f.ReceiptEarly},
		{"receipt_forged", &f.ReceiptForged},
		{"receipt_disordered", &f.ReceiptDisordered},
	}
}

type namedShare struct {
	name  string
	share *Share
}

// Share is a probability from 0 to 1. In JSON, true stands for 1 and false for 0.
type Share float64

// UnmarshalJSON accepts a boolean or a number.
func (s *Share) UnmarshalJSON(b []byte) error {
	n, err := boolOrNumber(b)
	if err != nil {
		return fmt.Errorf("want true, false or a share from 0 to 1, got %s", b)
	}
	*s = Share(n)
	return nil
}

// Throttle is a bound of messages a second: 0 is none, below 0 lets nothing through. In JSON,
// true lets nothing through and false is no bound.
type Throttle float64

// UnmarshalJSON accepts a boolean or a number.
func (t *Throttle) UnmarshalJSON(b []byte) error {
	n, err := boolOrNumber(b)
	switch {
	case err != nil || n < 0:
		return fmt.Errorf("want true, false or messages a second, got %s", b)
	case bytes.Equal(b, []byte("true")):
		*t = -1
	default:
		*t = Throttle(n)
	}
	return nil
}

// MarshalJSON writes true for "lets nothing through".
func (t Throttle) MarshalJSON() ([]byte, error) {
	if t < 0 {
		return []byte("true"), nil
	}
	return json.Marshal(float64(t))
}

func boolOrNumber(b []byte) (float64, error) {
	switch string(b) {
	case "true":
		return 1, nil
	case "false":
		return 0, nil
	default:
		return strconv.ParseFloat(string(b), 64)
	}
}

// FieldError says what is wrong with a field of a request.
type FieldError struct {
	// Field as it is called in JSON.
	Field string `json:"field"`
	// Reason why it is refused, and what would be taken.
	Reason string `json:"reason"`
}

// Error implements error.
func (e *FieldError) Error() string { return e.Field + ": " + e.Reason }

// Validate reports everything that is wrong with a fault. Names are the channels and providers that there are faults for.
func (f Fault) Validate(names []string) []*FieldError {
	var wrong []*FieldError
	refuse := func(field, reason string, args ...any) {
		wrong = append(wrong, &FieldError{Field: field, Reason: fmt.Sprintf(reason, args...)})
	}
	if !slices.Contains(names, f.Channel) {
		refuse("channel", "want one of %s, got %q", strings.Join(names, ", "), f.Channel)
	}
	if f.ErrorCode != "" && (f.Channel == ChannelEmail || f.Channel == ChannelSMS) {
		refuse("error_code", "this is for providers with an HTTP API; take error_kind")
	}
	if f.LatencyMS < 0 || f.LatencyMS > maxDelayMS {
		refuse("latency_ms", "want 0 to %d, got %d", maxDelayMS, f.LatencyMS)
	}
	if d := f.ReceiptDelayMS; d != nil && (*d < 0 || *d > maxDelayMS) {
		refuse("receipt_delay_ms", "want 0 to %d, got %d", maxDelayMS, *d)
	}
	if k := f.ErrorKind; k != "" && k != ErrorTemporary && k != ErrorPermanent {
		refuse("error_kind", "want %q or %q, got %q", ErrorTemporary, ErrorPermanent, k)
	}
	for _, s := range f.shares() {
		// Written so that NaN is refused too.
		if !(*s.share >= 0 && *s.share <= 1) {
			refuse(s.name, "want 0 to 1, got %v", float64(*s.share))
		}
	}
	return wrong
}

// decodeFault reads a fault from JSON and reports everything that is wrong with it, field by field.
func decodeFault(body []byte, names []string) (Fault, []*FieldError) {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return Fault{}, []*FieldError{{Field: "body", Reason: "want one JSON object: " + err.Error()}}
	}
	var f Fault
	targets := map[string]any{
		"channel": &f.Channel, "latency_ms": &f.LatencyMS, "error_kind": &f.ErrorKind, "error_code": &f.ErrorCode, "throttle": &f.Throttle,
		"receipt_delay_ms": &f.ReceiptDelayMS,
	}
	for _, s := range f.shares() {
		targets[s.name] = s.share
	}
	var wrong []*FieldError
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		target, known := targets[name]
		if !known {
			list := strings.Join(slices.Sorted(maps.Keys(targets)), ", ")
			wrong = append(wrong, &FieldError{Field: name, Reason: "unknown field; known are " + list})
			continue
		}
		if err := json.Unmarshal(fields[name], target); err != nil {
			wrong = append(wrong, &FieldError{Field: name, Reason: decodeReason(err, fields[name])})
		}
	}
	if len(wrong) > 0 {
		return Fault{}, wrong
	}
	return f, f.Validate(names)
}

// decodeReason says in plain words why a value does not fit its field.
func decodeReason(err error, value json.RawMessage) string {
	if mismatch, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("want %s, got %s", mismatch.Type, value)
	}
	return err.Error()
}
