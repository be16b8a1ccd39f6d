package sdk

import (
	"fmt"
	"io"
	"log/slog"
)

// redacted stands wherever a secret would have stood.
const redacted = "[redacted]"

// Secret is a config value that must never be seen: a password, a token, a private key. Every way
// of printing it yields "[redacted]"; Reveal alone gives the value. The schema marks the field
// with "x-secret", and the SDK cuts the value out of every log line and error message.
type Secret string

// Reveal returns the value, for the one place that needs it.
func (s Secret) Reveal() string { return string(s) }

// Forms lists how the value may turn up in a text: as it is, as JSON, Go, a URL and base64 write it, and each line of it.
// It is for tests that search logs and errors; each form is as secret as the value.
func (s Secret) Forms() []string { return forms(string(s)) }

// String returns "[redacted]", or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString returns "[redacted]" for %#v.
func (s Secret) GoString() string { return s.String() }

// Format answers every verb of fmt alike: without it, a wrong verb such as %d shows the value.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, s.String()) }

// LogValue returns "[redacted]" for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText returns "[redacted]" for encoding/json and others.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON returns "[redacted]" as a JSON string.
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + s.String() + `"`), nil }
